"""The tiles of one picture on their way to the workers and back, in shared memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from liif_engine.picture.tiles import Grid, Rect, Tile
from liif_engine.workers.engine import Pixels
from liif_engine.workers.pixel_work import DTYPES, fetch, put
from liif_engine.workers.segment import Segment
from liif_engine.workers.work import OnProgress, Ticket, TileWork

if TYPE_CHECKING:
    from liif_engine.workers.share import Share


@dataclass
class _Given:
    """A tile that a worker has."""

    source: Segment
    result: Segment
    target: Pixels
    tile: Tile
    share: float = 0.0


class Tiles:
    """The tiles of one picture on their way to the workers and back.

    Args:
        share: the picture.
        grid: its sizes.
        work: (channels of the source, where the tile's pixels belong, tile), in order.
        on_progress: called with the share done; what it raises ends the work.
    """

    def __init__(
        self, share: Share, grid: Grid, work: list[tuple[Pixels, Pixels, Tile]], on_progress: OnProgress
    ) -> None:
        self.share, self.grid, self.work, self.on_progress = share, grid, work, on_progress
        self.total = sum(tile.output.area for *_, tile in work)
        self.shown = 0.0
        self.finished = 0
        self.given: dict[Ticket, _Given] = {}

    def run(self) -> None:
        """Gives every tile to a worker and puts its pixels in their place."""
        try:
            for index, part in enumerate(self.work):
                self.share.pending = len(self.work) - index
                self._give(*part)
            self.share.pending = 0
            while self.given:
                self._collect()
        finally:
            for ticket, given in self.given.items():
                ticket.stop()
                # The worker may still be writing; the memory goes when both have let go of it.
                given.source.close()
                given.result.close()

    def _give(self, source: Pixels, result: Pixels, tile: Tile) -> None:
        window = _cut(source, tile.window)
        dtype = next(name for name, code in DTYPES.items() if np.dtype(code) == window.dtype)
        sent = Segment.create(window.nbytes)
        try:
            back = Segment.create(tile.output.area * window.shape[2] * window.dtype.itemsize)
        except BaseException:
            sent.close()
            raise
        given = _Given(sent, back, result, tile)
        try:
            put(sent.name, window, dtype)
            work = self._work((sent.name, back.name), tile, window.shape[2], dtype)
            while (ticket := self.share.try_submit(work, lambda share: self._advance(given, share))) is None:
                self._collect()
        except BaseException:
            sent.close()
            back.close()
            raise
        self.given[ticket] = given

    def _collect(self) -> None:
        """Waits for a tile that is done, but not for long, and takes it."""
        ticket = self.share.next_news()
        if ticket in self.given:
            given = self.given[ticket]
            ticket.result()  # or its error, which is the picture's
            dtype = next(name for name, code in DTYPES.items() if np.dtype(code) == given.target.dtype)
            given.target[...] = fetch(given.result.name, given.target.shape, dtype)
            del self.given[ticket]
            given.source.close()
            given.result.close()
            self.finished += given.tile.output.area
        at_work = sum(given.share * given.tile.output.area for given in self.given.values())
        # A tile that is done over, and the rounding of sums, must not take back what was reported.
        self.shown = max(self.shown, min(1.0, (self.finished + at_work) / self.total))
        self.on_progress(self.shown)

    def _work(self, names: tuple[str, str], tile: Tile, channels: int, dtype: str) -> TileWork:
        asked = self.share.work
        settings = {"model": self.share.model(), "precision": asked.precision, "job": asked.job}
        return TileWork(*names, self.grid, tile.core, channels, dtype, **settings)

    @staticmethod
    def _advance(given: _Given, share: float) -> None:
        given.share = max(given.share, share)


def _cut(pixels: Pixels, part: Rect) -> Pixels:
    return pixels[part.top : part.bottom, part.left : part.right]
