"""A JPEG's own coefficients, whether pictures fall into their intervals, and what was lost."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from liif_engine.errors import UnsupportedError
from liif_engine.picture import coefficients, consistency, damage, image_file, loss
from liif_engine.picture.coefficients import Coefficients, Component, as_blocks
from liif_engine.picture.consistency import agreement, displayed_view, project, stored_view
from liif_engine.picture.loss import expected_loss, kept, survivors

from .photograph import photograph

#: Kinds of JPEG file: how pixels are made of the photograph, and how they are saved.
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "4:2:0": ("RGB", {}),
    "4:2:2": ("RGB", {"subsampling": 1}),
    "4:4:4, progressive": ("RGB", {"subsampling": 0, "progressive": True}),
    "gray": ("L", {}),
    "coded as RGB": ("RGB", {"keep_rgb": True}),
}


def saved(path: Path, kind: str, *, quality: int = 30, size: tuple[int, int] = (83, 102), **more: Any) -> Any:
    """A JPEG file of a made-up photograph; the photograph, (H, W, C)."""
    mode, options = KINDS[kind]
    image = Image.fromarray(photograph(*size)).convert(mode)
    image.save(path, "JPEG", quality=quality, **options, **more)
    return np.asarray(image).reshape(*size, -1)


def opened(path: Path) -> tuple[Any, Coefficients]:
    """A file's pixels as displayed, and what it stores."""
    picture = image_file.read(path)
    stored = coefficients.of_picture(path, picture)
    assert stored is not None
    return picture.frames[0].pixels, stored


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("quality", [10, 40])
def test_a_jpegs_own_pixels_and_its_original_lie_in_its_intervals(tmp_path: Path, kind: str, quality: int) -> None:
    truth = saved(tmp_path / "a.jpg", kind, quality=quality)
    pixels, stored = opened(tmp_path / "a.jpg")
    assert agreement(stored, pixels).share >= 0.999
    assert agreement(stored, truth).share >= 0.999


def test_another_picture_does_not(tmp_path: Path) -> None:
    saved(tmp_path / "a.jpg", "4:2:0", size=(80, 96))
    pixels, stored = opened(tmp_path / "a.jpg")
    assert agreement(stored, pixels[::-1]).share < 0.97
    beyond = agreement(stored, pixels[::-1]).luma_beyond
    assert beyond.shape == (80, 96)
    assert np.abs(beyond).max() > 10


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_stored_turned_is_compared_as_it_lies_in_the_file(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    saved(tmp_path / "a.jpg", "4:2:0", exif=exif)
    pixels, stored = opened(tmp_path / "a.jpg")
    assert stored.orientation == orientation
    assert agreement(stored, pixels).share >= 0.999
    np.testing.assert_array_equal(displayed_view(stored_view(pixels, orientation), orientation), pixels)


@pytest.mark.parametrize("kind", KINDS)
def test_going_into_the_intervals_leads_nearer_to_the_original(tmp_path: Path, kind: str) -> None:
    truth = saved(tmp_path / "a.jpg", kind, quality=60).astype(float)
    pixels, stored = opened(tmp_path / "a.jpg")
    guess = np.clip(pixels + np.random.default_rng(0).normal(0, 12, pixels.shape), 0, 255).round().astype(np.uint8)
    nearer = project(stored, guess)
    assert (nearer.dtype, nearer.shape) == (guess.dtype, guess.shape)
    assert agreement(stored, nearer).share > max(agreement(stored, guess).share, 0.99)
    assert np.square(nearer - truth).mean() < np.square(guess - truth).mean() - 2


def test_what_lies_inside_stays_as_it_is(tmp_path: Path) -> None:
    saved(tmp_path / "a.jpg", "gray")
    pixels, stored = opened(tmp_path / "a.jpg")
    np.testing.assert_array_equal(project(stored, pixels), pixels)
    # Blocks that the border cuts are left alone, since what the encoder put beyond is unknown.
    inverted = 255 - pixels
    moved = project(stored, inverted)
    np.testing.assert_array_equal(moved[80:], inverted[80:])
    assert (moved[:80] != inverted[:80]).any()


def test_another_size_is_refused(tmp_path: Path) -> None:
    saved(tmp_path / "a.jpg", "gray")
    pixels, stored = opened(tmp_path / "a.jpg")
    with pytest.raises(ValueError, match="102x83"):
        agreement(stored, pixels[1:])


def test_files_without_simple_coefficients_have_none(tmp_path: Path) -> None:
    image = Image.fromarray(photograph(48, 48))
    image.save(tmp_path / "a.png")
    image.convert("CMYK").save(tmp_path / "cmyk.jpg")
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0no more")
    (tmp_path / "empty.jpg").write_bytes(b"")
    for path in tmp_path.iterdir():
        assert coefficients.read(path) is None, path


@pytest.mark.skipif(sys.platform != "linux", reason="names are Unicode")
def test_a_name_that_is_no_text_hides_no_coefficients(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"b\xff.jpg")
    saved(path, "4:2:0")
    pixels, stored = opened(path)
    assert agreement(stored, pixels).share >= 0.999


def test_a_missing_library_is_said_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(tmp_path / "a.jpg", "gray")
    monkeypatch.setitem(sys.modules, "jpeglib", None)
    with pytest.raises(UnsupportedError, match="jpeglib") as refused:
        coefficients.read(tmp_path / "a.jpg")
    assert "pip install" in refused.value.remedy


def test_the_levels_of_what_was_a_jpeg_are_told_from_its_pixels(tmp_path: Path) -> None:
    saved(tmp_path / "a.jpg", "gray", quality=50, size=(160, 160))
    pixels, stored = opened(tmp_path / "a.jpg")
    cut = pixels[3:, 5:]
    known = damage.estimate(cut)
    assert (known.grid_phase, known.pixel_quality) == ((5, 3), 50)
    told = coefficients.from_pixels(cut[..., 0].astype(np.float32), (5, 3), 50)
    np.testing.assert_array_equal(told.luma.levels, stored.luma.levels[1:, 1:])
    assert agreement(told, cut).share == 1


def test_expected_loss_is_the_same_however_it_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = np.random.default_rng(0)
    levels = (draw.integers(-3, 4, (7, 5, 8, 8)) * draw.integers(0, 2, (7, 5, 8, 8))).astype(np.int16)
    component = Component(levels, draw.integers(1, 60, (8, 8)))
    whole = expected_loss(component)
    monkeypatch.setattr(loss, "BAND", 2)
    np.testing.assert_allclose(expected_loss(component), whole, rtol=1e-6)


def test_expected_loss_follows_the_true_one(tmp_path: Path) -> None:
    means = []
    for quality in (10, 30, 80):
        truth = np.array(saved(tmp_path / f"{quality}.jpg", "gray", quality=quality, size=(256, 256)))
        # Half of the picture is nearly flat: there was little to lose.
        truth[:, :128] = truth[:, :128] // 16 + 120
        file = io.BytesIO()
        Image.fromarray(truth[..., 0]).save(file, "JPEG", quality=quality)
        (tmp_path / f"{quality}.jpg").write_bytes(file.getvalue())
        pixels, stored = opened(tmp_path / f"{quality}.jpg")
        true = np.sqrt(np.square(as_blocks(pixels[..., 0].astype(np.float32) - truth[..., 0])).mean((2, 3)))
        expected = expected_loss(stored.luma)
        assert np.corrcoef(expected.ravel(), true.ravel())[0, 1] > 0.6
        assert expected[:, :15].mean() < expected[:, 17:].mean()
        means.append(expected.mean())
    assert means == sorted(means, reverse=True)


def test_what_a_flat_picture_keeps(tmp_path: Path) -> None:
    Image.new("L", (32, 24), 200).save(tmp_path / "a.jpg")
    _, stored = opened(tmp_path / "a.jpg")
    assert (kept(stored.luma) == 0).all()
    assert survivors(stored.luma)[0, 0] == 1
    assert survivors(stored.luma).sum() == 1
    assert consistency.agreement(stored, np.full((24, 32, 1), 200, np.uint8)).share == 1
