"""The eight ways to lay a picture: what a self-ensemble asks a network about.

A network trained on turned and mirrored pictures errs a little differently on each; the mean of its answers errs less
(Timofte et al., "Seven ways to improve example-based single image super resolution", arXiv 1511.02228).
"""

from __future__ import annotations

from typing import Any, NamedTuple

from numpy.typing import NDArray

from liif_engine.picture.tiles import Grid, Rect, Tile


class Turn(NamedTuple):
    """One way to lay a picture.

    Attributes:
        swap: rows become columns; before the rest.
        upside_down: the last row comes first.
        mirrored: the last column comes first.
    """

    swap: bool
    upside_down: bool
    mirrored: bool

    def lay(self, pixels: NDArray[Any]) -> NDArray[Any]:
        """A view of (H, W, ...) pixels as they lie when turned."""
        turned = pixels.swapaxes(0, 1) if self.swap else pixels
        return turned[:: -1 if self.upside_down else 1, :: -1 if self.mirrored else 1]

    def tile(self, tile: Tile, grid: Grid) -> Tile:
        """Where a tile lies in the turned picture.

        Not the tile that `tiles.tile` would cut there: an output pixel that lies just on a border between two cores
        stays with the one it belongs to.
        """
        window, core = (self._rect(rect, grid.height, grid.width) for rect in (tile.window, tile.core))
        return Tile(core, window, self._rect(tile.output, grid.out_height, grid.out_width))

    def _rect(self, rect: Rect, height: int, width: int) -> Rect:
        down, across = (rect.top, rect.bottom, height), (rect.left, rect.right, width)
        if self.swap:
            down, across = across, down
        return Rect(*_span(*down, backwards=self.upside_down), *_span(*across, backwards=self.mirrored))


#: As it is.
AS_IT_IS = Turn(swap=False, upside_down=False, mirrored=False)

#: All eight, each once.
TURNS = tuple(Turn(swap, down, across) for swap in (False, True) for down in (False, True) for across in (False, True))


def _span(start: int, stop: int, length: int, *, backwards: bool) -> tuple[int, int]:
    return (length - stop, length - start) if backwards else (start, stop)
