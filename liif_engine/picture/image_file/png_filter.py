"""From pixels to a PNG stream: Adam7 passes, the five row filters and zlib, in blocks of rows. W3C PNG, section 9.

libpng's bindings for Python write no interlaced files and no 16-bit animations; filtering forwards is plain arithmetic
on whole rows, so numpy does it.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from liif_engine.picture.image_file.contents import Pixels

_LEVEL = 6
_LEAST_CHUNK = 1 << 16  # [bytes]
_BLOCK_BYTES = 1 << 20  # filtered at a time; seven arrays of this size live at once


@dataclass(frozen=True)
class Adam7:
    """One pass of an interlaced picture: every `step_x`-th pixel from `x` on of every `step_y`-th row from `y` on."""

    x: int
    y: int
    step_x: int
    step_y: int
    width: int
    height: int


def passes(width: int, height: int) -> list[Adam7]:
    """The seven passes of a picture; small pictures leave some of them empty."""
    grid = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    return [Adam7(x, y, dx, dy, -(-(width - x) // dx), -(-(height - y) // dy)) for x, y, dx, dy in grid]


def filtered(pixels: Pixels, *, interlaced: bool) -> Iterator[bytes]:
    """The blocks of one zlib stream that holds a picture, each of 64 KiB at least but for the last.

    Args:
        pixels: (H, W, C) uint8 or uint16.
        interlaced: whether to store it in Adam7 passes.
    """
    pack = zlib.compressobj(_LEVEL)
    block = b""
    for part in _stored_pictures(pixels, interlaced):
        for rows in _filtered_rows(part):
            block += pack.compress(rows)
            if len(block) >= _LEAST_CHUNK:
                yield block
                block = b""
    yield block + pack.flush()


def _stored_pictures(pixels: Pixels, interlaced: bool) -> list[Pixels]:
    if not interlaced:
        return [pixels]
    height, width = pixels.shape[:2]
    parts = [pixels[p.y :: p.step_y, p.x :: p.step_x] for p in passes(width, height)]
    return [part for part in parts if part.size]


def _filtered_rows(pixels: Pixels) -> Iterator[bytes]:
    """Blocks of rows, each row led by the number of its filter."""
    height, width, channels = pixels.shape
    pixel_bytes = channels * pixels.dtype.itemsize
    rows_at_once = max(1, _BLOCK_BYTES // (width * pixel_bytes))
    above: NDArray[np.uint8] = np.zeros((1, width * pixel_bytes), np.uint8)
    for start in range(0, height, rows_at_once):
        block = np.ascontiguousarray(pixels[start : start + rows_at_once])
        if block.dtype == np.uint16:
            block = block.astype(">u2")
        rows = block.view(np.uint8).reshape(len(block), -1)
        yield _filter(rows, np.concatenate([above, rows[:-1]]), pixel_bytes).tobytes()
        above = rows[-1:]


def _filter(rows: NDArray[np.uint8], above: NDArray[np.uint8], pixel_bytes: int) -> NDArray[np.uint8]:
    """(n, 1 + bytes): for each row the filter whose result has the least sum of absolute values (libpng's rule)."""
    left, corner = _shifted(rows, pixel_bytes), _shifted(above, pixel_bytes)
    mean = ((left.astype(np.uint16) + above) >> 1).astype(np.uint8)
    result = np.empty((len(rows), rows.shape[1] + 1), np.uint8)
    least = np.full(len(rows), np.iinfo(np.int64).max)
    for number, guess in enumerate((None, left, above, mean, _paeth(left, above, corner))):
        difference = rows if guess is None else rows - guess
        cost = np.abs(difference.view(np.int8).astype(np.int16)).sum(axis=1, dtype=np.int64)
        better = cost < least
        least = np.where(better, cost, least)
        result[better, 0] = number
        result[better, 1:] = difference[better]
    return result


def _shifted(rows: NDArray[np.uint8], by: int) -> NDArray[np.uint8]:
    shifted = np.zeros_like(rows)
    shifted[:, by:] = rows[:, :-by]
    return shifted


def _paeth(left: NDArray[np.uint8], above: NDArray[np.uint8], corner: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The neighbour nearest to left + above - corner; ties prefer left, then above."""
    from_left = np.abs(above.astype(np.int16) - corner)
    from_above = np.abs(left.astype(np.int16) - corner)
    from_corner = np.abs(left.astype(np.int16) + above - 2 * corner.astype(np.int16))
    nearest = np.where(from_above <= from_corner, above, corner)
    return np.where((from_left <= from_above) & (from_left <= from_corner), left, nearest)
