"""Noise is measured where there is some, and texture is not taken for it."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from liif_engine.picture import noise
from tests.picture.photograph import photograph


def noisy(clean: NDArray[np.uint8], deviation: float, *, channels: int, seed: int = 0) -> NDArray[np.uint8]:
    """With the same noise in every channel if `channels` is 1."""
    drawn = np.random.default_rng(seed).standard_normal((*clean.shape[:2], channels)) * deviation
    return np.rint(clean + drawn).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("deviation", [2, 4, 8, 16])
def test_the_noise_of_a_gray_card_is_told(deviation: float) -> None:
    card = np.full((200, 300, 3), 128, np.uint8)
    colour, _ = noise.measure(noisy(card, deviation, channels=3))
    assert colour == pytest.approx(deviation, rel=0.12)
    colour, luma = noise.measure(noisy(card, deviation, channels=1))
    assert colour < 0.5
    assert luma == pytest.approx(deviation, rel=0.12)
    gray = noisy(card, deviation, channels=1)[..., :1]
    assert noise.measure(gray) == (0.0, pytest.approx(luma, abs=0.05))


def test_slopes_and_edges_are_no_noise() -> None:
    y, x = np.mgrid[:128, :160]
    slope = np.repeat((x + y // 2)[..., None], 3, -1).astype(np.uint8)
    assert max(noise.measure(slope)) < 0.3
    stripes = np.where(x[..., None] // 5 % 2 == 0, (40, 90, 200), (220, 120, 30)).astype(np.uint8)
    assert max(noise.measure(stripes)) < 0.3


def test_texture_everywhere_is_no_noise() -> None:
    drawn = np.random.default_rng(1).integers(60, 190, (80, 80, 1))
    texture = np.repeat(drawn.repeat(2, 0).repeat(2, 1), 3, -1).astype(np.uint8)  # coarser than pixels
    assert noise.measure(texture) == (0.0, 0.0)
    assert noise.measure(photograph(256, 256))[1] == 0.0


def test_a_photograph_gains_what_is_added() -> None:
    after, _ = noise.measure(noisy(photograph(256, 256, seed=3), 6, channels=3))
    assert after == pytest.approx(6, rel=0.2)


@pytest.mark.parametrize("shape", [(1, 1, 3), (9, 200, 3), (20, 20, 1)])
def test_too_small_a_picture_says_nothing(shape: tuple[int, int, int]) -> None:
    assert noise.measure(np.random.default_rng(0).integers(0, 255, shape, np.uint8)) == (0.0, 0.0)


def test_clipped_places_are_left_out() -> None:
    half = np.full((160, 160, 3), 255, np.uint8)
    half[:, 80:] = noisy(np.full((160, 80, 3), 128, np.uint8), 5, channels=3)
    assert noise.measure(half)[0] == pytest.approx(5, rel=0.15)
