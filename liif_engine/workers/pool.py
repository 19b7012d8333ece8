"""Several workers as one place where work is done."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from liif_engine import threads
from liif_engine.errors import BusyError, Cancelled, LiifError, WorkerError
from liif_engine.workers.held import MOST_ATTEMPTS
from liif_engine.workers.link import END_SECONDS
from liif_engine.workers.messages import Report
from liif_engine.workers.process import Worker
from liif_engine.workers.work import OnProgress, Ticket, Work, WorkerSettings

log = logging.getLogger(__name__)

#: Two, so that one may compute while another reads or writes.
WORKERS_PER_CORE = 2


class Pool:
    """Gives work to workers, and to others if a worker died with it. A `Workers`; subclasses say which workers.

    Args:
        settings: how to work.
        on_room: called, from a thread of the workers' own, when there may be room again.

    Attributes:
        lost: pieces of work that were begun again, since a worker died with them.
    """

    def __init__(self, settings: WorkerSettings, *, on_room: Callable[[], None] = lambda: None) -> None:
        self.settings, self.upstream = settings, on_room
        self.lost = 0
        self._lock = threading.RLock()
        self._closed = False
        self._workers: list[Worker] = []
        self._again: deque[Ticket] = deque()

    def room(self, *, urgent: bool) -> bool:
        """As `Workers.room`."""
        with self._lock:
            # What was lost goes first.
            return not self._again and any(worker.room(urgent=urgent) for worker in self._usable())

    def submit(self, work: Work, *, on_progress: OnProgress | None = None, urgent: bool = False) -> Ticket:
        """As `Workers.submit`: an idle worker does it; urgent work interrupts only where all are busy."""
        ticket = Ticket(work, on_progress, urgent)
        ticket.add_done_callback(lambda _: self.on_room())
        self._give(ticket)
        return ticket

    def on_room(self) -> None:
        """There may be room: for what was lost, then for what is to come."""
        with self._lock:
            while self._again and not self._closed:
                try:
                    self._give(self._again[0])
                except BusyError:
                    return
                self._again.popleft()
        self.upstream()

    def size(self) -> int:
        """How many workers there are now."""
        return len(self._usable())

    def status(self) -> list[dict[str, Any]]:
        """As `Workers.status`."""
        return [worker.status() for worker in list(self._workers)]

    def close(self) -> None:
        """As `Workers.close`."""
        with self._lock:
            self._closed = True
            left = list(self._again)
            self._again.clear()
        for ticket in left:
            ticket.set_exception(Cancelled("the workers were closed"))
        workers = list(self._workers)
        for worker in workers:
            worker.end()
        until = time.monotonic() + END_SECONDS
        for worker in workers:
            worker.join(max(0.0, until - time.monotonic()))

    def _usable(self) -> Sequence[Worker]:
        """Those that need not load first and have not just died; as long as there are none, all."""
        workers = list(self._workers)
        return [worker for worker in workers if not worker.is_to_be_spared()] or workers

    def _give(self, ticket: Ticket) -> None:
        for amid in (False, True) if ticket.urgent else (False,):
            for worker in self._usable():
                if worker.room(urgent=amid):
                    with suppress(BusyError):
                        worker.submit(ticket)
                        return
        raise BusyError("every worker is busy")

    def _take_back(self, ticket: Ticket, reason: LiifError) -> None:
        """Work whose worker died: another one begins it, unless it was begun or lost too often."""
        ticket.losses += 1
        with self._lock:
            ticket.on_stop = self._stop_waiting
            # A model that cannot be loaded is missing for the next worker too.
            again = isinstance(reason, WorkerError) and self._may_go_on(ticket) and not self._closed
            again &= not ticket.is_stopped
            if again:
                self.lost += 1
                self._again.append(ticket)
        if again:
            self.on_room()
        else:
            ticket.set_exception(Cancelled("stopped") if ticket.is_stopped else reason)

    def _may_go_on(self, ticket: Ticket) -> bool:
        """Whether another worker may be given what was lost."""
        if max(ticket.attempts, ticket.losses) < self.settings.attempts:
            return True
        # What no worker was given is no worker's death, but needs one that is there.
        is_there = any(not worker.is_to_be_spared() for worker in list(self._workers))
        return is_there and not ticket.attempts and ticket.losses < MOST_ATTEMPTS

    def _stop_waiting(self, ticket: Ticket) -> None:
        with self._lock:
            waits = ticket in self._again
            if waits:
                self._again.remove(ticket)
        if waits:
            ticket.set_exception(Cancelled("stopped"))
        elif ticket.on_stop != self._stop_waiting:
            ticket.on_stop(ticket)  # a worker has been given it meanwhile


class ProcessWorkers(Pool):
    """Worker processes on this machine: one per GPU, or one on the CPU.

    Args:
        settings: how to work.
        count: so many workers; None for one per GPU, or one on the CPU. More than there are GPUs share them.
        on_room: as in `Pool`.
    """

    def __init__(
        self, settings: WorkerSettings, *, count: int | None = None, on_room: Callable[[], None] = lambda: None
    ) -> None:
        super().__init__(settings, on_room=on_room)
        self.count = count
        self._is_bounded = False  # and that has been said: each worker's each report asks anew
        # Only torch knows how many GPUs there are, and only workers load torch: the first one tells, and counts then.
        with self._lock:
            self._workers.append(self._worker(settings.device))

    def _worker(self, device: str) -> Worker:
        return Worker(self.settings, device, self._on_report, on_lost=self._take_back)

    def _on_report(self, report: Report) -> None:
        """Adds the other workers, once the first one has told how many GPUs there are."""
        with self._lock:
            several = self.settings.device in {"auto", "cuda"} and report.gpus > 0
            wanted = self.count or (report.gpus if several else 1)
            if not several and wanted > most():
                if not self._is_bounded:
                    words = "%d workers are more than this machine's %d cores can use: %d it is"
                    log.warning(words, wanted, threads.usable(), most())
                wanted, self._is_bounded = most(), True
            for index in range(len(self._workers), 0 if self._closed else wanted):
                device = f"cuda:{index % report.gpus}" if several else self.settings.device
                try:
                    self._workers.append(self._worker(device))
                except RuntimeError as error:  # the system gives no thread; at the next report it may
                    log.warning("a worker cannot be added (%s): going on with %d", error, len(self._workers))
                    break
        self.on_room()


def most() -> int:
    """So many workers a CPU can feed: each has a model of its own in memory."""
    return max(WORKERS_PER_CORE * threads.usable(), 2)


def threads_for(count: int | None) -> int | None:
    """Threads of each of `count` workers that share this machine's cores; None for one worker, which has them all."""
    return None if count is None or count < 2 else max(1, threads.usable() // count)
