"""Work in this process: no second one to start, and nothing between the work and a crash of it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from liif_engine import log, memory
from liif_engine.errors import BusyError, Cancelled, LiifError, MemoryExhaustedError
from liif_engine.network.waits import Shared
from liif_engine.workers.engines import Engines
from liif_engine.workers.failures import in_words
from liif_engine.workers.inside import perform
from liif_engine.workers.work import Answer, FileWork, OnProgress, Ticket, Work, WorkerSettings

if TYPE_CHECKING:
    from liif_engine.workers.engine import Pixels, WorkerEngine

#: Files on their way at once where another device than the CPU computes: one is computed while others are read and
#: written. On the CPU, whose cores all compute, nothing is gained by it.
FILES_AT_ONCE = 4

#: Pixels of the largest picture during which work on another one may be launched: a larger one keeps a GPU busy by
#: itself, and its memory is to be its own.
LENT_PIXELS = 512 * 512


class HereWorkers:
    """One worker, threads of this process. A `Workers`.

    One picture is computed at a time. Where the CPU has nothing to do meanwhile, other files are read and written, if
    all of them together take little memory, and work on small ones is launched on the GPU before that one is done. What
    lacks memory beside others all the same is done again when they are over.

    Args:
        settings: how to work; what concerns processes is left unused.
        on_room: called, from the threads, when there is room again.
    """

    #: Nothing is begun again here.
    lost = 0

    def __init__(self, settings: WorkerSettings, *, on_room: Callable[[], None] = lambda: None) -> None:
        self.settings, self.on_room = settings, on_room
        self._engines = Engines(settings, settings.device)
        # One thread while the CPU may be what computes: each that does so keeps helper threads of its own.
        self._pools = [ThreadPoolExecutor(1, "worker")]
        self._changed = threading.Condition()
        self._loading, self._computing = threading.Lock(), Shared()
        self._at_work: list[Ticket] = []
        self._beside = set[Ticket]()  # of these, those that others were at work with
        self._starved: list[Ticket] = []  # of these, those that lacked memory
        self._at_once = 1  # until it is known what computes
        self._waiting_bytes = memory.waiting_bytes()
        self._closed = False
        self._done = 0

    def room(self, *, urgent: bool) -> bool:  # noqa: ARG002 - one thing after the other
        """As `Workers.room`; what would take too much memory beside the rest is refused all the same."""
        return len(self._at_work) < self._at_once and not (self._closed or self._starved)

    def submit(self, work: Work, *, on_progress: OnProgress | None = None, urgent: bool = False) -> Ticket:
        """As `Workers.submit`."""
        ticket = Ticket(work, on_progress, urgent)
        with self._changed:
            if not (self.room(urgent=urgent) and self._fits_beside(work)):
                raise BusyError("the worker is busy")
            self._at_work.append(ticket)
            if len(self._at_work) > 1:
                self._beside.update(self._at_work)
            try:
                self._pools[-1].submit(self._run, ticket)
            except RuntimeError:  # the system gives no thread
                self._at_work.remove(ticket)
                # It has been queued all the same, and would be done when there is a thread.
                ticket.stop()
                raise
        return ticket

    def status(self) -> list[dict[str, Any]]:
        """As `Workers.status`."""
        resident, peak = memory.own_bytes()
        row: dict[str, Any] = {
            "state": "working" if self._at_work else "idle",
            "done": self._done,
            "restarts": 0,
            "fault": "",
            "device_bytes": 0,
        }
        row |= {"memory_bytes": resident, "peak_bytes": peak, "models": list(self._engines.names())}
        return [row | {key: value for key, value in self._engines.hardware().items() if key != "gpus"}]

    def close(self) -> None:
        """As `Workers.close`."""
        with self._changed:
            self._closed = True
        for pool in self._pools:
            pool.shutdown(wait=True)

    def _fits_beside(self, work: Work) -> bool:
        """Whether work may be begun beside what is at work; nothing may whose memory nobody counted."""
        if not self._at_work:
            return True
        sizes = [_bytes_of(one) for one in (work, *(ticket.work for ticket in self._at_work))]
        return all(sizes) and sum(sizes) <= self._waiting_bytes

    def _run(self, ticket: Ticket) -> None:
        answer, error = self._try(ticket)
        if isinstance(error, MemoryExhaustedError) and self._comes_to_be_alone(ticket):
            answer, error = self._try(ticket)
        with self._changed:
            if ticket in self._at_work:  # not one that found no thread, and that this one now brings to its end
                self._at_work.remove(ticket)
            if ticket in self._starved:
                self._starved.remove(ticket)
            self._beside.discard(ticket)
            self._done += answer is not None
            self._changed.notify_all()
        if answer is not None:
            ticket.set_result(answer)
        else:
            ticket.set_exception(error)
        self.on_room()

    def _try(self, ticket: Ticket) -> tuple[Answer | None, LiifError | None]:
        """Does a piece of work; one of the answer and the error."""

        def look() -> None:
            if ticket.is_stopped or self._closed:
                raise Cancelled("stopped")

        def beat(share: float) -> None:
            look()
            if ticket.on_progress is not None:
                ticket.on_progress(share)

        try:
            beat(0.0)
            with log.about(ticket.work.job):
                return perform(self._engine_for(ticket.work), ticket.work, on_progress=beat, look=look), None
        except BaseException as failure:  # a library's panic is no Exception, and nothing else answers who waits
            return None, in_words(failure)

    def _comes_to_be_alone(self, ticket: Ticket) -> bool:
        """Waits until a piece of work is the only one, and nothing is begun beside it; False if it was all the time."""
        with self._changed:
            if ticket not in self._beside:
                return False
            self._starved.append(ticket)
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._starved[0] is ticket and len(self._at_work) == len(self._starved))
            return True

    def _engine_for(self, work: Work) -> WorkerEngine:
        """The engine of the work's model, which computes for one thread at a time."""
        with self._loading:
            engine = self._engines.get(work.model, work.precision)
            is_news = self._at_once == 1 and str(engine.device) != "cpu"
            if is_news:
                with self._changed:
                    self._pools.append(ThreadPoolExecutor(FILES_AT_ONCE, "worker"))
                    self._at_once = FILES_AT_ONCE
        if is_news:
            self.on_room()
        return cast("WorkerEngine", _InTurn(engine, self._loading, self._computing))


class _InTurn:
    """An engine for several threads: each picture is computed as if there were one.

    Args:
        engine: for one thread at a time, but while it waits.
        loading: held while it may load another model.
        computing: held while it computes.
    """

    def __init__(self, engine: WorkerEngine, loading: threading.Lock, computing: Shared) -> None:
        self._engine, self._loading, self._computing = engine, loading, computing

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def for_picture(self, pixels: Pixels, file: Path | None = None) -> _InTurn:
        """As `Engine.for_picture`."""
        with self._loading:
            return _InTurn(self._engine.for_picture(pixels, file), self._loading, self._computing)

    def restore(self, pixels: Pixels, **options: Any) -> Pixels:
        """As `Engine.restore`."""
        with self._computing.held(lent=pixels.shape[0] * pixels.shape[1] <= LENT_PIXELS):
            return self._engine.restore(pixels, **options)

    def restore_tile(self, *given: Any, **options: Any) -> Pixels:
        """As `Engine.restore_tile`."""
        with self._computing.held(lent=False):
            return self._engine.restore_tile(*given, **options)


def _bytes_of(work: Work) -> int:
    return work.held_bytes if isinstance(work, FileWork) else 0
