"""What the pixels alone tell of a compression, wherever its grid lies."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from liif_engine.errors import LiifError
from liif_engine.picture import damage
from tests.picture.photograph import decoded, jpeg, photograph

PHOTO = photograph(320, 320)


@pytest.mark.parametrize("quality", [8, 20, 35, 50, 65])
def test_quality_and_phase_are_recovered_from_pixels_at_every_phase(quality: int) -> None:
    pixels = decoded(jpeg(PHOTO, quality))
    for phase in range(8):
        down, right = phase, (3 * phase + 1) % 8
        found = damage.estimate(pixels[down:, right:])
        assert found.grid_phase == (-down % 8, -right % 8)
        assert found.pixel_quality is not None
        assert abs(found.pixel_quality - quality) <= 2
        assert found.quality == found.pixel_quality
        assert found.file is None


def test_a_cropped_png_still_tells() -> None:
    file = io.BytesIO()
    Image.fromarray(decoded(jpeg(PHOTO, 30))[5:, 2:]).save(file, "PNG")
    found = damage.estimate(decoded(file.getvalue()), file.getvalue())
    assert found.file is None
    assert found.grid_phase == (3, 6)
    assert found.quality == 30


@pytest.mark.parametrize("turn", [Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_270, Image.Transpose.TRANSPOSE])
@pytest.mark.parametrize("quality", [20, 65, 90])
def test_a_picture_that_was_turned_on_its_side_still_tells(turn: Image.Transpose, quality: int) -> None:
    turned = Image.fromarray(decoded(jpeg(PHOTO, quality))).transpose(turn)
    assert damage.estimate(np.asarray(turned)).quality == quality


def test_the_stronger_the_compression_the_stronger_the_grid() -> None:
    strengths = [damage.estimate(decoded(jpeg(PHOTO, quality))).grid_strength for quality in (10, 30, 70)]
    assert strengths == sorted(strengths, reverse=True)
    assert strengths[-1] > damage.estimate(PHOTO).grid_strength


@pytest.mark.parametrize("seed", range(5))
def test_a_clean_picture_speaks_of_nothing(seed: int) -> None:
    found = damage.estimate(photograph(320, 280, seed=seed))
    assert found.quality is None
    assert found.grid_phase is None
    assert found.grid_strength < damage.VISIBLE


@pytest.mark.parametrize(
    "flat", [np.zeros((64, 64, 3), np.uint8), np.full((9, 300, 3), 128, np.uint8), np.ones((1, 1, 3), np.uint8)]
)
def test_flat_and_tiny_pictures_speak_of_nothing(flat: damage.NDArray[np.uint8]) -> None:
    assert damage.estimate(flat).quality is None


def test_a_jpeg_saved_again_at_high_quality_shows_the_first_pass() -> None:
    again = jpeg(decoded(jpeg(PHOTO, 20)), 95)
    found = damage.estimate(decoded(again), again)
    assert found.file is not None
    assert found.file.quality == 95
    assert found.quality is not None
    assert found.quality <= 25


def sky(side: int, seed: int) -> damage.NDArray[np.uint8]:
    """(side, side, 3), so calm that strong compression leaves hardly a coefficient."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side, :1][:2] / side
    cloud = 6 * np.exp(-((x - 0.6) ** 2 + (y - 0.3) ** 2) / 0.02)
    shade = 150 - random.uniform(16, 72, 3) * y**2 + random.uniform(-12, 12, 3) * x + cloud
    return np.rint(shade).astype(np.uint8)


@pytest.mark.parametrize(("side", "quality", "seed"), [(48, 10, 7), (48, 30, 7), (48, 75, 4), (64, 10, 7)])
def test_a_small_calm_jpeg_tells_of_no_other_grid_than_its_own(side: int, quality: int, seed: int) -> None:
    assert damage.estimate(decoded(jpeg(sky(side, seed), quality))).grid_phase in {None, (0, 0)}


def test_a_small_picture_that_was_cropped_between_two_passes_tells_of_the_first_grid() -> None:
    once = decoded(jpeg(photograph(104, 104), 20))
    found = damage.estimate(decoded(jpeg(once[3:99, 6:102], 95)))
    assert found.grid_phase == (5, 2)
    assert found.pixel_quality is not None
    assert abs(found.pixel_quality - 20) <= 2


def test_layouts_and_depths_say_the_same() -> None:
    pixels = decoded(jpeg(PHOTO, 25))
    expected = damage.estimate(pixels)
    alpha = np.random.default_rng(0).integers(0, 256, (*pixels.shape[:2], 1), np.uint8)
    assert damage.estimate(np.concatenate([pixels, alpha], axis=-1)) == expected
    assert damage.estimate(pixels.astype(np.uint16) * 257) == expected
    gray = decoded(jpeg(PHOTO[..., 0], 25))
    assert damage.estimate(gray) == damage.estimate(gray[..., None])
    assert damage.estimate(gray).quality == 25


def test_only_the_middle_of_a_large_picture_is_looked_at_and_the_phase_stays() -> None:
    large = decoded(jpeg(photograph(1400, 1300), 30))[3:, 5:]
    found = damage.estimate(large)
    assert found.grid_phase == (5, 3)
    assert found.quality == 30


def test_a_file_alone_is_enough(tmp_path: Path) -> None:
    path = tmp_path / "old.jpg"
    path.write_bytes(jpeg(PHOTO, 33))
    assert damage.estimate_file(path) == damage.estimate(decoded(path.read_bytes()), path)
    assert damage.estimate_file(path).quality == 33
    path.write_bytes(b"no picture")
    with pytest.raises(LiifError, match=r"old\.jpg"):
        damage.estimate_file(path)
