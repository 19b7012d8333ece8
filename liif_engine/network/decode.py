"""The exact fast decoder for a regular grid: the same numbers as the paper's formula, query by query, at less work.

Three things make it fast. The first layer's 576 feature columns are a 3x3 convolution done once per input pixel. On a
regular grid the nearest latent code and the relative coordinate separate into rows and columns, so the coordinate terms
are rank-1 and the indices are two short vectors. And where the scale is 1 an output pixel lies on a code, whose answer
has all the weight: the others are not asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from liif_engine.network.grid import Axis, Span
from liif_engine.network.in_order import in_order
from liif_engine.network.model import EdsrLiif
from liif_engine.network.perceptron import Perceptron, put_sum


@dataclass(frozen=True)
class Strip:
    """Output rows from `start` to `stop` of a rectangle.

    Attributes:
        values: (stop - start, columns, 3); fp32 around [0, 1], not clamped, or of the integer form asked for.
        extent: (2,) fp32, the least and the greatest answer before clamping; not finite if any answer is not.
    """

    start: int
    stop: int
    values: Tensor
    extent: Tensor


#: Queries per strip for hidden layers of 256 values an answer, by kind of device; narrower ones get as many more. A
#: strip ends with a report of progress and a look at whether to stop, so it is to last well under half a second.
STRIP_QUERIES = {"cpu": 16_384, "cuda": 1 << 20, "mps": 1 << 18}

#: What a layer's activations of a block of a strip may take, by kind of device. They are to stay in a core's cache, and
#: still a block is to last longer than what calling its operations takes; a GPU wants few, large launches. [bytes]
BLOCK_BYTES = {"cpu": 2 << 20, "cuda": 128 << 20, "mps": 32 << 20}

#: Where there are several strips on a CPU, this many cores get equally many. Not the number of cores there are: a
#: picture is to be cut the same everywhere.
SHARED_BY = 4


def decode(
    model: EdsrLiif,
    feature_map: Tensor,
    rows: Span,
    columns: Span,
    *,
    finish: Callable[[Tensor], Tensor] | None = None,
) -> Iterator[Strip]:
    """Decodes a rectangle of the output grid in horizontal strips, on a CPU several at once.

    Args:
        model: in the feature map's dtype, on its device.
        feature_map: (1, C, H, W); it must hold every latent code that the rectangle needs and one more around them,
            except beyond the border of the picture, where the published unfolding sees zeros.
        rows: the output rows; ``rows.origin`` is the input row of the feature map's first row.
        columns: likewise.
        finish: makes a strip's values, which it may overwrite, into what is wanted; where the strip was computed, since
            an operation that the caller spread over all cores would wait for those that are at work on strips.

    Yields:
        The strips from top to bottom, their values fp32 or what `finish` makes of them.
    """
    perceptron, convolution = Perceptron(model), first_convolution(model)

    def strip(part: Span) -> Strip:
        rgb = _decode_strip(model, perceptron, convolution, feature_map, part, columns)
        extent = torch.stack(rgb.aminmax())  # a not-a-number makes both so
        return Strip(part.start, part.stop, rgb if finish is None else finish(rgb), extent)

    queries = STRIP_QUERIES[feature_map.device.type] * 256 // _widest(model)
    at_most = max(1, queries // (columns.stop - columns.start))
    on_cpu = feature_map.device.type == "cpu"
    parts = _parts(rows, at_most, SHARED_BY if on_cpu else 1)
    return in_order(strip, list(parts), torch.get_num_threads() if on_cpu else 1)


def _widest(model: EdsrLiif) -> int:
    """Values an answer of the widest hidden layer; operations on fewer than 32 take hardly less time."""
    return max(*model.hidden, 32)


def _decode_strip(
    model: EdsrLiif,
    perceptron: Perceptron,
    convolution: tuple[Tensor, Tensor],
    feature_map: Tensor,
    rows: Span,
    columns: Span,
) -> Tensor:
    """(rows, columns, 3) fp32."""
    codes, top, left = first_layer_codes(convolution, feature_map, rows, columns)
    safe = perceptron.is_safe(codes)
    nearest, terms = _row_terms(model, codes, rows, top)
    at_once = BLOCK_BYTES[codes.device.type] // (_widest(model) * codes.element_size())
    down, across = rows.axis.sides, columns.axis.sides
    rgb = torch.empty(rows.stop - rows.start, 3 * (columns.stop - columns.start), device=codes.device)
    for part in _parts(columns, max(1, at_once // (down * across))):
        width = part.stop - part.start
        lines = _Lines(model, codes, rows.axis, part, left, max(2, at_once // (across * width)))
        weights = _ensemble_weights(rows, part, codes.device)
        there = slice(3 * (part.start - columns.start), 3 * (part.stop - columns.start))
        for runs in _blocks(_runs(nearest), max(1, at_once // (down * across * width))):
            start, stop = runs[0][0], runs[-1][1]
            hidden = torch.empty(down, stop - start, *lines.terms.shape, dtype=codes.dtype, device=codes.device)
            for first, last in runs:
                asked = lines.of(int(nearest[0, first]), int(nearest[-1, first]))[:, None]  # (1 or 2, 1, ...)
                put_sum(hidden[:, first - start : last - start], asked, terms[:, first:last, None], safe=safe)
            found = perceptron(hidden.view(-1, hidden.shape[-1]), safe=safe)
            rgb[start:stop, there] = _mixed(found.view(down, stop - start, across, 3 * width), weights[:, start:stop])
    return rgb.mul_(0.5).add_(0.5).view(len(rgb), -1, 3)


def _mixed(found: Tensor, weights: Tensor) -> Tensor:
    """(rows, 3 columns): the answers of all sides, (sides, rows, sides, 3 columns), which are overwritten."""
    if found.shape[0] * found.shape[2] == 1:
        return found[0, :, 0]  # its weight is 1
    found.mul_(weights)
    lines = found[:, :, 0].add_(found[:, :, 1]) if found.shape[2] == 2 else found[:, :, 0]
    return lines[0].add_(lines[1]) if len(lines) == 2 else lines[0]


def _runs(nearest: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Output rows, (start, stop), that ask the same codes; `nearest` is (sides, rows), the codes of each side."""
    cuts = np.flatnonzero(np.diff(nearest).any(0)) + 1
    return list(pairwise([0, *cuts.tolist(), nearest.shape[1]]))


def _blocks(runs: list[tuple[int, int]], at_most: int) -> Iterator[list[tuple[int, int]]]:
    """Runs together, as many as have no more rows; a longer one is cut."""
    block: list[tuple[int, int]] = []
    for start, stop in runs:
        for first in range(start, stop, at_most):
            run = first, min(first + at_most, stop)
            if block and run[1] - block[0][0] > at_most:
                yield block
                block = []
            block.append(run)
    yield block


class _Lines:
    """Rows of codes spread over output columns, with the column and cell terms added, made as they are asked for.

    A CPU adds in fp32 faster than in bf16, and three terms rounded once are nearer the truth than rounded thrice.

    Args:
        model: whose first layer it is.
        codes: (h, w, K).
        row_axis: the axis of the rows.
        columns: the output columns.
        left: the column of the first code.
        at_once: how many rows are made at a time.
    """

    def __init__(self, model: EdsrLiif, codes: Tensor, row_axis: Axis, columns: Span, left: int, at_once: int) -> None:
        _, _, coord_columns, cell_columns = model.first_layer()
        cell = torch.tensor([row_axis.cell, columns.axis.cell], device=codes.device)
        cell_term = cell_columns.float() @ cell  # (K,)
        self.codes, self.at_once = codes, at_once
        self.nearest = torch.from_numpy(columns.nearest().ravel() - left).to(codes.device)  # (sides * columns,)
        across = torch.from_numpy(columns.relative().ravel().astype(np.float32)).to(codes.device)
        self.terms = across[:, None] * coord_columns[:, 1].float() + cell_term  # (sides * columns, K)
        self.made, self.start = codes.new_empty(0), 0

    def of(self, above: int, below: int) -> Tensor:
        """Two lines that follow each other, or the one that both are: (1 or 2, sides * columns, K) fp32.

        Args:
            above, below: their rows of codes; no row before the one that was asked for last.
        """
        if below >= self.start + len(self.made):
            self.made, self.start = self.codes.new_empty(0), above  # freed before new ones are made
            needed = self.codes[above : max(below + 1, above + self.at_once)]
            self.made = needed.index_select(1, self.nearest).float().add_(self.terms)
        return self.made[above - self.start : below + 1 - self.start]


def _parts(span: Span, at_most: int, multiple: int = 1) -> Iterator[Span]:
    """The span in parts as equal as they can be; their number a multiple, unless it is one. Of nothing, none."""
    length = span.stop - span.start
    if not length:
        return
    count = -(-length // at_most)
    if count > 1:
        count = min(-(-count // multiple) * multiple, length)
    for first, last in pairwise(span.start + length * part // count for part in range(count + 1)):
        yield span.cut(first, last)


def first_convolution(model: EdsrLiif) -> tuple[Tensor, Tensor]:
    """The first layer's feature part as a convolution: (K, C, 3, 3) in the order that convolutions want, and (K,)."""
    kernel, bias, _, _ = model.first_layer()
    return kernel.contiguous(memory_format=torch.channels_last), bias


def first_layer_codes(
    convolution: tuple[Tensor, Tensor], feature_map: Tensor, rows: Span, columns: Span
) -> tuple[Tensor, int, int]:
    """The first layer's feature part for just the codes asked for: (h, w, K), and the first code's row and column."""
    kernel, bias = convolution
    height, width = feature_map.shape[-2:]
    (top, bottom), (left, right) = (
        (int(codes.min()), int(codes.max()) + 1) for codes in (rows.nearest(), columns.nearest())
    )
    # One code more on each side for the 3x3 kernel; beyond the feature map, zeros.
    inner = feature_map[:, :, max(top - 1, 0) : bottom + 1, max(left - 1, 0) : right + 1]
    padding = (int(left == 0), int(right == width), int(top == 0), int(bottom == height))
    if any(padding):
        inner = F.pad(inner, padding)
    inner = inner.contiguous(memory_format=torch.channels_last)
    codes = F.conv2d(inner, kernel, bias)  # (1, K, h, w)
    return codes[0].permute(1, 2, 0), top, left


def _row_terms(model: EdsrLiif, codes: Tensor, rows: Span, top: int) -> tuple[NDArray[np.int64], Tensor]:
    """For each side: which row of codes, (sides, rows), and what its coordinate adds, (sides, rows, K) fp32."""
    coord_columns = model.first_layer()[2]
    down = torch.from_numpy(rows.relative().astype(np.float32)).to(codes.device)
    return rows.nearest() - top, down[..., None] * coord_columns[:, 0].float()


def _ensemble_weights(rows: Span, columns: Span, device: torch.device) -> Tensor:
    """(sides, rows, sides, 3 columns) fp32: each answer's area towards the opposite corner, over all four's.

    Each thrice, for the three colours, so that mixing runs over whole rows.
    """
    height, width = (torch.from_numpy(span.shares()).to(device, torch.float32) for span in (rows, columns))
    return height[:, :, None, None] * width.repeat_interleave(3, 1)
