"""Where half precision is not trusted: pixels that are each the opposite of the next."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from liif_engine.lab import audit_pictures
from liif_engine.picture.busy import TOO_BUSY, alternation


def chequer(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width]
    return (255 * ((x + y) % 2)).astype(np.uint8)[..., None].repeat(3, 2)


@pytest.mark.parametrize("shape", [(64, 64), (33, 65), (2, 2), (100, 3)])
def test_a_chequer_is_as_busy_as_can_be_and_flat_is_not(shape: tuple[int, int]) -> None:
    assert alternation(chequer(*shape)) == pytest.approx(2, abs=1e-6)
    assert alternation(np.full((*shape, 3), 77, np.uint8)) == 0


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (50, 1)])
def test_pictures_without_neighbours(shape: tuple[int, int]) -> None:
    assert alternation(np.zeros((*shape, 1), np.uint8)) == 0


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_every_dtype_has_the_same_measure(dtype: str) -> None:
    pixels = audit_pictures.text(64)
    wide = pixels.astype(np.uint16) * 257 if dtype == "uint16" else pixels.astype(np.float32) / 255
    assert alternation(wide) == pytest.approx(alternation(pixels), rel=1e-5)


def test_a_small_busy_place_in_a_calm_picture_counts() -> None:
    pixels = np.zeros((500, 400, 3), np.uint8)
    pixels[320:352, 64:96] = chequer(32, 32)
    assert alternation(pixels) > 1.8


def test_only_dithering_and_single_pixel_lines_are_too_busy() -> None:
    busy = {kind: alternation(pixels) for kind, pixels in audit_pictures.pictures(side=128)}
    assert [kind for kind, value in busy.items() if value > TOO_BUSY] == ["dithering", "lines of one pixel"], busy
    dithered = np.asarray(Image.fromarray(audit_pictures.smooth_gradients(128)).convert("1").convert("RGB"))
    assert alternation(dithered) > TOO_BUSY
