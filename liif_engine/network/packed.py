"""What the fused decoder reads: each axis' indices, shares and terms, and a model's weights as it wants them."""

from __future__ import annotations

import weakref
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from liif_engine.network.decode import first_convolution
from liif_engine.network.grid import KEPT_AXES, Span, axis
from liif_engine.network.model import EdsrLiif

#: Tensor cores take no operand narrower than 16, and a layer is cut into halves.
NARROWEST, WIDEST = 32, 256

#: The rank-1 terms of the first layer, and the colours of the last, padded to what a tensor core takes.
PADDED = 16

#: How many enlargements' terms a model keeps. As with axes: to lay out the arrays of a small picture anew takes a CPU
#: longer than a GPU takes to decode it.
KEPT_TERMS = 32

#: Columns of the rank-1 terms: high part times high, low times high, high times low, of y and of x; ones for the cell.
Y, X, ONES = 0, 3, 6


@dataclass(frozen=True)
class AxisArrays:
    """One axis as the kernel reads it, for each side that is asked; n output pixels.

    Attributes:
        codes: (sides, n) int32, indices into the feature map.
        shares: (sides, n) fp32, what its answers are of the mix.
        terms: (sides, n, PADDED) in the model's dtype, the left factor of the rank-1 terms: the axis' own columns.
    """

    codes: Tensor
    shares: Tensor
    terms: Tensor


@dataclass(frozen=True)
class Packed:
    """A model's weights as the kernel reads them, zeros where its width is more than the model's.

    Attributes:
        weights: (layers * width, width) in the model's dtype, one layer below the other, from input to output.
        biases: (layers, width) fp32.
        last_weight: (width, PADDED) in the model's dtype.
        last_bias: (PADDED,) fp32.
        convolution: the first layer's feature part, see `decode.first_convolution`.
        terms: by the sizes of an output pixel's cell, what `first_terms` gave.
    """

    width: int
    layers: int
    weights: Tensor
    biases: Tensor
    last_weight: Tensor
    last_bias: Tensor
    convolution: tuple[Tensor, Tensor]
    terms: dict[tuple[float, float], Tensor] = field(default_factory=dict)


_packed: weakref.WeakKeyDictionary[EdsrLiif, Packed] = weakref.WeakKeyDictionary()


def width_for(hidden: tuple[int, ...]) -> int:
    """The kernel's width for a decoder's hidden layers: the next power of two."""
    return max(NARROWEST, 1 << (max(hidden) - 1).bit_length())


def _parts(values: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Two numbers of a dtype whose sum is the value to twice the dtype's precision."""
    high = values.to(dtype)
    return high, (values - high.to(values.dtype)).to(dtype)


def axis_arrays(span: Span, column: int, device: torch.device, dtype: torch.dtype) -> AxisArrays:
    """The arrays of an axis whose terms lie at `column`."""
    along = span.axis
    return _laid_out(along.n_in, along.n_out, span.start, span.stop, span.origin, column, device, dtype)


@lru_cache(KEPT_AXES)
def _laid_out(
    n_in: int, n_out: int, start: int, stop: int, origin: int, column: int, device: torch.device, dtype: torch.dtype
) -> AxisArrays:
    span = Span(axis(n_in, n_out), start, stop, origin)
    codes = torch.from_numpy(span.nearest().astype(np.int32))
    relatives = torch.from_numpy(span.relative().copy())  # what is kept is read-only
    high, low = _parts(relatives, dtype)
    terms = torch.zeros(*relatives.shape, PADDED, dtype=dtype)
    terms[..., column : column + 3] = torch.stack([high, low, high], -1)
    if column == Y:
        terms[..., ONES : ONES + 2] = 1
    shares = torch.from_numpy(span.shares())
    return AxisArrays(codes.to(device), shares.float().to(device), terms.to(device))


def terms_of(packed: Packed, model: EdsrLiif, rows: Span, columns: Span) -> Tensor:
    """What `first_terms` gives, kept."""
    cell = rows.axis.cell, columns.axis.cell
    if cell not in packed.terms:
        if len(packed.terms) >= KEPT_TERMS:
            packed.terms.clear()
        packed.terms[cell] = first_terms(model, rows, columns)
    return packed.terms[cell]


def first_terms(model: EdsrLiif, rows: Span, columns: Span) -> Tensor:
    """(PADDED, width) in the model's dtype: the right factor of the rank-1 terms."""
    kernel, _, coord_columns, cell_columns = model.first_layer()
    cell = coord_columns.new_tensor([rows.axis.cell, columns.axis.cell], dtype=torch.float32)
    matrix = kernel.new_zeros(PADDED, width_for(model.hidden))
    units = len(coord_columns)
    for column, values in ((Y, coord_columns[:, 0]), (X, coord_columns[:, 1])):
        high, low = _parts(values.float(), kernel.dtype)
        matrix[column : column + 3, :units] = torch.stack([high, high, low])
    matrix[ONES : ONES + 2, :units] = torch.stack(_parts(cell_columns.float() @ cell, kernel.dtype))
    return matrix


def pack(model: EdsrLiif) -> Packed:
    """The model's weights for the kernel, once for each model."""
    if model not in _packed:
        width = width_for(model.hidden)
        _, *middle, last = model.imnet.linears
        layers = [_padded(linear.weight.T, width, width) for linear in middle]
        biases = [_padded(linear.bias.float()[None], 1, width) for linear in middle]
        _packed[model] = Packed(
            width,
            len(middle),
            torch.cat(layers) if layers else last.weight.new_zeros(width, width),
            torch.cat(biases) if biases else torch.zeros(1, width, device=last.weight.device),
            _padded(last.weight.T, width, PADDED),
            _padded(last.bias.float()[None], 1, PADDED)[0],
            first_convolution(model),
        )
    return _packed[model]


def _padded(matrix: Tensor, rows: int, columns: int) -> Tensor:
    padded = matrix.new_zeros(rows, columns)
    padded[: matrix.shape[0], : matrix.shape[1]] = matrix
    return padded
