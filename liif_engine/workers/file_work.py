"""Restores a file inside a worker: a thread reads and writes, so that a person's job need not wait for a large file."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue

from liif_engine import log
from liif_engine.errors import Cancelled
from liif_engine.file import Outcome, restore_file
from liif_engine.picture.image_file import Limits
from liif_engine.restorer import Restorer
from liif_engine.workers.engine import Pixels, WorkerEngine
from liif_engine.workers.work import Answer, FileWork, OnProgress

#: How often the worker looks for messages while a file is read or written. [s]
LOOK_SECONDS = 0.02

#: A file system that hangs holds up its thread for ever; work that nobody wants is left to that after so long. [s]
LEAVE_SECONDS = 30.0


def run(engine: WorkerEngine, work: FileWork, *, on_progress: OnProgress, look: Callable[[], None]) -> Answer:
    """Does the work; the network computes in the calling thread.

    Args:
        engine: of the work's model.
        work: what is asked.
        on_progress: called with the share of the computing done; what it raises ends the work.
        look: called often while a file is read or written; it may take long. If it raises, the work ends before it
            computes more; a result that is being written already is completed, but not waited for if that takes long.

    Raises:
        LiifError: as `restore_file`.
    """
    stopped = 0.0
    lent = _Lent(engine)
    done: Future[Outcome] = Future()
    done.add_done_callback(lambda _: lent.wake())
    job = log.job()

    def read_and_write() -> None:
        with log.about(job):
            _read_and_write(lent, work, on_progress, done)

    # A daemon, since a file system that hangs must not keep the process from ending.
    threading.Thread(target=read_and_write, daemon=True).start()
    while not done.done():
        try:
            lent.serve(LOOK_SECONDS)
            look()
        except Cancelled as cancelled:
            if lent.cancelled is None:
                lent.cancelled, stopped = cancelled, time.monotonic()
        if lent.cancelled is not None and time.monotonic() - stopped > LEAVE_SECONDS:
            raise lent.cancelled
    return answer_of(done.result(), str(engine.device))


def restore(engine: Restorer, work: FileWork, on_progress: OnProgress) -> Outcome:
    """Restores the file of a piece of work, by an engine or what stands for one.

    Raises:
        LiifError: as `restore_file`.
    """
    return restore_file(
        engine,
        work.source,
        work.destination,
        target=work.target,
        format=work.format,
        quality=work.quality,
        overwrite=work.overwrite,
        resume=work.resume,
        allow_truncated=work.allow_truncated,
        consistent=work.consistent,
        limits=Limits() if work.max_pixels is None else Limits(max_pixels=work.max_pixels),
        on_progress=on_progress,
    )


def answer_of(outcome: Outcome, device: str) -> Answer:
    """What was done to a file, in the words of workers."""
    plan, probe = outcome.plan, outcome.plan.probe
    return Answer(
        outcome.model,
        outcome.precision,
        device,
        outcome.seconds,
        plan.width,
        plan.height,
        str(plan.destination),
        plan.format,
        outcome.source_sha256,
        outcome.notes,
        outcome.stages,
        probe.width * probe.height * probe.frames,
    )


class _Lent:
    """An engine for another thread: what that asks for is computed in the thread that calls `serve`."""

    def __init__(self, engine: Restorer) -> None:
        self.engine = engine
        self.cancelled: Cancelled | None = None
        self._asked: SimpleQueue[tuple[Future[Pixels], Callable[[], Pixels]] | None] = SimpleQueue()

    @property
    def model_name(self) -> str:
        """That of the engine, once it is chosen."""
        return self.engine.model_name

    def check_memory(self, width: int, height: int, channels: int, bits: int = 8, *, beside: int | None = None) -> None:
        """As `Engine.check_memory`, which any thread may ask."""
        self.engine.check_memory(width, height, channels, bits, beside=beside)

    def precision_for(self, bits: int) -> str:
        """As `Engine.precision_for`, which any thread may ask."""
        return self.engine.precision_for(bits)

    def for_picture(self, pixels: Pixels, file: Path | None = None) -> _Lent:
        """As `Engine.for_picture`; this object then stands for the chosen engine.

        Not in the other thread: looking at a large picture takes a while, in which that has something better to do.
        """
        self.engine = self.engine.for_picture(pixels, file)
        return self

    def restore(
        self,
        pixels: Pixels,
        *,
        size: tuple[int, int],
        layout: str | None = None,
        on_progress: OnProgress | None = None,
    ) -> Pixels:
        """As `Engine.restore`, in the thread that calls `serve`."""
        if self.cancelled is not None:  # and maybe nobody serves any more
            raise self.cancelled
        answer: Future[Pixels] = Future()
        call = partial(self.engine.restore, pixels, size=size, layout=layout, on_progress=on_progress)
        self._asked.put((answer, call))
        return answer.result()

    def wake(self) -> None:
        """Ends a `serve` that waits: a small file would else take as long as that, not as long as its work."""
        self._asked.put(None)

    def serve(self, seconds: float) -> None:
        """Computes what is asked for within so many seconds, if anything."""
        try:
            asked = self._asked.get(timeout=seconds)
        except Empty:
            return
        if asked is None:
            return
        answer, call = asked
        try:
            if self.cancelled is not None:
                raise self.cancelled
            answer.set_result(call())
        except BaseException as error:
            answer.set_exception(error)


def _read_and_write(lent: _Lent, work: FileWork, on_progress: OnProgress, done: Future[Outcome]) -> None:
    try:
        outcome = restore(lent, work, on_progress)
    except BaseException as error:
        done.set_exception(error)
    else:
        done.set_result(outcome)
