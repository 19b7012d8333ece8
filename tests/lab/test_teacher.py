"""A teacher that is asked about each patch in several ways to lay it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from liif_engine.lab.teacher import Teacher
from liif_engine.network import checkpoint
from liif_engine.restore import Engine
from tests.conftest import tiny_network


def nearest(pixels: Tensor, coord: Tensor, _: Tensor) -> Tensor:
    """The pixel in which each query lies: however a patch is laid, the same."""
    size = pixels.shape[-1]
    at = ((coord + 1) / 2 * size).floor().long().clamp(0, size - 1)
    return torch.stack([patch[:, one[:, 0], one[:, 1]].T for patch, one in zip(pixels, at, strict=True)])


def batch() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.rand(2, 3, 12, 12, generator=generator)
    return pixels, torch.rand(2, 40, 2, generator=generator) * 1.98 - 0.99, torch.full((2, 40, 2), 0.1)


@pytest.mark.parametrize("ways", range(9))
def test_what_does_not_depend_on_the_way_is_the_same_in_all(ways: int) -> None:
    pixels, coord, cell = batch()
    for step in range(6):
        told = Teacher(nearest, ways, seed=1)(pixels, coord, cell, step)
        torch.testing.assert_close(told, nearest(pixels, coord, cell))


def answer(pixels: Tensor, coord: Tensor, cell: Tensor) -> Tensor:
    network = tiny_network()
    return network.decode(network.encode(pixels), coord, cell)


def test_a_model_is_asked_as_it_is_and_in_all_eight_ways_it_is_its_self_ensemble(tmp_path: Path) -> None:
    path = tmp_path / "tiny.safetensors"
    checkpoint.save(tiny_network(), path, {})
    # A whole picture of which every output pixel is asked for, as the engine would give it.
    pixels = np.random.default_rng(0).random((10, 10, 3), np.float32)
    coord = (torch.arange(20) + 0.5) / 10 - 1
    queries = torch.stack(torch.meshgrid(coord, coord, indexing="ij"), -1).reshape(1, -1, 2)
    asked = torch.from_numpy(pixels).permute(2, 0, 1)[None], queries, torch.full_like(queries, 0.1)
    for ways, name in ((0, ""), (8, "+")):
        expected = Engine(f"{path}{name}", device="cpu", precision="fp32").restore(pixels, scale=2)
        told = Teacher(answer, ways, seed=0)(*asked, 0)[0].clamp(0, 1).reshape(20, 20, 3)
        np.testing.assert_allclose(told.numpy(), expected, atol=1e-5)


def test_the_ways_depend_on_the_step_alone() -> None:
    first, second = (Teacher(answer, 2, seed=5) for _ in range(2))
    first(*batch(), 1)
    assert torch.equal(first(*batch(), 7), second(*batch(), 7))
    assert not torch.equal(first(*batch(), 7), first(*batch(), 8))
