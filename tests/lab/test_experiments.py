"""The experiments of `liif explain` on tiny random networks, whose answers are known by other means."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from liif_engine import Engine
from liif_engine.lab import ablation, attribution
from liif_engine.lab.attribution import Attribution
from liif_engine.lab.field import Field
from liif_engine.lab.query import query
from liif_engine.picture.tiles import Rect

from ..picture.photograph import photograph
from .explaining import PATCH, engine

__all__ = ["engine"]  # a fixture


def field(engine: Engine, scale: float = 2, patch: Rect = PATCH, *, channels: int = 3) -> tuple[Field, Any]:
    """A field, and the result of its whole picture."""
    pixels = photograph(64, 72)[..., :channels]
    result = engine.restore(pixels, scale=scale)
    return Field(engine.network, pixels, patch, result.shape[1::-1]), result


@pytest.mark.parametrize("scale", [1, 1.7, 2, 3])
@pytest.mark.parametrize("patch", [PATCH, Rect(0, 8, 0, 9), Rect(56, 64, 60, 72)])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_patch_comes_out_as_in_the_whole_picture(engine: Engine, scale: float, patch: Rect, channels: int) -> None:
    part, result = field(engine, scale, patch, channels=channels)
    out = part.output
    answer = np.rint(part.answer().clamp(0, 1).numpy() * 255)[..., :channels]
    whole = result[out.top : out.bottom, out.left : out.right].astype(float)
    assert np.abs(answer - whole).max() <= 1  # two ways of rounding


def test_the_contributions_add_up_to_what_they_explain(engine: Engine) -> None:
    part, _ = field(engine)
    found = attribution.attribute(part)
    assert found.contributions.shape == (part.window.height, part.window.width)
    assert found.completeness_error <= 0.05
    assert found.contributions.sum() == pytest.approx(found.observed - found.baseline, rel=0.05)
    assert found.observed > found.baseline  # sharper than blur


def test_noise_matters_more_where_the_map_says_so(engine: Engine) -> None:
    part, _ = field(engine)
    check = attribution.check(part, attribution.attribute(part))
    assert check.inside > 2 * check.anywhere
    assert check.inside > check.near


def test_attribution_reports_its_share_done_and_can_be_stopped(engine: Engine) -> None:
    part, _ = field(engine)
    shares: list[float] = []

    def stop(share: float) -> None:
        shares.append(share)
        if len(shares) == 3:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        attribution.attribute(part, on_step=stop)
    assert shares == sorted(shares)


@pytest.mark.parametrize(("magnitudes", "expected"), [([1.0] * 50, 100), ([0.0] * 49 + [3.0], 2), ([1, 1, 0, 0], 50)])
def test_the_diffusion_index_by_its_definition(magnitudes: list[float], expected: float) -> None:
    signs = np.where(np.arange(len(magnitudes)) % 2, 1, -1)
    found = Attribution((np.array(magnitudes, np.float32) * signs)[None], 0, 1, 1, 0)
    assert found.diffusion_index == pytest.approx(expected, abs=1e-4)


def test_no_contribution_at_all_is_no_division_by_zero() -> None:
    found = Attribution(np.zeros((4, 4), np.float32), 0, 0, 1, 0)
    assert found.diffusion_index == pytest.approx(100)
    assert attribution.top_region(found.weights, 0.8).sum() in {13, 14}


def test_nothing_taken_away_changes_nothing(engine: Engine) -> None:
    part, _ = field(engine)
    found = ablation.contributions(part, part.inner)
    assert {one.name for one in found.parts} == {"feature_unfolding", "local_ensemble", "beyond_block", "encoder_body"}
    assert all(one.change > 0 for one in found.parts)
    assert found.by_depth[0][0] == 0
    assert found.by_depth[-1] == (engine.network.blocks, pytest.approx(0, abs=1e-3))
    assert found.by_depth[0][1] > 0
    whole = part.answer()
    torch.testing.assert_close(part.answer(part.outside(part.model.halo)), whole)


def test_depth_and_unfolding_are_taken_from_a_copy(engine: Engine) -> None:
    before = {key: value.clone() for key, value in engine.network.state_dict().items()}
    ablation.without_unfolding(engine.network)
    assert len(ablation.shallower(engine.network, 1).encoder.body) == 2
    for key, value in engine.network.state_dict().items():
        torch.testing.assert_close(value, before[key])


@pytest.mark.parametrize("scale", [1, 1.7, 2])
def test_a_query_laid_open_mixes_to_the_answer(engine: Engine, scale: float) -> None:
    part, _ = field(engine, scale)
    row, column = part.output.height // 2, part.output.width // 3
    found = query(part, row, column)
    assert sum(answer.weight for answer in found.answers) == pytest.approx(1)
    np.testing.assert_allclose(found.mixed, part.answer()[row, column].numpy(), atol=1e-5)
    for answer in found.answers:
        assert found.y - (answer.row + 0.5) == pytest.approx(answer.relative[0], abs=1e-6)
        assert max(map(abs, answer.relative)) <= 1 + 1e-5


def test_without_the_ensemble_the_nearest_code_answers_alone(engine: Engine) -> None:
    part, _ = field(engine)
    row, column = 5, 7
    found = query(part, row, column)
    nearest = min(found.answers, key=lambda answer: math.hypot(*answer.relative))
    np.testing.assert_allclose(ablation.nearest_alone(part)[row, column].numpy(), nearest.colour, atol=1e-5)
