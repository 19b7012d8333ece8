"""Which model `auto` takes for which picture."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from liif_engine import auto
from liif_engine.auto import HIGHEST_QUALITY, choose, choose_for
from liif_engine.model_names import CLEAN, DAMAGED
from liif_engine.picture.damage import Damage, estimate
from liif_engine.picture.quantisation import FileQuality
from tests.picture.photograph import decoded, jpeg, photograph

PHOTO = photograph(256, 256)


def saved(format: str, **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(PHOTO).save(file, format, **options)
    return file.getvalue()


@pytest.mark.parametrize("quality", [5, 10, 40, 75, HIGHEST_QUALITY])
def test_a_compressed_file_goes_to_web_and_the_log_says_why(quality: int) -> None:
    file = jpeg(PHOTO, quality)
    model, reason = choose(estimate(decoded(file), file))
    assert model == DAMAGED
    assert f"JPEG quality {quality}" in reason


@pytest.mark.parametrize("options", [{"format": "JPEG", "quality": 60}, {"format": "AVIF", "quality": 60}])
def test_of_a_file_that_is_lossy_by_its_own_word_the_pixels_are_not_looked_at(
    options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "old"
    path.write_bytes(saved(**options))
    meant = choose(estimate(PHOTO, path))
    monkeypatch.setattr(auto, "estimate", lambda *_: pytest.fail("looked at"))
    assert choose_for(PHOTO, path) == meant


def test_a_fine_jpeg_and_a_lossless_file_go_to_published() -> None:
    fine = jpeg(PHOTO, 99)
    assert choose(estimate(decoded(fine), fine)).model == CLEAN
    assert "99" in choose(estimate(decoded(fine), fine)).reason
    png = saved("PNG")
    assert choose(estimate(PHOTO, png)) == (CLEAN, "no trace of lossy compression or noise")


@pytest.mark.parametrize("quality", [40, 100])
def test_every_lossy_webp_goes_to_web(quality: int) -> None:
    file = saved("WEBP", quality=quality)
    model, reason = choose(estimate(decoded(file), file))
    assert model == DAMAGED
    assert "WebP quality about" in reason


def test_a_lossless_webp_goes_to_published() -> None:
    file = saved("WEBP", lossless=True)
    assert choose(estimate(decoded(file), file)) == (CLEAN, "no trace of lossy compression or noise")


def test_a_png_of_an_old_jpeg_goes_to_web() -> None:
    pixels = decoded(jpeg(PHOTO, 30))[3:, 5:]
    model, reason = choose(estimate(pixels))
    assert model == DAMAGED
    assert "pixels" in reason
    assert "30" in reason


def test_a_bad_jpeg_saved_again_finely_goes_to_web() -> None:
    again = jpeg(decoded(jpeg(PHOTO, 15)), 99)
    model, reason = choose(estimate(decoded(again), again))
    assert model == DAMAGED
    assert "pixels" in reason


def test_visible_blocks_alone_are_enough() -> None:
    assert choose(Damage(grid_phase=(0, 0), grid_strength=0.4)).model == DAMAGED
    assert choose(Damage(FileQuality("jpeg", 99, True, "4:4:4"), (0, 0), 0.4)).model == DAMAGED


def test_a_noisy_picture_goes_to_web_though_it_was_never_compressed() -> None:
    drawn = np.random.default_rng(0).standard_normal(PHOTO.shape) * 8
    model, reason = choose(estimate(np.rint(PHOTO + drawn).clip(0, 255).astype(np.uint8)))
    assert model == DAMAGED
    assert "noise of some 8 levels" in reason


def test_the_choice_is_never_fast() -> None:
    for quality in range(1, 101):
        file = FileQuality("jpeg", quality, True, "4:2:0")
        assert choose(Damage(file)).model in {DAMAGED, CLEAN}
    assert choose(Damage(pixel_quality=99)).model == CLEAN
    assert choose(estimate(np.zeros((4, 4, 3), np.uint8))).model == CLEAN


@pytest.mark.parametrize(("chroma", "model"), [("4:2:0", DAMAGED), ("4:4:4", CLEAN)])
def test_a_lossy_avif_goes_to_web(chroma: str, model: str) -> None:
    file = saved("AVIF", quality=90, subsampling=chroma)
    chosen = choose(estimate(PHOTO, file))
    assert chosen.model == model
    assert ("lossy AVIF" in chosen.reason) == (model == DAMAGED)


def test_a_photograph_that_was_a_gif_goes_to_web() -> None:
    noisy = np.rint(PHOTO + np.random.default_rng(0).standard_normal(PHOTO.shape)).clip(0, 255).astype(np.uint8)
    image = Image.fromarray(noisy)
    dithered = image.quantize(palette=image.quantize(64)).convert("RGB")
    model, reason = choose(estimate(np.asarray(dithered)))
    assert model == DAMAGED
    assert "reduced to 64 colours" in reason


def test_a_clean_drawing_goes_to_web_at_any_fine_quality() -> None:
    image = Image.new("RGB", (256, 192), "white")
    draw = ImageDraw.Draw(image)
    for line in range(12):
        draw.text((5, 15 * line), "Drawn, and never compressed: it has nothing to remove", "navy")
    pixels = np.asarray(image)
    assert choose(estimate(pixels)) == (DAMAGED, "a drawing or a screenshot by its flat colours")
    assert choose(Damage(FileQuality("jpeg", 100, True, "4:4:4"), drawn=True)).model == DAMAGED
