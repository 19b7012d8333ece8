"""Pure geometry: a picture's size becomes tiles, each a core plus a halo. Cores partition input and output alike."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True)
class Rect:
    """Rows from `top` to `bottom` and columns from `left` to `right`, the ends excluded; pixels."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def height(self) -> int:
        return self.bottom - self.top

    @property
    def width(self) -> int:
        return self.right - self.left

    @property
    def area(self) -> int:
        return self.height * self.width


@dataclass(frozen=True)
class Grid:
    """The sizes that every tile of one picture shares; pixels.

    Attributes:
        height, width: of the input.
        out_height, out_width: of the result.
        halo: input pixels around a core that can change its result.
    """

    height: int
    width: int
    out_height: int
    out_width: int
    halo: int


@dataclass(frozen=True)
class Tile:
    """One piece of work.

    Attributes:
        core: the input pixels it answers for.
        window: the core with its halo, cut at the picture's border; what the encoder must see.
        output: the result's pixels whose centres lie in the core.
    """

    core: Rect
    window: Rect
    output: Rect


def tiles(grid: Grid, core_size: int, part: Rect | None = None) -> list[Tile]:
    """Tiles in reading order, their cores as equal as they can be and at most `core_size` on a side.

    Args:
        grid: of the picture.
        core_size: pixels.
        part: of the input that they are to cover; by default all of it.
    """
    part = part or Rect(0, grid.height, 0, grid.width)
    rows = _even_cuts(part.top, part.bottom, core_size)
    columns = _even_cuts(part.left, part.right, core_size)
    return [tile(grid, Rect(top, bottom, left, right)) for top, bottom in rows for left, right in columns]


def tile(grid: Grid, core: Rect) -> Tile:
    """The tile of a core."""
    window = Rect(
        max(core.top - grid.halo, 0),
        min(core.bottom + grid.halo, grid.height),
        max(core.left - grid.halo, 0),
        min(core.right + grid.halo, grid.width),
    )
    output = Rect(
        _first_output(core.top, grid.height, grid.out_height),
        _first_output(core.bottom, grid.height, grid.out_height),
        _first_output(core.left, grid.width, grid.out_width),
        _first_output(core.right, grid.width, grid.out_width),
    )
    return Tile(core, window, output)


def halves(grid: Grid, whole: Tile) -> tuple[Tile, Tile]:
    """A tile cut in two across its longer side; together they answer for exactly what it answered for.

    Raises:
        ValueError: a core of one pixel cannot be cut.
    """
    core = whole.core
    if core.area <= 1:
        raise ValueError("a core of one pixel cannot be cut")
    if core.height >= core.width:
        middle = (core.top + core.bottom) // 2
        first, second = Rect(core.top, middle, core.left, core.right), Rect(middle, core.bottom, core.left, core.right)
    else:
        middle = (core.left + core.right) // 2
        first, second = Rect(core.top, core.bottom, core.left, middle), Rect(core.top, core.bottom, middle, core.right)
    return tile(grid, first), tile(grid, second)


def _even_cuts(start: int, stop: int, at_most: int) -> list[tuple[int, int]]:
    count = -(-(stop - start) // at_most)
    edges = [start + (stop - start) * i // count for i in range(count + 1)]
    return list(pairwise(edges))


def _first_output(edge: int, n_in: int, n_out: int) -> int:
    """The first output pixel whose centre is at or beyond input coordinate `edge`: (j + 1/2) n_in / n_out >= edge."""
    return -((n_in - 2 * n_out * edge) // (2 * n_in))
