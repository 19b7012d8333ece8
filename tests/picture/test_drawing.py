"""Drawings and screenshots are told from photographs, also from those that have flat places of their own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from liif_engine.picture.drawing import is_drawn, measure
from tests.picture.photograph import photograph

PHOTO = Image.fromarray(
    np.rint(photograph(256, 320) + np.random.default_rng(0).standard_normal((256, 320, 1)) * 2)
    .clip(0, 255)
    .astype(np.uint8)
)


def text(background: str = "white") -> Image.Image:
    """Antialiased text in two colours, a button and a line."""
    image = Image.new("RGB", (320, 256), background)
    draw = ImageDraw.Draw(image)
    for line in range(9):
        colour = "black" if line % 2 else "#b02020"
        draw.text((12, 12 + 20 * line), "The quick brown fox jumps over it", colour, ImageFont.load_default(size=15))
    draw.rounded_rectangle((200, 200, 300, 240), 8, "#2060c0", "black")
    draw.line((10, 250, 310, 230), "gray")
    return image


def clip_art() -> Image.Image:
    image = Image.new("RGB", (1024, 1024), "#e0f0ff")
    draw = ImageDraw.Draw(image)
    for x in range(0, 1024, 128):
        for y in range(0, 1024, 128):
            draw.ellipse((x + 8, y + 20, x + 110, y + 100), (x // 5, y // 5, 90), "black", 6)
    return image.resize((256, 256), Image.Resampling.BICUBIC)


def framed(image: Image.Image, colour: str, across: int, down: int) -> Image.Image:
    whole = Image.new("RGB", (image.width + 2 * across, image.height + 2 * down), colour)
    whole.paste(image, (across, down))
    return whole


def cut_outs() -> Image.Image:
    """Many small pieces of a photograph on white, reduced: flat beside nearly every edge, but shaded within."""
    shape = Image.fromarray(np.random.default_rng(1).integers(0, 256, (256, 320), np.uint8))
    levels = np.asarray(shape.filter(ImageFilter.GaussianBlur(8)))
    mask = Image.fromarray(((levels > np.percentile(levels, 60)) * 255).astype(np.uint8))
    dark = PHOTO.point(lambda level: level // 2)
    whole = Image.composite(dark, Image.new("RGB", dark.size, "white"), mask.filter(ImageFilter.GaussianBlur(0.7)))
    return whole.resize((160, 128), Image.Resampling.BICUBIC)


def pixels_of(image: Image.Image) -> NDArray[np.uint8]:
    pixels = np.asarray(image)
    return pixels if pixels.ndim == 3 else pixels[..., None]


DRAWN = {
    "text": text(),
    "text on gray": text("#c0c0c0"),
    "gray text": text().convert("L"),
    "clip art, reduced": clip_art(),
    "a screenshot with a small photograph": framed(text(), "white", 0, 60),
}
PHOTOGRAPHS = {
    "a photograph": PHOTO,
    "a gray one": PHOTO.convert("L"),
    "reduced": PHOTO.resize((160, 128), Image.Resampling.BICUBIC),
    "a letterbox": framed(PHOTO, "black", 0, 60),
    "a white frame": framed(PHOTO, "white", 40, 40),
    "blurred, in a frame": framed(PHOTO.filter(ImageFilter.GaussianBlur(6)), "white", 30, 30),
    "cut out on white": cut_outs(),
    "overexposed": PHOTO.point(lambda level: min(255, 2 * level)),
    "night": PHOTO.point(lambda level: max(0, 2 * level - 255)),
    "fog": Image.blend(PHOTO, Image.new("RGB", PHOTO.size, (200, 205, 210)), 0.9),
}
DRAWN["a screenshot with a small photograph"].paste(PHOTO.resize((80, 50)), (200, 5))


@pytest.mark.parametrize("name", DRAWN)
def test_a_drawing_or_a_screenshot_is_seen(name: str) -> None:
    assert is_drawn(pixels_of(DRAWN[name])), measure(pixels_of(DRAWN[name]))


@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_a_photograph_is_none_whatever_is_flat_in_it(name: str) -> None:
    assert not is_drawn(pixels_of(PHOTOGRAPHS[name])), measure(pixels_of(PHOTOGRAPHS[name]))


def test_a_photograph_that_fills_most_of_a_screenshot_decides() -> None:
    shot = framed(PHOTO, "white", 40, 40)
    ImageDraw.Draw(shot).text((60, 10), "A photograph in a viewer", "black", ImageFont.load_default(size=16))
    assert not is_drawn(pixels_of(shot))


@pytest.mark.parametrize("size", [(1, 1), (1, 400), (400, 1), (8, 8), (24, 24)])
def test_too_small_a_picture_says_nothing(size: tuple[int, int]) -> None:
    assert measure(np.asarray(text().crop((0, 0, *size)))) is None
    assert not is_drawn(np.zeros((*size, 3), np.uint8))


def test_one_colour_or_a_gradient_is_no_drawing() -> None:
    assert not is_drawn(np.full((300, 300, 3), 77, np.uint8))
    assert not is_drawn(np.tile(np.arange(256, dtype=np.uint8)[None, :, None], (200, 1, 3)))


@pytest.mark.parametrize("scale", [1, 2])
def test_real_photographs_are_none_and_a_real_screenshot_is_drawn(scale: int, test_images: Path) -> None:
    def seen(path: Path) -> bool:
        image = Image.open(path).convert("RGB")
        return is_drawn(np.asarray(image.reduce(scale))[:1024, :1024])

    assert not any(seen(path) for path in (test_images / "Set5").iterdir())
    assert seen(test_images / "GB82_screens" / "terminal.png")
