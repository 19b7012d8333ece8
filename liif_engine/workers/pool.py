"""All the worker processes of this machine as one place where work is done."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from liif_engine.errors import BusyError
from liif_engine.workers.process import Worker
from liif_engine.workers.work import OnProgress, Report, Ticket, Work, WorkerSettings


class ProcessWorkers:
    """Worker processes on this machine: one per GPU, or one on the CPU. A `Workers`.

    Args:
        settings: how to work.
        on_room: called, from a thread of the workers' own, when there may be room again.
    """

    def __init__(self, settings: WorkerSettings, *, on_room: Callable[[], None] = lambda: None) -> None:
        self.settings, self.on_room = settings, on_room
        self._lock = threading.Lock()
        self._closed = False
        # Only torch knows how many GPUs there are, and only workers load torch: the first one tells.
        self._workers = [Worker(settings, settings.device, self._on_report)]

    def room(self, *, urgent: bool) -> bool:
        """As `Workers.room`."""
        return any(worker.room(urgent=urgent) for worker in self._workers)

    def submit(self, work: Work, *, on_progress: OnProgress | None = None, urgent: bool = False) -> Ticket:
        """As `Workers.submit`: an idle worker does it; urgent work interrupts only where all are busy."""
        ticket = Ticket(work, on_progress, urgent)
        ticket.add_done_callback(lambda _: self.on_room())
        for amid in (False, True) if urgent else (False,):
            for worker in self._workers:
                if worker.room(urgent=amid):
                    with suppress(BusyError):
                        worker.submit(ticket)
                        return ticket
        raise BusyError("every worker is busy")

    def status(self) -> list[dict[str, Any]]:
        """As `Workers.status`."""
        return [worker.status() for worker in self._workers]

    def close(self) -> None:
        """As `Workers.close`."""
        with self._lock:
            self._closed = True
        for worker in self._workers:
            worker.close()

    def _on_report(self, report: Report) -> None:
        """Adds a worker for each further GPU, once the first worker has told how many there are."""
        with self._lock:
            if self.settings.device in {"auto", "cuda"} and not self._closed:
                for index in range(len(self._workers), report.gpus):
                    self._workers.append(Worker(self.settings, f"cuda:{index}", lambda _: self.on_room()))
        self.on_room()
