"""One huge picture over all workers, tile by tile; what is not huge goes to one worker, whole.

The tiles are those that one worker would cut, and each is computed by the same code, so the bytes are one worker's.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray

from liif_engine import log as logs
from liif_engine import memory
from liif_engine.auto import AUTO, choose
from liif_engine.errors import BusyError, Cancelled, LiifError, TooLargeError, WorkerError
from liif_engine.file import Clock, plan, restore_file
from liif_engine.picture import planes, tiles
from liif_engine.picture.damage import estimate
from liif_engine.picture.image_file import Limits
from liif_engine.picture.tiles import Grid, Rect, Tile
from liif_engine.workers import file_work, pixel_work
from liif_engine.workers.pixel_work import DTYPES, fetch, put
from liif_engine.workers.pool import Pool
from liif_engine.workers.segment import Segment
from liif_engine.workers.work import Answer, FileWork, LookWork, OnProgress, PixelWork, Ticket, TileWork, Work

log = logging.getLogger(__name__)

Pixels = NDArray[Any]

#: Results from this size on are spread: some two dozen tiles at x2, so that a dozen workers all have something to do.
#: Below it, waiting for the last tile costs more than it saves, and other pictures keep the others busy. [pixels]
SPREAD_PIXELS = 25_000_000

#: How often a picture whose last tiles are at work looks whether it is still wanted. [s]
LOOK_SECONDS = 0.1

#: As in `liif_engine.restore`, which cannot be asked without loading torch: memory that encoding a result to a file
#: takes on top of it, as a share of it.
FILE_COPIES = 1.5


class Spread:
    """A pool whose workers also share huge pictures. A `Workers`.

    Args:
        make_pool: makes the pool; it is given what that calls when there may be room.
        on_room: called, from a thread of the workers' own, when there may be room again.
        pixels: results from this size on are spread.
    """

    def __init__(
        self,
        make_pool: Callable[[Callable[[], None]], Pool],
        *,
        on_room: Callable[[], None] = lambda: None,
        pixels: int = SPREAD_PIXELS,
    ) -> None:
        self.upstream, self.pixels = on_room, pixels
        self._lock = threading.Lock()
        self._shares: list[_Share] = []
        self.pool = make_pool(self._on_room)

    def room(self, *, urgent: bool) -> bool:
        """As `Workers.room`: what is spread takes every worker for as long as it has tiles to give."""
        with self._lock:
            hungry = [one for one in self._shares if one.pending]
        if any(one.ticket.urgent or not urgent for one in hungry):
            return False
        return self.pool.room(urgent=urgent)

    def submit(self, work: Work, *, on_progress: OnProgress | None = None, urgent: bool = False) -> Ticket:
        """As `Workers.submit`."""
        if self.pool.size() < 2 or not self._is_huge(work):
            return self.pool.submit(work, on_progress=on_progress, urgent=urgent)
        if not self.room(urgent=urgent):
            raise BusyError("every worker is busy")
        share = _Share(self, work, Ticket(work, on_progress, urgent))
        with self._lock:
            self._shares.append(share)
        share.start()
        return share.ticket

    def status(self) -> list[dict[str, Any]]:
        """As `Workers.status`."""
        return self.pool.status()

    @property
    def lost(self) -> int:
        """Pieces of work that were begun again."""
        return self.pool.lost

    def close(self) -> None:
        """As `Workers.close`."""
        with self._lock:
            shares = list(self._shares)
        for share in shares:
            share.stop(share.ticket)
        self.pool.close()
        for share in shares:
            share.join()

    def over(self, share: _Share) -> None:
        """A picture is done, or has failed."""
        with self._lock:
            self._shares.remove(share)
        self._on_room()

    def _on_room(self) -> None:
        with self._lock:
            shares = list(self._shares)
        for share in shares:
            share.wake()
        self.upstream()

    def _is_huge(self, work: Work) -> bool:
        if isinstance(work, PixelWork):
            return work.size[0] * work.size[1] >= self.pixels
        if isinstance(work, FileWork):
            if work.result_pixels:
                return work.result_pixels >= self.pixels
            try:
                limits = Limits() if work.max_pixels is None else Limits(max_pixels=work.max_pixels)
                planned = plan(Path(work.source), work.target, out=_path(work.destination), limits=limits)
            except LiifError:
                return False  # a worker will say what is wrong with it
            return planned.width * planned.height >= self.pixels
        return False


class _Share(threading.Thread):
    """One picture that is spread, from the file or the pixels to the last tile; takes the place of an `Engine`.

    Attributes:
        pending: tiles that no worker has yet.
        stopped: whether the picture is not wanted any more.
    """

    def __init__(self, spread: Spread, work: Work, ticket: Ticket) -> None:
        super().__init__(name="spread", daemon=True)
        assert isinstance(work, PixelWork | FileWork)
        self.spread, self.work, self.ticket = spread, work, ticket
        #: What the thread waits for: tickets that are over, or None to look again.
        self.news: SimpleQueue[Ticket | None] = SimpleQueue()
        self.pending = 0
        self.stopped = False
        self.model_name, self.device, self.precision = work.model, "", "fp32"
        ticket.on_stop = self.stop

    def stop(self, _: Ticket) -> None:
        """Ends it soon."""
        self.stopped = True
        self.wake()

    def wake(self) -> None:
        """Something has changed: there may be room, or the picture is not wanted any more."""
        self.news.put(None)

    def run(self) -> None:
        """The thread."""
        answer, error = None, None
        try:
            with logs.about(self.work.job):
                answer = self._pixels(self.work) if isinstance(self.work, PixelWork) else self._file(self.work)
        except LiifError as failure:
            error = failure.with_traceback(None)
        except Exception as failure:
            log.exception("a picture that was spread met a fault")
            error = WorkerError(f"unexpected {type(failure).__name__}: {failure}")
        self.pending = 0
        self.spread.over(self)
        if answer is not None:
            self.ticket.set_result(answer)
        else:
            self.ticket.set_exception(error or WorkerError("the picture gave no answer"))

    # What `restore_file` asks of an engine.

    def check_memory(self, width: int, height: int, channels: int, bits: int = 8) -> None:
        """As `Engine.check_memory`; the tiles are the workers' own concern."""
        needed, free = int(width * height * channels * (bits // 8) * (1 + FILE_COPIES)), memory.available_bytes()
        if needed > free:
            raise TooLargeError(
                f"the result, {width}x{height}, needs {memory.readable(needed)} of memory"
                f" and {memory.readable(free)} are free"
            )

    def for_picture(self, pixels: Pixels, file: Path | None = None) -> _Share:
        """As `Engine.for_picture`; this object then stands for the chosen engine."""
        if self.model_name == AUTO:
            self.model_name = model_for(pixels, file)
        return self

    def precision_for(self, _: int) -> str:
        """That of the workers, who were asked."""
        return self.precision

    def restore(
        self,
        pixels: Pixels,
        *,
        size: tuple[int, int],
        layout: str | None = None,
        on_progress: OnProgress | None = None,
    ) -> Pixels:
        """As `Engine.restore`."""
        source, layout = planes.as_channels(pixels, layout)
        look = self._look(8 * source.dtype.itemsize)
        grid = Grid(source.shape[0], source.shape[1], size[1], size[0], look.halo)
        result = np.empty((size[1], size[0], source.shape[2]), source.dtype)
        source = planes.settle_alpha(source, layout, result)
        work = [
            (source[..., group], result[..., group], tile)
            for group in planes.NETWORK_GROUPS[layout]
            for tile in tiles.tiles(grid, look.core)
        ]
        _Tiles(self, grid, work, on_progress or (lambda _: None)).run()
        return result.reshape(*result.shape[:2], *pixels.shape[2:])

    def _file(self, work: FileWork) -> Answer:
        limits = Limits() if work.max_pixels is None else Limits(max_pixels=work.max_pixels)
        engine: Any = self
        outcome = restore_file(
            engine,
            work.source,
            work.destination,
            target=work.target,
            format=work.format,
            quality=work.quality,
            overwrite=work.overwrite,
            allow_truncated=work.allow_truncated,
            consistent=work.consistent,
            limits=limits,
            on_progress=self._report,
        )
        return replace(file_work.answer_of(outcome, self.device), model=self.model_name)

    def _pixels(self, work: PixelWork) -> Answer:
        clock = Clock()
        pixels = pixel_work.read(work)
        clock.lap("read")
        chosen = self.for_picture(pixels)
        result = chosen.restore(pixels, size=work.size, layout=work.layout, on_progress=self._report)
        clock.lap("restore")
        pixel_work.write(work, result)
        clock.lap("write")
        return Answer(
            self.model_name,
            self.precision,
            self.device,
            sum(clock.laps.values()),
            *work.size,
            stages=clock.laps,
            source_pixels=work.shape[0] * work.shape[1],
        )

    def _report(self, share: float) -> None:
        if self.stopped:
            raise Cancelled("stopped")
        if self.ticket.on_progress is not None:
            self.ticket.on_progress(share)

    def _look(self, bits: int) -> Answer:
        """Asks a worker about the model: that loads it, and says how to cut the picture."""
        self.pending = 1
        question = LookWork(bits, self._model(), self.work.precision, self.work.job)
        while (ticket := self.try_submit(question, lambda _: None)) is None:
            self.next_news()
        while not ticket.done():
            self.next_news()
        answer = ticket.result()
        self.model_name, self.device, self.precision = answer.model, answer.device, answer.precision
        return answer

    def _model(self) -> str:
        """As workers take it: the name that a worker gives to a checkpoint's model is no longer its path."""
        return self.model_name if self.work.model == AUTO else self.work.model

    def try_submit(self, work: Work, on_progress: OnProgress) -> Ticket | None:
        """Gives a part of the picture to a worker; None if none has room."""
        try:
            ticket = self.spread.pool.submit(work, on_progress=on_progress, urgent=self.ticket.urgent)
        except BusyError:
            return None
        ticket.add_done_callback(lambda _: self.news.put(ticket))
        return ticket

    def next_news(self, seconds: float = LOOK_SECONDS) -> Ticket | None:
        """Waits for news, not for long: a ticket that is over, or None.

        Raises:
            Cancelled: the picture is not wanted any more.
        """
        ticket = None
        with suppress(Empty):
            ticket = self.news.get(timeout=seconds) if seconds else self.news.get_nowait()
        if self.stopped:
            raise Cancelled("stopped")
        return ticket

    def tile_work(self, names: tuple[str, str], grid: Grid, tile: Tile, channels: int, dtype: str) -> TileWork:
        """A tile as work."""
        settings = {"model": self._model(), "precision": self.work.precision, "job": self.work.job}
        return TileWork(*names, grid, tile.core, channels, dtype, **settings)


@dataclass
class _Given:
    """A tile that a worker has."""

    source: Segment
    result: Segment
    target: Pixels
    tile: Tile
    share: float = 0.0


class _Tiles:
    """The tiles of one picture on their way to the workers and back.

    Args:
        share: the picture.
        grid: its sizes.
        work: (channels of the source, channels of the result, tile), in order.
        on_progress: called with the share done; what it raises ends the work.
    """

    def __init__(
        self, share: _Share, grid: Grid, work: list[tuple[Pixels, Pixels, Tile]], on_progress: OnProgress
    ) -> None:
        self.share, self.grid, self.work, self.on_progress = share, grid, work, on_progress
        self.total = sum(tile.output.area for *_, tile in work)
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
        back = Segment.create(tile.output.area * window.shape[2] * window.dtype.itemsize)
        given = _Given(sent, back, _cut(result, tile.output), tile)
        try:
            put(sent.name, window, dtype)
            work = self.share.tile_work((sent.name, back.name), self.grid, tile, window.shape[2], dtype)
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
        self.on_progress(min(1.0, (self.finished + at_work) / self.total))

    @staticmethod
    def _advance(given: _Given, share: float) -> None:
        given.share = max(given.share, share)


def model_for(pixels: Pixels, file: Path | None) -> str:
    """The model that `auto` takes, as `Engine.for_picture` does."""
    if pixels.dtype.kind == "f":
        pixels = (np.nan_to_num(pixels).clip(0, 1) * 255 + 0.5).astype(np.uint8)
    choice = choose(estimate(pixels, file))
    log.info("%smodel %s: %s", "" if file is None else f"{file}: ", choice.model, choice.reason)
    return choice.model


def _cut(pixels: Pixels, part: Rect) -> Pixels:
    return pixels[part.top : part.bottom, part.left : part.right]


def _path(path: str | None) -> Path | None:
    return None if path is None else Path(path)
