"""The scores against their definitions, and the published figures on the field's own sets."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from liif_engine import Engine
from liif_engine.errors import InputError, UsageError
from liif_engine.lab.degrade import Compression
from liif_engine.lab.evaluate import Bicubic, degrade, evaluate, luma, psnr, psnr_b, read, score, ssim

from ..conftest import picture


def photo(height: int = 96, width: int = 80) -> np.ndarray:
    """A smooth coloured picture with an edge."""
    y, x = np.mgrid[0:height, 0:width]
    waves = [127 + 100 * np.sin(x / 9), 127 + 100 * np.cos(y / 7), np.where(x + y > 90, 220, 30)]
    return np.stack(waves, -1).astype(np.uint8)


def test_luma_is_limited_range_bt601() -> None:
    black_white = np.array([[[0, 0, 0], [255, 255, 255], [255, 0, 0]]], np.uint8)
    np.testing.assert_allclose(luma(black_white), [[16, 235, 16 + 65.481]])
    np.testing.assert_allclose(luma(np.array([[[0], [255]]], np.uint8)), [[16, 235]], atol=1e-9)


def test_psnr_of_a_known_error() -> None:
    a = np.zeros((4, 4))
    assert psnr(a, a + 255) == pytest.approx(0)
    assert psnr(a, a + 1) == pytest.approx(48.1308, abs=1e-4)
    assert psnr(a, a) == math.inf


def test_ssim_is_one_for_equals_and_follows_its_definition() -> None:
    a, b = picture(11, 11)[..., 0].astype(float), picture(11, 11, seed=1)[..., 0].astype(float)
    assert ssim(a, a) == pytest.approx(1)
    # One window only: the definition, written out.
    taps = np.exp(-(np.arange(-5, 6) ** 2) / 4.5)
    weight = np.outer(taps, taps) / np.outer(taps, taps).sum()
    mean_a, mean_b = (weight * a).sum(), (weight * b).sum()
    variance_a, variance_b = (weight * (a - mean_a) ** 2).sum(), (weight * (b - mean_b) ** 2).sum()
    covariance = (weight * (a - mean_a) * (b - mean_b)).sum()
    c1, c2 = 2.55**2, 7.65**2
    expected = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    expected /= (mean_a**2 + mean_b**2 + c1) * (variance_a + variance_b + c2)
    assert ssim(a, b) == pytest.approx(expected)


def test_psnr_b_punishes_blocks_and_nothing_else() -> None:
    truth = luma(photo())
    noise = truth + np.random.default_rng(0).normal(0, 4, truth.shape)
    blocks = truth + 4 * ((np.arange(96)[:, None] // 8 + np.arange(80) // 8) % 2 * 2 - 1)
    assert psnr_b(noise, truth) == pytest.approx(psnr(noise, truth), abs=0.25)
    assert psnr_b(blocks, truth) < psnr(blocks, truth) - 1


def test_psnr_b_finds_blocks_along_both_axes_and_is_no_better_than_psnr_without_any() -> None:
    blocky = np.zeros((32, 32))
    blocky[8:16] = blocky[24:] = 16  # steps from row to row alone
    smooth = np.full_like(blocky, 4)
    assert psnr_b(blocky, smooth) == psnr_b(blocky.T, smooth) < psnr(blocky, smooth)
    inner = np.roll(blocky, 4, axis=0)  # steps only where no blocks meet
    assert psnr_b(inner, smooth) == psnr(inner, smooth)


@pytest.mark.parametrize("scale", [1, 2, 2.5, 3])
def test_psnr_b_finds_the_blocks_of_an_enlarged_and_shaved_result(scale: float) -> None:
    """They are 8 scale pixels wide, and the first is cut by what was shaved off."""
    truth = luma(photo(160, 144))
    rows, columns = ((np.arange(n) + 0.5) // (8 * scale) % 2 for n in truth.shape)
    blocks = truth + 4 * (((rows[:, None] + columns) % 2) * 2 - 1)
    shave = 0 if scale == 1 else math.ceil(scale)
    inner = slice(shave, -shave or None), slice(shave, -shave or None)
    here = psnr_b(blocks[inner], truth[inner], scale=scale, shave=shave)
    assert here < psnr(blocks[inner], truth[inner]) - 1
    if scale != 1:
        elsewhere = psnr_b(blocks[inner], truth[inner])
        assert here < elsewhere - 0.5, "a grid of 8 pixels from the corner on is none of the result's"


def test_a_truth_of_16_bits_is_scaled_not_clipped(tmp_path: Path) -> None:
    levels = np.arange(256, dtype=np.uint16).reshape(16, 16)
    Image.fromarray(levels * 257).save(tmp_path / "deep.png")
    assert (read(tmp_path / "deep.png")[..., 0] == levels).all()
    Image.fromarray(levels.astype(np.int32)).save(tmp_path / "deeper.tif")
    with pytest.raises(InputError, match="more than 16 bits"):
        read(tmp_path / "deeper.tif")


@pytest.mark.parametrize(("scale", "expected"), [(1, (97, 81)), (2, (48, 40)), (3, (32, 27)), (3.3, (29, 24))])
def test_the_input_fits_the_cropped_truth(scale: float, expected: tuple[int, int]) -> None:
    pixels, truth = degrade(photo(97, 81), scale=scale)
    assert pixels.shape == (*expected, 3)
    assert truth.shape[:2] == tuple(round(n * scale) for n in expected)
    assert scale != 1 or (pixels == truth).all()


def test_a_shifted_second_grid_stays_aligned_with_the_truth() -> None:
    twice = (Compression("jpeg", 95, 0), Compression("jpeg", 95, 0, (4, 3)))
    pixels, truth = degrade(photo(97, 81), scale=1, passes=twice)
    assert pixels.shape == truth.shape == (93, 78, 3)
    assert psnr(pixels.astype(float), truth.astype(float)) > 35
    pixels, truth = degrade(photo(97, 81), scale=2, passes=twice)
    assert truth.shape[:2] == (2 * pixels.shape[0], 2 * pixels.shape[1])
    assert score(Bicubic().restore(pixels, size=truth.shape[1::-1]), truth, scale=2, path=Path("x"))[0] > 22
    with pytest.raises(UsageError):
        degrade(photo(97, 81), scale=1.5, passes=twice)


def test_lower_quality_scores_lower(tmp_path: Path) -> None:
    Image.fromarray(photo()).save(tmp_path / "a.png")
    Image.fromarray(photo()[..., 0]).save(tmp_path / "gray.png")
    clean, good, bad = evaluate(Bicubic(), tmp_path, scale=1, qualities=[None, 75, 10])
    assert clean.psnr_y == math.inf
    assert clean.as_dict()["psnr_y"] is None
    assert good.psnr_rgb > bad.psnr_rgb
    assert good.ssim > bad.ssim
    assert (bad.quality, bad.images) == (10, 2)


def test_folders_without_pictures_and_bad_arguments_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no pictures"):
        list(evaluate(Bicubic(), tmp_path, scale=2))
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"a\.png"):
        list(evaluate(Bicubic(), tmp_path, scale=2))
    for arguments in ({"scale": 0.5}, {"scale": 2, "qualities": [0]}):
        with pytest.raises(UsageError):
            list(evaluate(Bicubic(), tmp_path, **arguments))  # type: ignore[arg-type]


@pytest.mark.parametrize("scale", [16, 40, 41, 100.5])
def test_a_truth_that_is_too_small_is_named(tmp_path: Path, scale: float) -> None:
    Image.new("RGB", (60, 40)).save(tmp_path / "small.png")
    with pytest.raises(InputError, match="too small to score") as caught:
        list(evaluate(Bicubic(), tmp_path, scale=scale))
    assert caught.value.path == tmp_path / "small.png"


#: PSNR-Y of the published weights, exact fp32, measured with the published implementation.
PUBLISHED = [("Set5", 2, 37.983), ("Set5", 3, 34.412), ("Set5", 4, 32.256), ("Set14", 4, 28.638)]


@pytest.mark.timeout(600)  # a minute each on a machine with other work
@pytest.mark.parametrize(("folder", "scale", "expected"), PUBLISHED)
def test_published_weights_score_what_they_did(test_images: Path, folder: str, scale: int, expected: float) -> None:
    exact = Engine("published", device="cpu", precision="fp32")
    (scores,) = evaluate(exact, test_images / folder, scale=scale)
    assert scores.psnr_y == pytest.approx(expected, abs=0.01)
