"""The damage that training pairs get is the damage that was planned."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from liif_engine.lab.degrade import EDITOR_TABLES, Compression, Plan, Shares, apply, compress, draw, reduce
from liif_engine.picture import damage
from tests.picture.photograph import photograph

PHOTO = photograph(256, 256)
DRAWS = 6000


def plans(shares: Shares | None = None) -> list[Plan]:
    rng = np.random.default_rng(0)
    return [draw(rng, shares) for _ in range(DRAWS)]


def share(drawn: list[Plan], wanted: Callable[[Plan], bool]) -> float:
    return sum(map(wanted, drawn)) / len(drawn)


def damaged(plan: Plan, seed: int = 0) -> np.ndarray:
    return apply(PHOTO, plan, np.random.default_rng(seed))[0]


def test_the_same_seed_draws_the_same_plans() -> None:
    assert plans() == plans()
    assert draw(np.random.default_rng(1)) != draw(np.random.default_rng(2))


def test_shares_are_kept() -> None:
    drawn, shares = plans(), Shares()
    bad = [plan for plan in drawn if not plan.clean]
    jpegs = [plan for plan in bad if any(step.codec == "jpeg" for step in plan.passes)]
    assert share(drawn, lambda plan: plan.clean) >= 0.15
    for found, expected in [
        (share(drawn, lambda plan: plan.clean), shares.clean),
        (share(drawn, lambda plan: plan.scale == 1), shares.unscaled),
        (share(drawn, lambda plan: plan.gray), shares.gray),
        (share(bad, lambda plan: plan.noise > 0), shares.noise),
        (share(bad, lambda plan: any(step.codec == "webp" for step in plan.passes)), shares.webp),
        (share(bad, lambda plan: plan.colours > 0), shares.palette),
        (share(jpegs, lambda plan: len(plan.passes) == 2), shares.twice),
    ]:
        assert found == pytest.approx(expected, abs=0.025)


def test_what_is_drawn_covers_what_the_web_does() -> None:
    drawn = plans()
    passes = [step for plan in drawn for step in plan.passes]
    qualities = {step.quality for step in passes if step.codec == "jpeg"}
    assert {quality for quality in qualities if isinstance(quality, int)} == set(range(5, 96))
    assert set(EDITOR_TABLES) <= qualities
    assert {step.subsampling for step in passes if step.codec == "jpeg"} == {0, 1, 2}
    assert {plan.kernel for plan in drawn} == {"bicubic", "lanczos", "area", "bilinear", "blur"}
    assert {plan.passes[1].shift[0] for plan in drawn if len(plan.passes) == 2} == set(range(8))
    scaled = [plan.scale for plan in drawn if plan.scale != 1]
    assert 1 < min(scaled) < 1.1
    assert 3.9 < max(scaled) <= 4
    assert np.mean(scaled) == pytest.approx(2.5, abs=0.05)


def test_a_share_of_zero_never_comes() -> None:
    for plan in plans(Shares(unscaled=1, clean=0, webp=0, palette=0, twice=0, editor=0, noise=0, gray=0)):
        assert plan.scale == 1
        assert len(plan.passes) == 1
        assert isinstance(plan.passes[0].quality, int)


@pytest.mark.parametrize("quality", [10, 30, 60])
def test_the_jpeg_quality_is_really_there(quality: int) -> None:
    found = damage.estimate(damaged(Plan(passes=(Compression("jpeg", quality),))))
    assert found.pixel_quality is not None
    assert abs(found.pixel_quality - quality) <= 1
    assert found.grid_phase == (0, 0)


def test_a_second_jpeg_has_its_own_grid() -> None:
    strong_first = (Compression("jpeg", 12), Compression("jpeg", 95, shift=(3, 5)))
    found = damage.estimate(damaged(Plan(passes=strong_first)))
    assert found.grid_phase == (5, 3)
    assert found.quality == pytest.approx(12, abs=2)
    strong_second = (Compression("jpeg", 95), Compression("jpeg", 12, shift=(3, 5)))
    assert damage.estimate(damaged(Plan(passes=strong_second))).grid_phase == (0, 0)


def test_a_shift_cuts_off_as_much_as_it_says() -> None:
    pixels, cut = apply(PHOTO, Plan(passes=(Compression("jpeg", 95), Compression("jpeg", 95, shift=(2, 7)))), None)  # type: ignore[arg-type]
    assert cut == (2, 7)
    assert pixels.shape == (254, 249, 3)
    assert np.abs(pixels.astype(int) - PHOTO[2:, 7:]).mean() < 5


def test_subsampling_takes_colour_away_and_444_does_not() -> None:
    image = Image.fromarray(photograph(64, 64))
    lost = []
    for subsampling in (0, 1, 2):
        result = np.asarray(compress(image, Compression("jpeg", 95, subsampling)).convert("YCbCr"), int)
        lost.append(np.abs(result[..., 1:] - np.asarray(image.convert("YCbCr"), int)[..., 1:]).mean())
    assert lost[0] < lost[1] < lost[2]


def test_the_other_damages_are_really_there() -> None:
    assert np.array_equal(damaged(Plan()), PHOTO)
    noisy = damaged(Plan(noise=4.0)).astype(int) - PHOTO
    assert noisy.std() == pytest.approx(4, rel=0.1)
    flat = damaged(Plan(colours=16)).reshape(-1, 3)
    dithered = damaged(Plan(colours=16, dither=True)).reshape(-1, 3)
    assert len(np.unique(flat, axis=0)) <= 16
    assert len(np.unique(dithered, axis=0)) <= 16
    assert not np.array_equal(flat, dithered)
    gray = damaged(Plan(gray=True, passes=(Compression("jpeg", 20),)))
    assert np.array_equal(gray[..., 0], gray[..., 2])
    webp = damaged(Plan(passes=(Compression("webp", 10),)))
    assert 1 < np.abs(webp.astype(int) - PHOTO).mean() < 20


def test_noise_follows_the_seed() -> None:
    plan = Plan(noise=3.0)
    assert np.array_equal(damaged(plan, 1), damaged(plan, 1))
    assert not np.array_equal(damaged(plan, 1), damaged(plan, 2))


@pytest.mark.parametrize("kernel", ["bicubic", "lanczos", "area", "bilinear", "blur"])
def test_each_kernel_reduces_without_moving_or_tinting(kernel: str) -> None:
    ramp = np.broadcast_to(np.arange(128, dtype=np.uint8)[:, None, None], (128, 128, 3)).copy()
    small = reduce(ramp, 32, Plan(4.0, kernel, 0.3 if kernel == "blur" else 0.0))  # type: ignore[arg-type]
    assert small.shape == (32, 32, 3)
    expected = 4 * np.arange(32) + 1.5
    assert np.abs(small[4:-4, 16, 0] - expected[4:-4]).max() <= 1
