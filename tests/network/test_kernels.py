"""The fused decoder against `decode.py`: on a GPU where there is one, else in Triton's interpreter."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from liif_engine.network import checkpoint
from liif_engine.network import decode as plain
from liif_engine.network.decode import Strip
from liif_engine.network.grid import Span, axis
from liif_engine.network.model import EdsrLiif

from ..conftest import picture, tiny_network
from .interpreted import DEVICE, HAS_TRITON

pytestmark = pytest.mark.skipif(not HAS_TRITON, reason="needs Triton: pip install -c constraints.txt '.[gpu]'")

if HAS_TRITON:
    from liif_engine.network import kernels, packed
    from liif_engine.network.kernels import Launch

#: In fp32, where only the order of sums differs.
TOLERANCE = 0.02 / 255

#: How far a half-precision answer may be from fp32: so many times the worst error of `decode.py` in that precision, and
#: a quarter of an 8-bit step. The kernel rounds a value less often than `decode.py`, but not the same values.
RELATIVE, ABSOLUTE = 1.5, 0.25 / 255

#: Both forms of the kernel.
LAYOUTS = [(32, True), (64, False)]

Case = tuple[tuple[int, int], tuple[int, int]]

#: (input size, output size): scales 1, 1.5, 2, 3.3, 4, one for each axis, 1 along one of them, a single pixel, a line.
CASES: list[Case] = [
    ((7, 5), (7, 5)),
    ((6, 9), (9, 14)),
    ((5, 4), (10, 8)),
    ((5, 6), (16, 20)),
    ((4, 3), (16, 12)),
    ((5, 7), (6, 25)),
    ((5, 7), (5, 25)),
    ((5, 7), (9, 7)),
    ((1, 1), (4, 3)),
    ((1, 11), (2, 22)),
]


def laid_out(block: int, one_loop: bool) -> Launch:
    return Launch(block, one_loop=one_loop, warps=4, stages=1)


def features(model: EdsrLiif, size: tuple[int, int], dtype: torch.dtype = torch.float32) -> tuple[EdsrLiif, Tensor]:
    """The model in a dtype, and a random picture's feature map, the same in every dtype but for its rounding."""
    pixels = torch.from_numpy(picture(*size, dtype="float32")).permute(2, 0, 1)[None]
    with torch.inference_mode():
        feature_map = model.encode(pixels).to(dtype).to(DEVICE, memory_format=torch.channels_last)
    network = checkpoint.copy_of(model)
    if dtype != torch.float32:
        network.reduce(dtype)
    return network.to(DEVICE), feature_map


def spans(size: tuple[int, int], out: tuple[int, int]) -> tuple[Span, Span]:
    rows, columns = (Span(axis(n, m), 0, m, 0) for n, m in zip(size, out, strict=True))
    return rows, columns


@torch.inference_mode()
def fused(
    model: EdsrLiif, feature_map: Tensor, rows: Span, columns: Span, launch: Launch, **rest: torch.dtype
) -> Tensor:
    strips = list(kernels.decode(model, feature_map, rows, columns, launch=launch, **rest))
    return torch.cat([strip.values for strip in strips]).cpu()


@torch.inference_mode()
def oracle(model: EdsrLiif, feature_map: Tensor, rows: Span, columns: Span) -> Tensor:
    return torch.cat([strip.values for strip in plain.decode(model, feature_map, rows, columns)]).cpu()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("size", "out"), CASES)
def test_every_pixel_equals_the_oracle(size: tuple[int, int], out: tuple[int, int], layout: tuple[int, bool]) -> None:
    model, feature_map = features(tiny_network(hidden=(12, 16, 9)), size)
    result = fused(model, feature_map, *spans(size, out), laid_out(*layout))
    expected = oracle(model, feature_map, *spans(size, out))
    assert (result - expected).abs().max() <= TOLERANCE
    assert expected.std() > 0.01


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_as_near_to_fp32_as_the_oracle(dtype: torch.dtype, layout: tuple[int, bool]) -> None:
    model = tiny_network(hidden=(24, 16, 9))
    size, out = (7, 6), (23, 20)
    exact = oracle(*features(model, size), *spans(size, out))
    reduced = oracle(*features(model, size, dtype), *spans(size, out))
    result = fused(*features(model, size, dtype), *spans(size, out), laid_out(*layout))
    bound = RELATIVE * (reduced - exact).abs().max() + ABSOLUTE
    assert (result - exact).abs().max() <= bound


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_true_widths(dtype: torch.dtype, layout: tuple[int, bool]) -> None:
    model = checkpoint.load("web")
    size, out = (6, 5), (13, 9)
    exact = oracle(*features(model, size), *spans(size, out))
    reduced = oracle(*features(model, size, dtype), *spans(size, out))
    result = fused(*features(model, size, dtype), *spans(size, out), laid_out(*layout))
    bound = TOLERANCE if dtype == torch.float32 else RELATIVE * (reduced - exact).abs().max() + ABSOLUTE
    assert (result - exact).abs().max() <= bound


@pytest.mark.parametrize("hidden", [(7,), (96, 48), (33, 5, 64)])
def test_other_widths(hidden: tuple[int, ...]) -> None:
    model, feature_map = features(tiny_network(hidden=hidden), (4, 5))
    for layout in LAYOUTS:
        result = fused(model, feature_map, *spans((4, 5), (9, 8)), laid_out(*layout))
        assert (result - oracle(model, feature_map, *spans((4, 5), (9, 8)))).abs().max() <= TOLERANCE


def test_coordinates_keep_their_precision_in_half_precision() -> None:
    """Without the codes' and the layers' rounding, what is left is the coordinates': as good as in fp32."""
    model = tiny_network(hidden=(16,))
    with torch.no_grad():
        first = model.imnet.linears[0]
        first.weight[:, :-4] = 0  # the codes play no part
        first.weight.copy_(first.weight * 8)
        first.bias.zero_()
    _, _, coord, cell = model.first_layer()
    rows, columns = spans((3, 3), (10, 10))
    with torch.inference_mode():
        terms = packed.first_terms(checkpoint.copy_of(model).reduce(torch.bfloat16), rows, columns)
        left = packed.axis_arrays(rows, packed.Y, torch.device("cpu"), torch.bfloat16).terms[0]
        given = left.double() @ terms.double()[:, :16]
    weights = model.reduce(torch.bfloat16).first_layer()
    wanted = torch.tensor(rows.relative()[0])[:, None] * weights[2][:, 0].double()
    wanted = wanted + weights[3].double() @ torch.tensor([rows.axis.cell, columns.axis.cell], dtype=torch.double)
    assert coord.shape == cell.shape
    assert (given - wanted).abs().max() <= 2**-15 * wanted.abs().max()
    assert wanted.abs().max() > 1


def test_a_part_of_a_picture_equals_that_part_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tile's feature map starts somewhere inside, and its strips are many."""
    model, feature_map = features(tiny_network(), (9, 8))
    rows, columns = spans((9, 8), (21, 27))
    whole = fused(model, feature_map, rows, columns, laid_out(32, True))
    monkeypatch.setitem(plain.STRIP_QUERIES, DEVICE.type, 70)
    part = feature_map[:, :, 2:, 1:7].contiguous(memory_format=torch.channels_last)
    inner = Span(rows.axis, 9, 21, 2), Span(columns.axis, 8, 19, 1)
    for layout in LAYOUTS:
        strips = list(kernels.decode(model, part, *inner, launch=laid_out(*layout)))
        assert [strip.start for strip in strips] == [9, 15]
        assert (torch.cat([strip.values for strip in strips]).cpu() - whole[9:21, 8:19]).abs().max() <= TOLERANCE


@pytest.mark.parametrize(("form", "full"), [(torch.uint8, 255), (torch.uint16, 65_535)])
def test_integers_are_the_rounded_and_clamped_real_numbers(form: torch.dtype, full: int) -> None:
    model, feature_map = features(tiny_network(), (5, 6))
    with torch.no_grad():
        model.imnet.linears[-1].weight.mul_(4)  # so that some are below 0 and some above 1
    rows, columns = spans((5, 6), (12, 13))
    real = fused(model, feature_map, rows, columns, laid_out(32, True))
    assert real.min() < 0
    assert real.max() > 1
    result = fused(model, feature_map, rows, columns, laid_out(32, True), form=form)
    assert result.dtype == form
    assert np.array_equal(result.numpy(), (real.clamp(0, 1) * full).round().numpy().astype(result.numpy().dtype))


def test_the_extent_is_that_of_the_unclamped_answers() -> None:
    model, feature_map = features(tiny_network(), (5, 6))
    for form in (torch.float32, torch.uint8):
        strips: list[Strip] = list(
            kernels.decode(model, feature_map, *spans((5, 6), (12, 13)), launch=laid_out(32, True), form=form)
        )
        expected = oracle(model, feature_map, *spans((5, 6), (12, 13)))
        assert strips[0].extent.tolist() == pytest.approx([float(expected.min()), float(expected.max())], abs=TOLERANCE)
    with torch.no_grad():
        model.imnet.linears[-1].bias[1] = float("nan")
    packed._packed.clear()
    [strip] = kernels.decode(model, feature_map, *spans((5, 6), (12, 13)), launch=laid_out(32, True))
    assert not bool(torch.isfinite(strip.extent).all())


def test_what_it_does_not_serve() -> None:
    assert kernels.serves(tiny_network(), torch.bfloat16)
    assert not kernels.serves(tiny_network(hidden=(300, 16)), torch.bfloat16)
    assert not kernels.serves(tiny_network(), torch.float64)


COMPILE = """
from tests.network.compiled import resources, resources_of_candidate
from liif_engine.network.tuning import CANDIDATES
for found in [*map(resources, CANDIDATES), resources_of_candidate()]:
    assert found.shared_bytes <= 227 * 1024, found
    assert found.warpgroup_products >= 24 and found.older_products == 0, found
    # A thread's part of two layers' outputs, of 64 x 256 for 128 threads each: what overflows is to be seen at the end.
    assert found.maxima >= 2 * 128, found
"""


def test_the_compiler_makes_of_it_what_was_meant() -> None:
    """For compute capability 9.0, without one: in shared memory's limit, and through that chip's own matrix unit."""
    done = subprocess.run(
        [sys.executable, "-c", COMPILE],
        env=_without_interpreter(),
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert done.returncode == 0, done.stderr[-2000:]


def _without_interpreter() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}
