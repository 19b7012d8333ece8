"""Half precision is judged tile by tile: what is too busy for it or came out wrong is computed in fp32."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from liif_engine import Engine, budget, compute, judge
from liif_engine.compute import Place
from liif_engine.errors import NonFiniteError
from liif_engine.network.decode import Strip

from .conftest import picture
from .tiny import HAS_BF16, engine


def gone_wrong_by(levels: float) -> Engine:
    """An engine whose network answers so much too much in half precision, of full scale."""
    reduced = engine(precision="bf16")
    network = reduced._computer.network(Place(torch.device("cpu"), "bf16"))
    with torch.no_grad():
        network.imnet.linears[-1].bias.add_(levels)
    return reduced


@pytest.mark.skipif(not HAS_BF16, reason="needs a CPU with AVX512-BF16 or AMX")
def test_a_tile_that_overflows_is_redone_in_fp32(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(budget.TILE_CORE, "cpu", 20)
    pixels = picture(40, 20) // 4  # calm enough for half precision
    result = gone_wrong_by(float("inf")).restore(pixels, scale=2)
    assert (result == engine().restore(pixels, scale=2)).all()
    assert caplog.text.count("redone in fp32") == 2


@pytest.mark.skipif(not HAS_BF16, reason="needs a CPU with AVX512-BF16 or AMX")
@pytest.mark.parametrize("looks", ["before", "while it is computed, as on a GPU"])
def test_a_tile_too_busy_for_half_precision_is_computed_in_fp32(
    looks: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    if looks != "before":
        monkeypatch.setattr(compute, "looks_while_computing", lambda place: place.precision != "fp32")
    caplog.set_level("INFO")
    monkeypatch.setitem(budget.TILE_CORE, "cpu", 64)
    y, x = np.mgrid[0:64, 0:192]
    pixels = np.where(x < 64, 255 * ((x + y) % 2), 128)[..., None].repeat(3, 2).astype(np.uint8)
    reduced, exact = (engine(precision=precision).restore(pixels, scale=2) for precision in ("bf16", "fp32"))
    assert (reduced[:, :128] == exact[:, :128]).all()
    assert caplog.text.count("computed in fp32") == 1, "the calm tiles stay in bf16"


@pytest.mark.skipif(not HAS_BF16, reason="needs a CPU with AVX512-BF16 or AMX")
def test_a_tile_of_implausible_colours_is_redone_in_fp32(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Finite, and still far from what the pixels give reason for: as after a product that went wrong."""
    monkeypatch.setitem(budget.TILE_CORE, "cpu", 20)
    pixels = picture(40, 20) // 4  # calm enough for half precision
    result = gone_wrong_by(20).restore(pixels, scale=2)
    assert (result == engine().restore(pixels, scale=2)).all()
    assert caplog.text.count("redone in fp32") == 2
    assert "beyond what its pixels allow" in caplog.text


@pytest.mark.parametrize("side", ["dark", "bright"])
def test_what_is_plausible_depends_on_the_tile(side: str) -> None:
    """An answer that a full range of pixels allows may be wrong for a flat tile."""
    flat = np.full((8, 8, 3), 10 if side == "dark" else 245, np.uint8)
    answer = 0.9 if side == "dark" else 0.1
    strip = Strip(0, 1, torch.zeros(1), torch.tensor([answer, answer]))
    with pytest.raises(judge.ImplausibleTile):
        judge.judge(strip, *judge.plausible(flat), "bf16")
    busy = np.dstack([flat[..., 0], 255 - flat[..., 1], flat[..., 2]])
    judge.judge(strip, *judge.plausible(busy), "bf16")
    judge.judge(strip, *judge.plausible(flat), "fp32")  # nothing better is to be had


@pytest.mark.parametrize("model", ["web", "published"])
@pytest.mark.parametrize("scale", [1, 4])
def test_hard_but_sane_content_is_plausible(model: str, scale: int, caplog: pytest.LogCaptureFixture) -> None:
    """One-bit noise, lines of a pixel and hard edges overshoot the most; none of it is done twice."""
    y, x = np.mgrid[0:20, 0:20]
    random = np.random.default_rng(0)
    for pixels in (
        random.integers(0, 2, (20, 20, 3), np.uint8) * 255,
        np.repeat((x % 2 * 255).astype(np.uint8)[..., None], 3, -1),
        np.repeat(((x // 5 + y // 5) % 2 * 255).astype(np.uint8)[..., None], 3, -1),
        np.full((20, 20, 3), 255, np.uint8),
    ):
        Engine(model, device="cpu").restore(pixels, scale=scale)
    assert "redone" not in caplog.text


def test_infinities_in_fp32_are_an_error() -> None:
    one = engine()
    network = one._computer.network(Place(torch.device("cpu"), "fp32"))
    with torch.no_grad():
        network.imnet.linears[-1].bias.fill_(float("nan"))
    with pytest.raises(NonFiniteError):
        one.restore(picture(8, 8), scale=2)
