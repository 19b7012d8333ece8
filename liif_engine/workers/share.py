"""One picture that all workers share: from the file or the pixels to the last tile."""

from __future__ import annotations

import logging
import threading
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

import numpy as np

from liif_engine import log as logs
from liif_engine.auto import choose_for
from liif_engine.budget import FILE_COPIES, free_for
from liif_engine.errors import BusyError, Cancelled, LiifError, WorkerError
from liif_engine.file import Clock
from liif_engine.model_names import AUTO, like, plain
from liif_engine.picture import planes, tiles
from liif_engine.picture.narrow import grid_of, surrounded
from liif_engine.picture.tiles import Tile
from liif_engine.workers import file_work, pixel_work
from liif_engine.workers.engine import Pixels
from liif_engine.workers.failures import in_words
from liif_engine.workers.file_work import LEAVE_SECONDS
from liif_engine.workers.tiling import Tiles
from liif_engine.workers.work import Answer, FileWork, LookWork, OnProgress, PixelWork, Ticket, Work

if TYPE_CHECKING:
    from liif_engine.workers.spread import Spread

log = logging.getLogger(__name__)

#: How often a picture whose last tiles are at work looks whether it is still wanted. [s]
LOOK_SECONDS = 0.1


class Share(threading.Thread):
    """One picture that is spread, from the file or the pixels to the last tile; a `Restorer`.

    Attributes:
        pending: tiles that no worker has yet.
        stopped: whether the picture is not wanted any more.
        is_over: whether it was told what became of it.
    """

    def __init__(self, spread: Spread, work: Work, ticket: Ticket) -> None:
        super().__init__(name="spread", daemon=True)
        assert isinstance(work, PixelWork | FileWork)
        self.spread, self.work, self.ticket = spread, work, ticket
        #: What the thread waits for: tickets that are over, or None to look again.
        self.news: SimpleQueue[Ticket | None] = SimpleQueue()
        self.pending = 0
        self.stopped = self.is_over = False
        self._ending = threading.Lock()
        self.model_name, self.device, self.precision = work.model, "", "fp32"
        ticket.on_stop = self.stop

    def stop(self, _: Ticket) -> None:
        """Ends it soon, or leaves it: a file system that hangs holds up the thread for ever."""
        self.stopped = True
        self.wake()
        leave = threading.Timer(LEAVE_SECONDS, self.leave)
        leave.daemon = True
        with suppress(RuntimeError):  # there are no more threads: its own ends it, if it can
            leave.start()

    def leave(self) -> None:
        """Tells that it was stopped, unless it was told already what became of it; its thread may go on."""
        self._end(None, Cancelled("stopped"))

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
        except BaseException as failure:  # a library's panic is no Exception, and nothing else answers who waits
            error = in_words(failure)
            if isinstance(error, WorkerError):
                log.exception("a picture that was spread met a fault")
        self._end(answer, error)

    def _end(self, answer: Answer | None, error: LiifError | None) -> None:
        """Tells what became of the picture, once."""
        with self._ending:
            if self.is_over:
                return
            self.is_over = True
        self.pending = 0
        try:
            self.spread.over(self)
        finally:  # whatever becomes of those who hear of the room: nothing else would answer whoever waits for it
            if answer is not None:
                self.ticket.set_result(answer)
            else:
                self.ticket.set_exception(error or WorkerError("the picture gave no answer"))

    # What `restore_file` asks of an engine.

    def check_memory(self, width: int, height: int, channels: int, bits: int = 8, *, beside: int | None = None) -> None:
        """As `Engine.check_memory`; the tiles are the workers' own concern."""
        result = width * height * channels * (bits // 8)
        needed = result + (int(result * FILE_COPIES) if beside is None else beside)
        free_for(width, height, needed, self.spread.pool.settings.memory_bytes)

    def for_picture(self, pixels: Pixels, file: Path | None = None) -> Share:
        """As `Engine.for_picture`; this object then stands for the chosen engine."""
        if plain(self.model_name) == AUTO:
            self.model_name = model_for(self.model_name, pixels, file)
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
        result = np.empty((size[1], size[0], source.shape[2]), source.dtype)
        source, middle = surrounded(planes.settle_alpha(source, layout, result))
        grid = grid_of(source, middle, size, look.halo)
        cut = tiles.tiles(grid, look.core, middle)
        top, left = cut[0].output.top, cut[0].output.left
        work = [
            (source[..., group], _of(result[..., group], tile, top, left), tile)
            for group in planes.NETWORK_GROUPS[layout]
            for tile in cut
        ]
        Tiles(self, grid, work, on_progress or (lambda _: None)).run()
        return result.reshape(*result.shape[:2], *pixels.shape[2:])

    def _file(self, work: FileWork) -> Answer:
        outcome = file_work.restore(self, work, self._report)
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
        question = LookWork(bits, self.model(), self.work.precision, self.work.job)
        while (ticket := self.try_submit(question, lambda _: None)) is None:
            self.next_news()
        try:
            while not ticket.done():
                self.next_news()
        except Cancelled:
            ticket.stop()  # else a model would be loaded for nobody
            raise
        answer = ticket.result()
        self.model_name, self.device, self.precision = answer.model, answer.device, answer.precision
        return answer

    def model(self) -> str:
        """As workers take it: the name that a worker gives to a checkpoint's model is no longer its path."""
        return self.model_name if plain(self.work.model) == AUTO else self.work.model

    def try_submit(self, work: Work, on_progress: OnProgress) -> Ticket | None:
        """Gives a part of the picture to a worker; None if none has room."""
        try:
            ticket = self.spread.pool.submit(work, on_progress=on_progress, urgent=self.ticket.urgent)
        except BusyError:
            return None
        ticket.add_done_callback(lambda _: self.news.put(ticket))
        return ticket

    def next_news(self) -> Ticket | None:
        """Waits for news, not for long: a ticket that is over, or None.

        Raises:
            Cancelled: the picture is not wanted any more.
        """
        ticket = None
        with suppress(Empty):
            ticket = self.news.get(timeout=LOOK_SECONDS)
        if self.stopped:
            raise Cancelled("stopped")
        return ticket


def _of(result: Pixels, tile: Tile, top: int, left: int) -> Pixels:
    """The pixels of a result, whose first lies at `top` and `left`, that a tile answers for."""
    there = tile.output
    return result[there.top - top : there.bottom - top, there.left - left : there.right - left]


def model_for(asked: str, pixels: Pixels, file: Path | None) -> str:
    """The model that `auto` or `auto+` takes, as `Engine.for_picture` does."""
    choice = choose_for(pixels, file)
    model = like(asked, choice.model)
    log.info("%smodel %s: %s", "" if file is None else f"{file}: ", model, choice.reason)
    return model
