"""Muon: what its steps are, and that they lead down."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from liif_engine.lab.muon import Muon, orthogonal


@pytest.mark.parametrize("shape", [(3, 64, 576), (1, 256, 256), (2, 580, 256)])
def test_singular_values_are_drawn_towards_one_and_singular_vectors_stay(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    matrices = torch.randn(shape) * torch.logspace(-3, 0, shape[-1])  # of very unequal columns
    values = torch.linalg.svdvals(orthogonal(matrices))
    assert values.max() < 1.3
    assert values.median() > 0.6
    left, _, right = torch.linalg.svd(matrices, full_matrices=False)
    inner = left.mT @ orthogonal(matrices) @ right.mT
    off = inner - torch.diag_embed(torch.diagonal(inner, dim1=-2, dim2=-1))
    assert off.abs().max() < 1e-3


def test_no_gradient_gives_no_step_and_no_nan() -> None:
    assert torch.equal(orthogonal(torch.zeros(1, 32, 40)), torch.zeros(1, 32, 40))


def test_a_step_is_about_as_large_as_adams_and_the_layout_in_memory_is_nothing_to_it() -> None:
    torch.manual_seed(0)
    gradient, start = torch.randn(64, 64, 3, 3), torch.randn(64, 64, 3, 3)
    moved = []
    for layout in (torch.contiguous_format, torch.channels_last):
        kernel = nn.Parameter(start.clone().to(memory_format=layout))
        bias = nn.Parameter(torch.zeros(64))
        kernel.grad, bias.grad = gradient.clone().to(memory_format=layout), torch.full((64,), 7.0)
        Muon([{"params": [kernel, bias]}], lr=0.01).step()
        moved.append(kernel.detach() - start)
        assert torch.allclose(bias, torch.tensor(-0.01))  # the first step of Adam is the rate
    assert torch.allclose(*moved, atol=1e-7)
    assert 0.001 < moved[0].square().mean().sqrt() < 0.003


def test_a_small_network_learns_by_it() -> None:
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Conv2d(3, 32, 3), nn.ReLU(), nn.Conv2d(32, 32, 3), nn.ReLU(), nn.Conv2d(32, 3, 3))
    optimizer = Muon([{"params": list(layers.parameters())}], 0.01)
    losses = []
    for step in range(150):
        optimizer.param_groups[0]["lr"] = 0.01 * (1 - step / 150)
        pictures = torch.rand(4, 3, 12, 12)
        optimizer.zero_grad()
        loss = (layers(pictures) - pictures[..., 3:-3, 3:-3]).abs().mean()
        torch.autograd.backward(loss)
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] > 0.3
    assert losses[-1] < 0.05
