"""Work in this process: no second one to start, and nothing between the work and a crash of it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from liif_engine import log, memory
from liif_engine.errors import BusyError, Cancelled
from liif_engine.workers.engines import Engines
from liif_engine.workers.failures import in_words
from liif_engine.workers.inside import perform
from liif_engine.workers.work import OnProgress, Ticket, Work, WorkerSettings


class HereWorkers:
    """One worker, a thread of this process. A `Workers`.

    Args:
        settings: how to work; what concerns processes is left unused.
        on_room: called, from the thread, when there is room again.
    """

    #: Nothing is begun again here.
    lost = 0

    def __init__(self, settings: WorkerSettings, *, on_room: Callable[[], None] = lambda: None) -> None:
        self.settings, self.on_room = settings, on_room
        self._engines = Engines(settings, settings.device)
        self._thread = ThreadPoolExecutor(1, "worker")
        self._lock = threading.Lock()
        self._at_work: Ticket | None = None
        self._closed = False
        self._done = 0

    def room(self, *, urgent: bool) -> bool:  # noqa: ARG002 - one thing after the other
        """As `Workers.room`."""
        return self._at_work is None and not self._closed

    def submit(self, work: Work, *, on_progress: OnProgress | None = None, urgent: bool = False) -> Ticket:
        """As `Workers.submit`."""
        ticket = Ticket(work, on_progress, urgent)
        with self._lock:
            if not self.room(urgent=urgent):
                raise BusyError("the worker is busy")
            self._at_work = ticket
            try:
                self._thread.submit(self._run, ticket)
            except RuntimeError:  # the system gives no thread
                self._at_work = None
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
        with self._lock:
            self._closed = True
        self._thread.shutdown(wait=True)

    def _run(self, ticket: Ticket) -> None:
        def look() -> None:
            if ticket.is_stopped or self._closed:
                raise Cancelled("stopped")

        def beat(share: float) -> None:
            look()
            if ticket.on_progress is not None:
                ticket.on_progress(share)

        answer, error = None, None
        try:
            beat(0.0)
            with log.about(ticket.work.job):
                engine = self._engines.get(ticket.work.model, ticket.work.precision)
                answer = perform(engine, ticket.work, on_progress=beat, look=look)
        except BaseException as failure:  # a library's panic is no Exception, and nothing else answers who waits
            error = in_words(failure)
        if self._at_work is ticket:  # not one that found no thread, and that this one now brings to its end
            self._at_work = None
        self._done += answer is not None
        if answer is not None:
            ticket.set_result(answer)
        else:
            ticket.set_exception(error)
        self.on_room()
