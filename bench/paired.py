"""A candidate for the fused decoder, in Gluon: two groups of warps that work from the same tiles of weights.

    python -m bench.paired    # on an H100-class GPU: is it right, and how fast; bench/gpu.py runs it with a time limit

Each group answers 64 queries at a time, and multiplies while the other does what is no product; a third, of one warp,
keeps a ring of tiles full. So a byte of weights from L2 serves 128 queries, and no group waits for the other's sums;
docs/speed.md has what holds up the kernel that is used (`liif_engine/network/kernels.py`, whose arrays, of `packed.py`,
these are).

It is not used by the engine: Gluon has no interpreter, no GPU has run this yet, and a fault in its barriers would not
end in an error but never. What is known: the compiler makes of it what was meant, for Triton 3.6 and 3.7.
"""

from __future__ import annotations

import json
import statistics
import sys
import time

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia.hopper import (
    fence_async_shared,
    mbarrier,
    tma,
    warpgroup_mma,
    warpgroup_mma_wait,
)
from triton.experimental.gluon.nvidia.hopper import TensorDescriptor

from liif_engine.network import checkpoint, kernels
from liif_engine.network.decode import decode
from liif_engine.network.grid import Span, axis
from liif_engine.network.kernels import FULL_SCALE, ROUNDER, Launch
from liif_engine.network.model import EdsrLiif
from liif_engine.network.packed import PADDED, AxisArrays, pack

#: Groups of warps that compute, warps of each, and queries of each.
GROUPS, WARPS, ROWS = 2, 4, 64

#: Tiles in the ring, a quarter of a layer each: 32 KB at width 256. The first and the last layer take 16 KB more.
SLOTS = 5

#: Registers of a thread of the second group, and of the warp that loads.
REGISTERS = (232, 40)


@gluon.jit
def _quarters(x, ROWS: gl.constexpr, WIDTH: gl.constexpr, OPERAND: gl.constexpr):
    """(ROWS, WIDTH) as four operands of a quarter of the width each; all of it stays in the registers it is in."""
    left, right = x.reshape([ROWS, 2, WIDTH // 2]).permute([0, 2, 1]).split()
    a, b = left.reshape([ROWS, 2, WIDTH // 4]).permute([0, 2, 1]).split()
    c, d = right.reshape([ROWS, 2, WIDTH // 4]).permute([0, 2, 1]).split()
    a, b = gl.convert_layout(a, OPERAND), gl.convert_layout(b, OPERAND)
    return a, b, gl.convert_layout(c, OPERAND), gl.convert_layout(d, OPERAND)


@gluon.jit
def _relu(x):
    """A not-a-number stays one."""
    return gl.maximum(x, 0.0, propagate_nan=tl.PropagateNan.ALL)


@gluon.jit
def _produce(weights, tiles, full, empty, blocks, TILES: gl.constexpr, SLOTS: gl.constexpr, CORNERS: gl.constexpr):
    """Keeps the ring full: the tiles of all layers, for each corner of each block of queries."""
    DEEP: gl.constexpr = weights.block_type.shape[0]
    count = 0
    for _block in range(gl.program_id(0), blocks, gl.num_programs(0)):
        for _corner in range(CORNERS):
            for tile in range(TILES):
                slot = count % SLOTS
                mbarrier.wait(empty.index(slot), ((count // SLOTS) & 1) ^ 1)
                mbarrier.expect(full.index(slot), weights.block_type.nbytes)
                tma.async_copy_global_to_shared(weights, [tile * DEEP, 0], full.index(slot), tiles.index(slot))
                count += 1


@gluon.jit
def _multiply(a, tiles, full, count, SLOTS: gl.constexpr, acc, ADD: gl.constexpr):
    """Waits for tile number `count`, and begins its product."""
    slot = count % SLOTS
    mbarrier.wait(full.index(slot), (count // SLOTS) & 1)
    return warpgroup_mma(a, tiles.index(slot), acc, use_acc=ADD, is_async=True)


@gluon.jit
def _consume(
    group, result, extent, codes, row_codes, row_shares, row_terms, column_codes, column_shares, column_terms,
    biases, last_bias, first_tile, last_tile, tiles, full, empty,
    start, height, width, all_rows, top, left, code_width, blocks,
    K: gl.constexpr, WIDTH: gl.constexpr, LAYERS: gl.constexpr, ROWS: gl.constexpr, GROUPS: gl.constexpr,
    SLOTS: gl.constexpr, PAD: gl.constexpr, FULL: gl.constexpr, DOWN: gl.constexpr, ACROSS: gl.constexpr,
    ROUND: gl.constexpr, WARPS: gl.constexpr,
):  # fmt: skip
    """Answers ROWS queries of each block; the arrays are those of `kernels._decoder`."""
    WIDE: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [WARPS, 1], [16, WIDTH, 16])
    THIN: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [WARPS, 1], [16, PAD, 16])
    OPERAND: gl.constexpr = gl.DotOperandLayout(operand_index=0, parent=WIDE, k_width=2)
    LAST: gl.constexpr = gl.DotOperandLayout(operand_index=0, parent=THIN, k_width=2)
    dtype: gl.constexpr = codes.dtype.element_ty
    k = gl.arange(0, WIDTH, layout=gl.SliceLayout(0, WIDE))
    pad_of_operand = gl.arange(0, PAD, layout=gl.SliceLayout(0, OPERAND))
    pad = gl.arange(0, PAD, layout=gl.SliceLayout(0, THIN))
    queries = height * width
    count = 0
    for block in range(gl.program_id(0), blocks, gl.num_programs(0)):
        base = (block * GROUPS + group) * ROWS
        wide = base + gl.arange(0, ROWS, layout=gl.SliceLayout(1, WIDE))
        operand = base + gl.arange(0, ROWS, layout=gl.SliceLayout(1, OPERAND))
        query = base + gl.arange(0, ROWS, layout=gl.SliceLayout(1, THIN))
        wide_inside, operand_inside, inside = wide < queries, operand < queries, query < queries
        wide_row, wide_column = start + wide // width, wide % width
        operand_row, operand_column = start + operand // width, operand % width
        row, column = start + query // width, query % width
        mixed = gl.zeros([ROWS, PAD], gl.float32, layout=THIN)
        for corner in range(DOWN * ACROSS):
            down, across = (corner // ACROSS) * all_rows, (corner % ACROSS) * width
            code_row = gl.load(row_codes + down + wide_row, wide_inside, top) - top
            code_column = gl.load(column_codes + across + wide_column, wide_inside, left) - left
            code = code_row.to(gl.int64) * code_width + code_column
            present = wide_inside[:, None] & (k < K)[None, :]
            deep = gl.load(codes + code[:, None] * K + k[None, :], present, 0.0).to(gl.float32)
            row_part = row_terms + (down + operand_row)[:, None] * PAD + pad_of_operand[None, :]
            column_part = column_terms + (across + operand_column)[:, None] * PAD + pad_of_operand[None, :]
            terms = gl.load(row_part, operand_inside[:, None], 0.0)
            terms += gl.load(column_part, operand_inside[:, None], 0.0)
            deep = warpgroup_mma(terms, first_tile, deep)
            hidden = _relu(deep).to(dtype)
            for layer in range(LAYERS):
                a, b, c, d = _quarters(hidden, ROWS, WIDTH, OPERAND)
                # Each product begins as soon as its tile is there; a tile is given back when its product is done, which
                # is known when at most the one after it is under way.
                acc = _multiply(a, tiles, full, count, SLOTS, deep, False)
                acc = _multiply(b, tiles, full, count + 1, SLOTS, acc, True)
                acc = warpgroup_mma_wait(1, deps=[acc])
                mbarrier.arrive(empty.index(count % SLOTS), count=1)
                acc = _multiply(c, tiles, full, count + 2, SLOTS, acc, True)
                acc = warpgroup_mma_wait(1, deps=[acc])
                mbarrier.arrive(empty.index((count + 1) % SLOTS), count=1)
                acc = _multiply(d, tiles, full, count + 3, SLOTS, acc, True)
                deep = warpgroup_mma_wait(0, deps=[acc])
                mbarrier.arrive(empty.index((count + 2) % SLOTS), count=1)
                mbarrier.arrive(empty.index((count + 3) % SLOTS), count=1)
                count += 4
                bias = gl.load(biases + layer * WIDTH + k)
                hidden = _relu(deep + bias[None, :]).to(dtype)
            nothing = gl.zeros([ROWS, PAD], gl.float32, layout=THIN)
            answer = warpgroup_mma(gl.convert_layout(hidden, LAST), last_tile, nothing)
            share = gl.load(row_shares + down + row, inside, 0.0)
            share *= gl.load(column_shares + across + column, inside, 0.0)
            mixed += share[:, None] * answer
        rgb = (mixed + gl.load(last_bias + pad)[None, :]) * 0.5 + 0.5
        written = inside[:, None] & (pad < 3)[None, :]
        known = gl.where(rgb == rgb, rgb, float("inf"))
        gl.store(extent + 2 * (block * GROUPS + group), gl.min(gl.min(gl.where(written, known, float("inf")), 1), 0))
        gl.store(
            extent + 2 * (block * GROUPS + group) + 1, gl.max(gl.max(gl.where(written, known, float("-inf")), 1), 0)
        )
        if FULL > 0:
            rgb = gl.minimum(gl.maximum(rgb, 0.0), 1.0) * FULL
            rgb = (rgb + ROUND) - ROUND
        gl.store(result + query[:, None] * 3 + pad[None, :], rgb.to(result.dtype.element_ty), written)


@gluon.jit(do_not_specialize=["start", "height", "width", "all_rows", "top", "left", "code_width", "blocks"])
def decoder(
    result, extent, codes, row_codes, row_shares, row_terms, column_codes, column_shares, column_terms,
    first, weights, biases, last_weight, last_bias,
    start, height, width, all_rows, top, left, code_width, blocks,
    K: gl.constexpr, WIDTH: gl.constexpr, LAYERS: gl.constexpr, ROWS: gl.constexpr, GROUPS: gl.constexpr,
    SLOTS: gl.constexpr, WARPS: gl.constexpr, OTHERS: gl.constexpr, LOADER: gl.constexpr,
    PAD: gl.constexpr, FULL: gl.constexpr, DOWN: gl.constexpr, ACROSS: gl.constexpr, ROUND: gl.constexpr,
):  # fmt: skip
    """Sets up the ring and its barriers; then three groups of warps go their ways. A block is GROUPS * ROWS queries."""
    dtype: gl.constexpr = codes.dtype.element_ty
    tiles = gl.allocate_shared_memory(dtype, [SLOTS, weights.block_type.shape[0], WIDTH], weights.layout)
    first_tile = gl.allocate_shared_memory(dtype, [PAD, WIDTH], first.layout)
    last_tile = gl.allocate_shared_memory(dtype, [WIDTH, PAD], last_weight.layout)
    full = gl.allocate_shared_memory(gl.int64, [SLOTS, 1], mbarrier.MBarrierLayout())
    empty = gl.allocate_shared_memory(gl.int64, [SLOTS, 1], mbarrier.MBarrierLayout())
    small = gl.allocate_shared_memory(gl.int64, [1], mbarrier.MBarrierLayout())
    for slot in gl.static_range(SLOTS):
        mbarrier.init(full.index(slot), count=1)
        mbarrier.init(empty.index(slot), count=GROUPS)
    mbarrier.init(small, count=1)
    fence_async_shared()
    mbarrier.expect(small, first.block_type.nbytes + last_weight.block_type.nbytes)
    tma.async_copy_global_to_shared(first, [0, 0], small, first_tile)
    tma.async_copy_global_to_shared(last_weight, [0, 0], small, last_tile)
    mbarrier.wait(small, 0)
    mbarrier.invalidate(small)  # its bytes become the scratch of the reductions
    # Written out twice: Gluon knows no stars, and constants that went through a variable are none.
    gl.warp_specialize(
        [
            (_consume, (
                0, result, extent, codes, row_codes, row_shares, row_terms, column_codes, column_shares,
                column_terms, biases, last_bias, first_tile, last_tile, tiles, full, empty,
                start, height, width, all_rows, top, left, code_width, blocks,
                K, WIDTH, LAYERS, ROWS, GROUPS, SLOTS, PAD, FULL, DOWN, ACROSS, ROUND, WARPS,
            )),
            (_consume, (
                1, result, extent, codes, row_codes, row_shares, row_terms, column_codes, column_shares,
                column_terms, biases, last_bias, first_tile, last_tile, tiles, full, empty,
                start, height, width, all_rows, top, left, code_width, blocks,
                K, WIDTH, LAYERS, ROWS, GROUPS, SLOTS, PAD, FULL, DOWN, ACROSS, ROUND, WARPS,
            )),
            (_produce, (weights, tiles, full, empty, blocks, 4 * LAYERS, SLOTS, DOWN * ACROSS)),
        ],
        [WARPS, 1],
        [OTHERS, LOADER],
    )  # fmt: skip


def shared_layout(width: int) -> gl.NVMMASharedLayout:
    """Of a tile with rows of so many 16-bit numbers."""
    return gl.NVMMASharedLayout(swizzle_byte_width=min(128, 2 * width), element_bitwidth=16, rank=2)


def _described(matrix: Tensor, rows: int) -> TensorDescriptor:
    block = [rows, matrix.shape[1]]
    return TensorDescriptor.from_tensor(matrix, block, shared_layout(matrix.shape[1]))


def launch(
    model: EdsrLiif,
    codes: Tensor,
    values: Tensor,
    axes: list[AxisArrays],
    first: Tensor,
    corner: tuple[int, int, int],
    _: Launch,
) -> Tensor:
    """In the place of `kernels._launch`."""
    packed = pack(model)
    if packed.width < 64 or codes.dtype.itemsize != 2:
        raise ValueError("the candidate takes 16-bit numbers, and widths from 64 on")
    row, column = axes
    start, top, left = corner
    height, width, _ = values.shape
    blocks = triton.cdiv(height * width, GROUPS * ROWS)
    extent = torch.empty(GROUPS * blocks, 2, device=codes.device)
    programs = min(torch.cuda.get_device_properties(codes.device).multi_processor_count, blocks)
    with torch.cuda.device_of(codes):
        decoder[(programs,)](
            values, extent, codes, row.codes, row.shares, row.terms, column.codes, column.shares, column.terms,
            _described(first, PADDED), _described(packed.weights, packed.width // 4), packed.biases,
            _described(packed.last_weight, packed.width), packed.last_bias,
            start, height, width, row.codes.shape[1], top, left, codes.shape[1], blocks,
            K=codes.shape[-1], WIDTH=packed.width, LAYERS=packed.layers, ROWS=ROWS, GROUPS=GROUPS, SLOTS=SLOTS,
            WARPS=WARPS, OTHERS=REGISTERS[0], LOADER=REGISTERS[1],
            PAD=PADDED, FULL=FULL_SCALE[values.dtype], DOWN=len(row.codes), ACROSS=len(column.codes),
            ROUND=ROUNDER, num_warps=WARPS,
        )  # fmt: skip
    return torch.stack([extent[:, 0].amin(), extent[:, 1].amax()])


def values_of(
    model: EdsrLiif, feature_map: Tensor, scale: float, form: torch.dtype, *, paired: bool
) -> tuple[Tensor, list[float]]:
    """The whole picture's values and extent, by this kernel or by the one that is used."""
    used = kernels._launch
    sides = feature_map.shape[2:]
    rows, columns = (Span(axis(side, round(side * scale)), 0, round(side * scale), 0) for side in sides)
    kernels._launch = launch if paired else used
    try:
        strips = list(kernels.decode(model, feature_map, rows, columns, launch=Launch(64, True, 4, 1), form=form))
    finally:
        kernels._launch = used
    extents = torch.stack([strip.extent for strip in strips])
    return torch.cat([strip.values for strip in strips]), [float(extents[:, 0].min()), float(extents[:, 1].max())]


@torch.inference_mode()
def main() -> int:
    if not torch.cuda.is_available():
        sys.exit("bench/paired.py needs a GPU of compute capability 9.0, and torch finds none here.")
    model = checkpoint.load("web").reduce(torch.bfloat16).to("cuda", memory_format=torch.channels_last)
    found: dict[str, object] = {}
    for height, width, scale in ((61, 83, 2.0), (61, 83, 3.3), (5, 7, 1.0), (1, 1, 4.0), (300, 200, 4.0)):
        feature_map = random_map(model, height, width)
        ours, extent = values_of(model, feature_map, scale, torch.float32, paired=True)
        used, extent_of_used = values_of(model, feature_map, scale, torch.float32, paired=False)
        spans = [Span(axis(side, round(side * scale)), 0, round(side * scale), 0) for side in (height, width)]
        plain = torch.cat([strip.values for strip in decode(model, feature_map, *spans)])
        again, _ = values_of(model, feature_map, scale, torch.float32, paired=True)
        found[f"{height}x{width} at {scale:g}"] = {
            "from the kernel that is used": float((ours - used).abs().max()),
            "from decode.py": float((ours - plain).abs().max()),
            "that one's distance from decode.py": float((used - plain).abs().max()),
            "same bytes as the one that is used": torch.equal(ours, used),
            "same bytes again": torch.equal(ours, again),
            "extent differs by": max(abs(a - b) for a, b in zip(extent, extent_of_used, strict=True)),
        }
        print(json.dumps(found), flush=True)
    feature_map = random_map(model, 1024, 1024)
    work = 2 * 4 * model.answer_work * 4096**2
    for name, paired in (("paired", True), ("used", False)) * 2:
        times = []
        for _ in range(6):
            torch.cuda.synchronize()
            started = time.perf_counter()
            values_of(model, feature_map, 4, torch.uint8, paired=paired)
            torch.cuda.synchronize()
            times.append(time.perf_counter() - started)
        found[f"{name} [TFLOP/s]"] = work / statistics.median(times[1:]) / 1e12
    print(json.dumps(found), flush=True)
    return 0


def random_map(model: EdsrLiif, height: int, width: int) -> Tensor:
    """A feature map of random numbers."""
    feature_map = torch.randn(1, model.channels, height, width, device="cuda").bfloat16()
    return feature_map.contiguous(memory_format=torch.channels_last)


if __name__ == "__main__":
    sys.exit(main())
