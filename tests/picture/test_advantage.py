"""Which pictures look as if `web` would be ahead, though no file and no grid says anything of damage."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from safetensors import safe_open

from liif_engine.auto import LEAST_ODDS, choose, choose_for
from liif_engine.file import sha256_of
from liif_engine.model_names import CLEAN, DAMAGED
from liif_engine.network import card
from liif_engine.picture import advantage
from liif_engine.picture.damage import Damage, estimate
from tests.picture.photograph import photograph

PHOTO = photograph(200, 300)


def reduced_after_jpeg(image: Image.Image, quality: int, share: float) -> NDArray[np.uint8]:
    """As many web pictures came about: compressed, then made smaller by another program."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    size = round(image.width * share), round(image.height * share)
    return np.asarray(Image.open(file).convert("RGB").resize(size, Image.Resampling.BICUBIC))


def halves(folder: Path) -> list[Image.Image]:
    """The photographs of a test set, reduced to half, as clean as can be."""
    whole = [Image.open(path).convert("RGB") for path in sorted(folder.iterdir())]
    return [image.resize((image.width // 2, image.height // 2), Image.Resampling.LANCZOS) for image in whole]


def test_photographs_that_were_reduced_after_their_compression_go_to_web(test_images: Path) -> None:
    damaged = [reduced_after_jpeg(image, 50, 0.7) for image in halves(test_images / "LIVE1")]
    assert sum(choose(estimate(pixels)).model == DAMAGED for pixels in damaged) <= len(damaged) // 4, "named anyway"
    chosen = [choose_for(pixels) for pixels in damaged]
    assert sum(choice.model == DAMAGED for choice in chosen) >= 0.8 * len(chosen)


def test_clean_photographs_mostly_stay_with_published(test_images: Path) -> None:
    chosen = [choose_for(np.asarray(image)) for image in halves(test_images / "LIVE1")]
    assert sum(choice.model == DAMAGED for choice in chosen) <= 0.2 * len(chosen)


def test_the_guess_is_asked_only_where_damage_has_no_name() -> None:
    def guess() -> float:
        pytest.fail("asked")

    assert choose(Damage(grid_phase=(0, 0), grid_strength=0.4), guess).model == DAMAGED


def test_low_odds_leave_a_picture_with_published_and_high_ones_are_told() -> None:
    assert choose(Damage(), lambda: LEAST_ODDS - 0.01).model == CLEAN
    model, reason = choose(Damage(), lambda: LEAST_ODDS)
    assert model == DAMAGED
    assert "fine detail" in reason


@pytest.mark.parametrize(("height", "width"), [(1, 1), (31, 400), (400, 31)])
def test_of_tiny_pictures_nothing_is_guessed(height: int, width: int) -> None:
    assert advantage.guess(np.zeros((height, width, 3), np.uint8)) is None


@pytest.mark.parametrize(("height", "width"), [(32, 32), (33, 500), (96, 97), (700, 900)])
@pytest.mark.parametrize("level", [0, 7, 255])
def test_pictures_of_any_size_and_of_one_colour_get_a_number(height: int, width: int, level: int) -> None:
    guess = advantage.guess(np.full((height, width, 3), level, np.uint8))
    assert guess is not None
    assert np.isfinite(guess)


def test_the_guess_does_not_depend_on_how_the_pixels_are_laid_out() -> None:
    gray = PHOTO[..., 1]
    as_colours = gray.repeat(3).reshape(PHOTO.shape)
    assert advantage.guess(gray) == advantage.guess(gray[..., None]) == advantage.guess(as_colours)
    opaque = np.concatenate([PHOTO, np.full((*PHOTO.shape[:2], 1), 255, np.uint8)], -1)
    assert advantage.guess(opaque) == advantage.guess(PHOTO) == advantage.guess(PHOTO.astype(np.uint16) * 257)
    assert choose_for(PHOTO / np.float32(255)) == choose_for(PHOTO)


def test_at_most_sixteen_tiles_of_a_large_picture_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    seen, describe = list[tuple[int, ...]](), advantage.describe

    def count(tile: NDArray[np.uint8]) -> NDArray[np.float32]:
        seen.append(tile.shape)
        return describe(tile)

    monkeypatch.setattr(advantage, "describe", count)
    advantage.guess(np.zeros((1000, 3000, 3), np.uint8))
    assert seen == [(96, 96, 3)] * 16


def test_it_was_fitted_to_the_weights_that_ship() -> None:
    with safe_open(advantage.FITTED, "numpy") as file:
        fitted_to = file.metadata()
    assert fitted_to == {name: sha256_of(card.find(name)) for name in (DAMAGED, CLEAN)}, "see docs/training.md"
