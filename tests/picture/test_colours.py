"""A photograph whose colours were reduced is told from what never had more."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from liif_engine.picture.colours import quantised
from tests.picture.photograph import photograph

#: With a little of a camera's noise, as all photographs have.
PHOTO = np.rint(photograph(192, 256) + np.random.default_rng(0).standard_normal((192, 256, 3)) * 4)
PHOTO = PHOTO.clip(0, 255).astype(np.uint8)


def reduced(colours: int, *, dither: bool, pixels: NDArray[np.uint8] = PHOTO) -> NDArray[np.uint8]:
    image = Image.fromarray(pixels)
    palette = image.quantize(colours, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    kind = Image.Dither.FLOYDSTEINBERG if dither else Image.Dither.NONE
    return np.asarray(image.quantize(palette=palette, dither=kind).convert("RGB"))


@pytest.mark.parametrize(("colours", "dither"), [(256, True), (100, False), (100, True), (40, False), (16, True)])
def test_a_photograph_s_palette_is_seen(colours: int, dither: bool) -> None:
    found = quantised(reduced(colours, dither=dither))
    assert found is not None
    assert found <= colours


def test_pixel_art_has_lonely_pixels_too_and_is_none() -> None:
    """Of few colours more of them are wanted: here a pixel in twenty-five is unlike its neighbours."""
    art = np.kron(np.random.default_rng(0).integers(0, 12, (20, 20)), np.ones((5, 5), int))
    art[2::5, 2::5] = 12
    palette = np.random.default_rng(1).integers(0, 255, (13, 3), np.uint8)
    assert quantised(palette[art]) is None


def test_a_photograph_itself_is_none() -> None:
    assert quantised(PHOTO) is None


def test_a_drawing_of_few_colours_is_none() -> None:
    image = Image.new("RGB", (800, 600), "white")
    draw = ImageDraw.Draw(image)
    rng = np.random.default_rng(0)
    for _ in range(60):
        x, y, side = (int(n) for n in rng.integers(0, 500, 3))
        draw.ellipse((x, y, x + side, y + side), fill=tuple(int(n) for n in rng.integers(0, 255, 3)), outline="black")
        draw.text((x, y), "a legend in small letters", fill="black")
    smooth = image.resize((400, 300), Image.Resampling.LANCZOS)  # with soft edges
    for colours in (200, 60):
        assert quantised(reduced(colours, dither=False, pixels=np.asarray(smooth))) is None


def test_an_old_photograph_in_sepia_never_had_more() -> None:
    """Each of its levels is one colour. It has faded, so that pixels often flip between two of them."""
    level = (PHOTO[..., 1] // 4 + 90) / 255
    sepia = np.rint(255 * np.stack([level**0.8, level, level**1.4], -1)).astype(np.uint8)
    assert quantised(sepia) is None
    assert quantised(reduced(48, dither=True)) is not None, "as many colours that are no levels of one tone"


def test_gray_and_tiny_pictures_say_nothing() -> None:
    gray = np.repeat(PHOTO[..., :1], 3, -1)
    assert quantised(gray) is None
    assert quantised(gray[..., :1]) is None
    assert quantised(PHOTO[:12, :12]) is None
    assert quantised(PHOTO[:1, :64]) is None
    assert quantised(PHOTO[:0]) is None
