"""The candidate for the encoder, in Triton's interpreter or on the GPU: as near to fp32 as the one that is used."""

from __future__ import annotations

import importlib.util
import runpy
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from liif_engine.network import checkpoint
from tests.network.interpreted import DEVICE, HAS_TRITON

if not HAS_TRITON:
    pytest.skip("needs Triton, which comes with torch for NVIDIA GPUs", allow_module_level=True)

SOURCE = Path(__file__).parents[2] / "bench" / "summed.py"


@pytest.fixture(scope="module")
def summed() -> ModuleType:
    """The candidate, which is no part of what is installed."""
    spec = importlib.util.spec_from_file_location("summed", SOURCE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("size", [(1, 1), (9, 14)])
def test_it_is_as_near_to_fp32_as_the_engines(summed: Any, dtype: torch.dtype, size: tuple[int, int]) -> None:
    exact = checkpoint.load("web").to(DEVICE, memory_format=torch.channels_last)  # type: ignore[call-overload]
    reduced = checkpoint.copy_of(exact).reduce(dtype)
    pixels = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0)).to(DEVICE)
    with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
        wanted, usual, candidate = exact.encode(pixels), reduced.encode(pixels), summed.encode(reduced, pixels)
    assert candidate.dtype == usual.dtype
    assert (usual - wanted).abs().max() > 0
    assert (candidate - wanted).abs().max() <= 1.5 * (usual - wanted).abs().max()


def test_as_a_command_it_says_what_it_is() -> None:
    with pytest.raises(SystemExit, match=r"a module for bench/gpu\.py"):
        runpy.run_path(str(SOURCE), run_name="__main__")
