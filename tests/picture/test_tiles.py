"""Tiles partition input and output, and a tile's window holds all that its output depends on."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liif_engine.network.grid import axis
from liif_engine.picture.tiles import Grid, Rect, Tile, halves, tile, tiles

GRIDS = st.builds(
    lambda height, width, scale_y, scale_x, halo: Grid(
        height, width, max(height, round(height * scale_y)), max(width, round(width * scale_x)), halo
    ),
    st.integers(1, 60),
    st.integers(1, 60),
    st.floats(1, 6),
    st.floats(1, 6),
    st.integers(0, 40),
)


def painted(grid: Grid, pieces: list[Tile]) -> tuple[np.ndarray, np.ndarray]:
    """How often each input pixel lies in a core and each output pixel in an output."""
    inside, outside = np.zeros((grid.height, grid.width), int), np.zeros((grid.out_height, grid.out_width), int)
    for piece in pieces:
        for canvas, rect in ((inside, piece.core), (outside, piece.output)):
            canvas[rect.top : rect.bottom, rect.left : rect.right] += 1
    return inside, outside


@given(GRIDS, st.integers(1, 70))
def test_cores_and_outputs_are_partitions(grid: Grid, core_size: int) -> None:
    pieces = tiles(grid, core_size)
    for canvas in painted(grid, pieces):
        assert (canvas == 1).all()
    assert max(max(piece.core.height, piece.core.width) for piece in pieces) <= core_size


@given(GRIDS, st.data())
def test_halves_answer_for_what_the_whole_did(grid: Grid, data: st.DataObject) -> None:
    pieces = [tile(grid, Rect(0, grid.height, 0, grid.width))]
    for _ in range(data.draw(st.integers(0, 12))):
        piece = pieces.pop(data.draw(st.integers(0, len(pieces) - 1)))
        pieces += halves(grid, piece) if piece.core.area > 1 else [piece]
    for canvas in painted(grid, pieces):
        assert (canvas == 1).all()


@given(GRIDS, st.integers(1, 70))
def test_windows_hold_every_code_that_outputs_ask_for(grid: Grid, core_size: int) -> None:
    rows, columns = axis(grid.height, grid.out_height), axis(grid.width, grid.out_width)
    for piece in tiles(grid, core_size):
        for ax, start, stop, first, last, count in (
            (rows, piece.output.top, piece.output.bottom, piece.core.top, piece.core.bottom, grid.height),
            (columns, piece.output.left, piece.output.right, piece.core.left, piece.core.right, grid.width),
        ):
            codes = ax.nearest[:, start:stop]
            assert codes.size == 0 or codes.min() >= max(first - 1, 0)
            assert codes.size == 0 or codes.max() <= min(last, count - 1)


def test_one_pixel_cannot_be_halved() -> None:
    grid = Grid(1, 1, 4, 4, 3)
    with pytest.raises(ValueError, match="one pixel"):
        halves(grid, tiles(grid, 8)[0])
