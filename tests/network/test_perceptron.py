"""The deeper layers: one pass or two, the same numbers; and no overflow is hidden."""

from __future__ import annotations

import pytest
import torch

from liif_engine.network.decode import decode
from liif_engine.network.grid import Span, axis
from liif_engine.network.model import EdsrLiif
from liif_engine.network.perceptron import Perceptron, has_fused

from ..conftest import tiny_network

ONE_PASS = has_fused(torch.zeros(1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("hidden", [(12,), (12, 16), (96, 48), (33, 7, 65)])
def test_one_pass_equals_two(dtype: torch.dtype, hidden: tuple[int, ...]) -> None:
    perceptron = Perceptron(tiny_network(hidden=hidden).reduce(dtype))
    rows = torch.rand(37, hidden[0], generator=torch.Generator().manual_seed(1)).to(dtype)
    with torch.inference_mode():
        fast, slow = perceptron(rows, safe=True), perceptron(rows, safe=False)
    assert fast.dtype == slow.dtype == torch.float32
    # Each layer sums in fp32 and rounds once in both, but for the order of the sums.
    torch.testing.assert_close(fast, slow, rtol=0, atol=1e-6 if dtype == torch.float32 else 2**-6)


def strips(model: EdsrLiif) -> torch.Tensor:
    with torch.inference_mode():
        feature_map = model.encode(torch.rand(1, 3, 9, 9))
        spans = Span(axis(9, 18), 0, 18, 0), Span(axis(9, 18), 0, 18, 0)
        return torch.cat([strip.values for strip in decode(model, feature_map, *spans)])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_an_overflow_inside_is_not_hidden(dtype: torch.dtype) -> None:
    """Infinities of both signs meet in a hidden layer; the sum is no number, and must not leave as a plain zero."""
    model = tiny_network(hidden=(16, 16, 16))
    first, second, third = model.imnet.linears[:3]
    first.bias.fill_(1e30)
    second.weight.fill_(1e20)
    third.weight.fill_(1)
    third.weight[:, ::2] = -1
    assert not bool(torch.isfinite(strips(model.reduce(dtype))).all())


@pytest.mark.skipif(not ONE_PASS, reason="needs torch with oneDNN on an x86-64 CPU")
def test_a_network_of_plain_size_takes_the_fast_way() -> None:
    model = tiny_network(hidden=(16, 16))
    assert Perceptron(model).is_safe(torch.full((2, 2, 16), -3.0))
    assert not Perceptron(model).is_safe(torch.tensor([1.0, float("nan")]))
    assert not Perceptron(model).is_safe(torch.tensor([1.0, float("inf")]))
