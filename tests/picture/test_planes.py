"""Alpha and the colours under it."""

from __future__ import annotations

import numpy as np
import pytest

from liif_engine.picture.planes import resize_alpha, spread_visible_colour

from ..conftest import picture


def test_visible_pixels_keep_their_colour_and_hidden_ones_take_it_from_near() -> None:
    pixels = np.zeros((16, 16, 4), np.uint8)
    pixels[:, :8] = (200, 100, 50, 255)
    pixels[:, 8:12] = (10, 20, 30, 0)
    spread = spread_visible_colour(pixels)
    assert (spread == (200, 100, 50)).all()
    assert (pixels[0, 9] == (10, 20, 30, 0)).all(), "the input is left as it is"


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (7, 5), (33, 18)])
def test_partly_visible_pixels_are_untouched(dtype: str, shape: tuple[int, int]) -> None:
    pixels = picture(*shape, 4, dtype=dtype)
    pixels[..., 3] = np.where(np.arange(pixels[..., 3].size).reshape(shape) % 3 == 0, 0, pixels[..., 3])
    spread = spread_visible_colour(pixels)
    visible = pixels[..., 3] > 0
    assert spread.dtype == pixels.dtype
    assert (spread[visible] == pixels[..., :3][visible]).all()
    if visible.any():
        lowest, highest = pixels[..., :3][visible].min(), pixels[..., :3][visible].max()
        assert spread.min() >= lowest
        assert spread.max() <= highest


def test_a_wholly_transparent_picture_keeps_its_colours() -> None:
    pixels = picture(5, 6, 4)
    pixels[..., 3] = 0
    assert (spread_visible_colour(pixels) == pixels[..., :3]).all()


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_alpha_is_itself_at_scale_1_and_stays_in_range(dtype: str) -> None:
    alpha = picture(9, 7, 1, dtype=dtype)[..., 0]
    assert (resize_alpha(alpha, 9, 7) == alpha).all()
    larger = resize_alpha(alpha, 20, 15)
    assert larger.dtype == alpha.dtype
    assert larger.shape == (20, 15)
    assert larger.min() >= 0
    assert larger.max() <= np.iinfo(dtype).max if dtype != "float32" else 1
    assert (resize_alpha(np.full_like(alpha, 1), 30, 30) == 1).all()


def test_alpha_of_16_bits_agrees_with_8() -> None:
    alpha = np.linspace(20, 230, 120).astype(np.uint8).reshape(12, 10)
    wide = resize_alpha(alpha.astype(np.uint16) * 257, 24, 20) / 257
    # Pillow rounds 8-bit masks between its two passes; the wide mask is the exact one.
    assert np.abs(wide - resize_alpha(alpha, 24, 20)).max() <= 2.5


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_a_mask_that_is_half_transparent_does_not_ring(dtype: str) -> None:
    full = {"uint8": 255, "uint16": 65535, "float32": 1}[dtype]
    alpha = np.full((12, 12), full / 4).astype(dtype)
    alpha[3:9, 3:9] = full / 2
    larger = resize_alpha(alpha, 36, 36)
    assert (larger.min(), larger.max()) == (alpha.min(), alpha.max())
