"""The decoder as one Triton kernel: a query's four answers never leave the chip; `decode.py` is its oracle.

A program answers BLOCK queries, one corner of the ensemble after the other. The rows of the first layer that it
gathers are the accumulator to which a small product adds the rank-1 terms, each factor in two parts so that half
precision loses nothing of the coordinates. The deeper layers' weights (384 KB in bf16, more than any shared memory)
stream from L2.

Triton cannot cut a tensor that lies in registers along K, so a layer's input is kept as two tensors of half the width,
and the weights come in tiles of half a layer (64 KB). There are two forms. In one the half layers of all layers are one
loop, so that a tile can load while the one before it multiplies; in the other a layer's two halves follow each other
within a loop over the layers, which leaves the input in registers. With 64 queries a program, two programs share a
processor and hide each other's waits; with 128 a byte of weights from L2 serves twice as many. `tuning.py` measures
which is fastest; all sum over K in the same order.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.tools.tensor_descriptor import TensorDescriptor

from liif_engine.network.decode import STRIP_QUERIES, Strip, first_layer_codes
from liif_engine.network.grid import Span
from liif_engine.network.model import EdsrLiif
from liif_engine.network.packed import PADDED, WIDEST, AxisArrays, X, Y, axis_arrays, pack, terms_of, width_for

#: Adding and subtracting it rounds an fp32 in [0, 2^22) to an integer, halves to even, as torch.round does.
ROUNDER = 12_582_912.0

#: What full scale is in the forms that a result can be written in; floats are written unclamped.
FULL_SCALE = {torch.float32: 0, torch.uint8: 255, torch.uint16: 65_535}


@dataclass(frozen=True)
class Launch:
    """How a kernel is laid out on a GPU; it changes the speed, not what is computed.

    Attributes:
        block: queries of a program.
        one_loop: whether the half layers of all layers are one loop, or the layers are.
        warps: of 32 threads, a program.
        stages: tiles of weights in shared memory at a time.
    """

    block: int
    one_loop: bool
    warps: int
    stages: int


@triton.jit
def _halved(x, BLOCK: tl.constexpr, WIDTH: tl.constexpr):
    """(BLOCK, WIDTH) as its left and right half; the columns of a row lie in one thread, so nothing moves."""
    return x.reshape(BLOCK, 2, WIDTH // 2).permute(0, 2, 1).split()


@triton.jit
def _relu(x):
    """As torch's: a not-a-number stays one, so that an overflow is seen in the extent; Triton's maximum drops it."""
    return tl.maximum(x, 0.0, propagate_nan=tl.PropagateNan.ALL)


@triton.jit(do_not_specialize=["start", "height", "width", "all_rows", "top", "left", "code_width"])
def _decoder(
    result, extent, codes, row_codes, row_shares, row_terms, column_codes, column_shares, column_terms,
    first, weights, biases, last_weight, last_bias,
    start, height, width, all_rows, top, left, code_width,
    K: tl.constexpr, WIDTH: tl.constexpr, LAYERS: tl.constexpr, BLOCK: tl.constexpr, ONE_LOOP: tl.constexpr,
    STAGES: tl.constexpr, PAD: tl.constexpr, FULL: tl.constexpr, DOWN: tl.constexpr, ACROSS: tl.constexpr,
    ROUND: tl.constexpr,
):  # fmt: skip
    """BLOCK queries of the strip of `height` output rows from `start` on; see `packed.py` for the arrays."""
    HALF: tl.constexpr = WIDTH // 2
    program = tl.program_id(0)
    query = program * BLOCK + tl.arange(0, BLOCK)
    inside = query < height * width
    row, column = start + query // width, query % width
    k, half, pad = tl.arange(0, WIDTH), tl.arange(0, HALF), tl.arange(0, PAD)
    dtype = codes.dtype.element_ty

    mixed = tl.zeros((BLOCK, PAD), tl.float32)
    for corner in range(DOWN * ACROSS):
        at_row, at_column = (corner // ACROSS) * all_rows + row, (corner % ACROSS) * width + column
        code_row = tl.load(row_codes + at_row, inside, top) - top
        code = code_row.to(tl.int64) * code_width + tl.load(column_codes + at_column, inside, left) - left
        terms = tl.load(row_terms + at_row[:, None] * PAD + pad[None, :], inside[:, None], 0.0)
        terms += tl.load(column_terms + at_column[:, None] * PAD + pad[None, :], inside[:, None], 0.0)
        deep = tl.load(codes + code[:, None] * K + k[None, :], inside[:, None] & (k < K)[None, :], 0.0).to(tl.float32)
        deep = tl.dot(terms, tl.load(first + pad[:, None] * WIDTH + k[None, :]), deep, input_precision="ieee")
        hidden = _relu(deep).to(dtype)  # (BLOCK, WIDTH)
        if ONE_LOOP:
            near, far = _halved(hidden, BLOCK, WIDTH)  # (BLOCK, HALF) each
            deep = tl.zeros((BLOCK, WIDTH), tl.float32)
            for step in tl.range(0, 2 * LAYERS, num_stages=STAGES):
                tile = weights.load([step * HALF, 0])  # (HALF, WIDTH)
                deep = tl.dot(near, tile, deep, input_precision="ieee")  # (BLOCK, WIDTH)
                near, far = far, near
                if step % 2 == 1:
                    bias = tl.load(biases + (step // 2) * WIDTH + k)
                    near, far = _halved(_relu(deep + bias[None, :]).to(dtype), BLOCK, WIDTH)
                    deep = tl.zeros((BLOCK, WIDTH), tl.float32)
        else:
            for layer in tl.range(0, LAYERS, num_stages=STAGES):
                near, far = _halved(hidden, BLOCK, WIDTH)
                deep = tl.dot(near, weights.load([2 * layer * HALF, 0]), input_precision="ieee")
                deep = tl.dot(far, weights.load([(2 * layer + 1) * HALF, 0]), deep, input_precision="ieee")
                bias = tl.load(biases + layer * WIDTH + k)
                hidden = _relu(deep + bias[None, :]).to(dtype)
            near, far = _halved(hidden, BLOCK, WIDTH)
        last = last_weight + half[:, None] * PAD + pad[None, :]
        answer = tl.dot(near, tl.load(last), input_precision="ieee")  # (BLOCK, PAD)
        answer = tl.dot(far, tl.load(last + HALF * PAD), answer, input_precision="ieee")
        share = tl.load(row_shares + at_row, inside, 0.0) * tl.load(column_shares + at_column, inside, 0.0)
        mixed += share[:, None] * answer

    rgb = (mixed + tl.load(last_bias + pad)[None, :]) * 0.5 + 0.5  # (BLOCK, PAD)
    written = inside[:, None] & (pad < 3)[None, :]
    # The least and the greatest answer, a not-a-number as an infinity: a tile is judged without reading it again.
    known = tl.where(rgb == rgb, rgb, float("inf"))
    tl.store(extent + 2 * program, tl.min(tl.min(tl.where(written, known, float("inf")), 1), 0))
    tl.store(extent + 2 * program + 1, tl.max(tl.max(tl.where(written, known, float("-inf")), 1), 0))
    if FULL > 0:
        rgb = tl.minimum(tl.maximum(rgb, 0.0), 1.0) * FULL
        rgb = (rgb + ROUND) - ROUND
    tl.store(result + query[:, None] * 3 + pad[None, :], rgb.to(result.dtype.element_ty), written)


def serves(model: EdsrLiif, dtype: torch.dtype) -> bool:
    """Whether the kernel can decode for this model: hidden layers up to 256 wide, and a dtype that it multiplies."""
    return width_for(model.hidden) <= WIDEST and dtype in {torch.float32, torch.bfloat16, torch.float16}


def decode(
    model: EdsrLiif,
    feature_map: Tensor,
    rows: Span,
    columns: Span,
    *,
    launch: Launch,
    form: torch.dtype = torch.float32,
) -> Iterator[Strip]:
    """As `decode.decode`; a strip is launched when it is asked for, and nothing waits for it.

    Args:
        model, feature_map, rows, columns: as for `decode.decode`; fp32, bf16 or fp16.
        launch: how to lay out the kernel.
        form: float32 as there, or uint8 or uint16: clamped to [0, 1], times full scale, rounded, halves to even.
    """
    device, dtype = feature_map.device, feature_map.dtype
    axes = [axis_arrays(span, column, device, dtype) for span, column in ((rows, Y), (columns, X))]
    packed = pack(model)
    first = terms_of(packed, model, rows, columns)
    width = columns.stop - columns.start
    height = max(1, STRIP_QUERIES[device.type] // width)
    for start in range(rows.start, rows.stop, height):
        stop = min(start + height, rows.stop)
        codes, top, left = first_layer_codes(packed.convolution, feature_map, rows.cut(start, stop), columns)
        values = torch.empty(stop - start, width, 3, dtype=form, device=device)
        extent = _launch(model, codes.contiguous(), values, axes, first, (start - rows.start, top, left), launch)
        yield Strip(start, stop, values, extent)


def _launch(
    model: EdsrLiif,
    codes: Tensor,
    values: Tensor,
    axes: list[AxisArrays],
    first: Tensor,
    corner: tuple[int, int, int],
    launch: Launch,
) -> Tensor:
    """Fills `values`; gives the least and the greatest answer, (2,) fp32."""
    packed = pack(model)
    row, column = axes
    start, top, left = corner
    height, width, _ = values.shape
    weights = TensorDescriptor.from_tensor(packed.weights, [packed.width // 2, packed.width])
    programs = triton.cdiv(height * width, launch.block)
    extent = torch.empty(programs, 2, device=codes.device)
    with torch.cuda.device_of(codes):  # Triton launches on the current GPU; does nothing on a CPU
        _decoder[(programs,)](
            values, extent, codes, row.codes, row.shares, row.terms, column.codes, column.shares, column.terms,
            first, weights, packed.biases, packed.last_weight, packed.last_bias,
            start, height, width, row.codes.shape[1], top, left, codes.shape[1],
            K=codes.shape[-1], WIDTH=packed.width, LAYERS=packed.layers, BLOCK=launch.block, ONE_LOOP=launch.one_loop,
            STAGES=launch.stages, PAD=PADDED, FULL=FULL_SCALE[values.dtype], DOWN=len(row.codes),
            ACROSS=len(column.codes), ROUND=ROUNDER,
            num_warps=launch.warps, num_stages=launch.stages,
        )  # fmt: skip
    return torch.stack([extent[:, 0].amin(), extent[:, 1].amax()])
