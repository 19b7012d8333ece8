"""The exact fast decoder for a regular grid: the same numbers as the paper's formula, query by query, at less work.

Two things make it fast. The first layer's 576 feature columns are a 3x3 convolution done once per input pixel. And on a
regular grid the nearest latent code and the relative coordinate separate into rows and columns, so the coordinate terms
are rank-1 and the indices are two short vectors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from liif_engine.network.in_order import in_order
from liif_engine.network.model import AREA_EPSILON, COORD_EPSILON, EdsrLiif
from liif_engine.network.perceptron import Perceptron


@dataclass(frozen=True)
class Axis:
    """Where the output pixels of one axis fall on the latent grid, computed from global coordinates.

    Attributes:
        n_in: input pixels along the axis.
        n_out: output pixels along the axis.
        nearest: (2, n_out) int64, the nearest latent code after a step of half a code down or up.
        relative: (2, n_out) float64, the distance to that code in code units.
    """

    n_in: int
    n_out: int
    nearest: NDArray[np.int64]
    relative: NDArray[np.float64]

    @property
    def cell(self) -> float:
        """The size of an output pixel in latent-grid units, where the grid spans 2."""
        return 2 * self.n_in / self.n_out


def axis(n_in: int, n_out: int) -> Axis:
    """The axis from `n_in` input to `n_out` output pixels, in float64 on the host.

    In half precision the shifts of 1e-6 would vanish and codes would be chosen wrongly.
    """
    centre = (2 * np.arange(n_out, dtype=np.float64) + 1) / n_out - 1
    step = np.array([[-1.0], [1.0]]) / n_in
    shifted = np.clip(centre + step + COORD_EPSILON, -1 + COORD_EPSILON, 1 - COORD_EPSILON)
    nearest = np.floor((shifted + 1) * n_in / 2).astype(np.int64)
    relative = (centre - ((2 * nearest + 1) / n_in - 1)) * n_in
    return Axis(n_in, n_out, nearest, relative)


@dataclass(frozen=True)
class Span:
    """A range of output pixels along one axis, on a feature map that starts at input pixel `origin`."""

    axis: Axis
    start: int
    stop: int
    origin: int

    def nearest(self, side: int) -> NDArray[np.int64]:
        """The codes of the span as indices into the feature map."""
        return self.axis.nearest[side, self.start : self.stop] - self.origin

    def relative(self, side: int) -> NDArray[np.float64]:
        """The relative coordinates of the span."""
        return self.axis.relative[side, self.start : self.stop]

    def cut(self, start: int, stop: int) -> Span:
        """The part of the span from output pixel `start` to `stop`."""
        return Span(self.axis, start, stop, self.origin)


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


#: Queries per strip and per block of a strip, by kind of device, for hidden layers of 256 values a query; narrower
#: ones get as many more. A strip ends with a report of progress and a look at whether to stop, so it is to last well
#: under half a second. Two layers of a block's activations are to stay in a core's own cache; a GPU wants few, large
#: launches.
STRIP_QUERIES = {"cpu": 16_384, "cuda": 1 << 20, "mps": 1 << 18}
BLOCK_QUERIES = {"cpu": 2_048, "cuda": 1 << 18, "mps": 1 << 16}

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
    perceptron = Perceptron(model)

    def strip(part: Span) -> Strip:
        rgb = _decode_strip(model, perceptron, feature_map, part, columns)
        extent = torch.stack(rgb.aminmax())  # a not-a-number makes both so
        return Strip(part.start, part.stop, rgb if finish is None else finish(rgb), extent)

    at_most = max(1, _queries(STRIP_QUERIES, model, feature_map) // (columns.stop - columns.start))
    on_cpu = feature_map.device.type == "cpu"
    parts = _parts(rows, at_most, SHARED_BY if on_cpu else 1)
    return in_order(strip, list(parts), torch.get_num_threads() if on_cpu else 1)


def _queries(per_kind: Mapping[str, int], model: EdsrLiif, feature_map: Tensor) -> int:
    return per_kind[feature_map.device.type] * 256 // max(*model.hidden, 32)


def _decode_strip(model: EdsrLiif, perceptron: Perceptron, feature_map: Tensor, rows: Span, columns: Span) -> Tensor:
    """(rows, columns, 3) fp32."""
    codes, top, left = first_layer_codes(model, feature_map, rows, columns)
    safe = perceptron.is_safe(codes)
    weights = _ensemble_weights(rows, columns, codes.device)
    row_terms = _row_terms(model, codes, rows, top)
    rgb = torch.empty(rows.stop - rows.start, columns.stop - columns.start, 3, device=codes.device)
    block = _queries(BLOCK_QUERIES, model, feature_map)
    for part in _parts(columns, block):
        lines = _column_terms(model, codes, rows.axis, part, left)
        across = slice(part.start - columns.start, part.stop - columns.start)
        block_rows = max(1, block // (part.stop - part.start))
        for start in range(0, len(rgb), block_rows):
            down = slice(start, start + block_rows)
            mixed = torch.zeros_like(rgb[down, across], memory_format=torch.contiguous_format)
            for side_y, (nearest, term) in enumerate(row_terms):
                for side_x, line in enumerate(lines):
                    answer = perceptron(_hidden(line, nearest[down], term[down], codes.dtype), safe=safe)
                    mixed.addcmul_(answer.view_as(mixed), weights[side_y][side_x][down, across, None])
            torch.add(mixed.mul_(0.5), 0.5, out=rgb[down, across])
    return rgb


def _hidden(line: Tensor, nearest: Tensor, term: Tensor, dtype: torch.dtype) -> Tensor:
    """The first layer's values, (rows * columns, K); a function, so that the sum is freed before the next is made."""
    return line.index_select(0, nearest).add_(term[:, None]).relu_().to(dtype).flatten(0, 1)


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


def first_layer_codes(model: EdsrLiif, feature_map: Tensor, rows: Span, columns: Span) -> tuple[Tensor, int, int]:
    """The first layer's feature part for just the codes asked for: (h, w, K), and the first code's row and column."""
    kernel, bias, _, _ = model.first_layer()
    height, width = feature_map.shape[-2:]
    top, bottom = int(rows.nearest(0).min()), int(rows.nearest(1).max()) + 1
    left, right = int(columns.nearest(0).min()), int(columns.nearest(1).max()) + 1
    # One code more on each side for the 3x3 kernel; beyond the feature map, zeros.
    inner = feature_map[:, :, max(top - 1, 0) : bottom + 1, max(left - 1, 0) : right + 1]
    padding = (int(left == 0), int(right == width), int(top == 0), int(bottom == height))
    if any(padding):
        inner = F.pad(inner, padding)
    inner = inner.contiguous(memory_format=torch.channels_last)
    kernel = kernel.contiguous(memory_format=torch.channels_last)
    codes = F.conv2d(inner, kernel, bias)  # (1, K, h, w)
    return codes[0].permute(1, 2, 0), top, left


def _column_terms(model: EdsrLiif, codes: Tensor, row_axis: Axis, columns: Span, left: int) -> list[Tensor]:
    """Codes spread over the output columns with the column and cell terms added: (h, columns, K) for each side, fp32.

    A CPU adds in fp32 faster than in bf16, and three terms rounded once are nearer the truth than rounded thrice.
    """
    _, _, coord_columns, cell_columns = model.first_layer()
    cell = torch.tensor([row_axis.cell, columns.axis.cell], device=codes.device)
    cell_term = cell_columns.float() @ cell  # (K,)
    lines = []
    for side in (0, 1):
        nearest = torch.from_numpy(columns.nearest(side) - left).to(codes.device)
        relative = torch.from_numpy(columns.relative(side)).to(codes.device, torch.float32)
        term = relative[:, None] * coord_columns[:, 1].float() + cell_term  # (columns, K)
        lines.append(codes.index_select(1, nearest).float().add_(term))
    return lines


def _row_terms(model: EdsrLiif, codes: Tensor, rows: Span, top: int) -> list[tuple[Tensor, Tensor]]:
    """For each side: which row of codes, (rows,), and what its coordinate adds, (rows, K) fp32."""
    coord_columns = model.first_layer()[2]
    terms = []
    for side in (0, 1):
        nearest = torch.from_numpy(rows.nearest(side) - top).to(codes.device)
        relative = torch.from_numpy(rows.relative(side)).to(codes.device, torch.float32)
        terms.append((nearest, relative[:, None] * coord_columns[:, 0].float()))
    return terms


def _ensemble_weights(rows: Span, columns: Span, device: torch.device) -> list[list[Tensor]]:
    """weights[side_y][side_x]: (rows, columns) fp32, each the area towards the opposite corner over all four."""
    height, width = ([_distance(span, 1 - side, device) for side in (0, 1)] for span in (rows, columns))
    total = torch.outer(height[0] + height[1], width[0] + width[1]).add_(4 * AREA_EPSILON)
    return [[torch.outer(h, w).add_(AREA_EPSILON).div_(total) for w in width] for h in height]


def _distance(span: Span, side: int, device: torch.device) -> Tensor:
    """To the nearest code of a side along the axis, (length,) fp32, in code units."""
    return torch.from_numpy(np.abs(span.relative(side)).astype(np.float32)).to(device)
