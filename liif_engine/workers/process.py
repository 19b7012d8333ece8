"""Worker processes under supervision: one that crashes or hangs costs one job, and the next job finds a new one."""

from __future__ import annotations

import logging
import multiprocessing
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

from liif_engine.errors import BusyError, Cancelled, LiifError, WorkerError
from liif_engine.workers import inside
from liif_engine.workers.work import (
    Begun,
    Broken,
    Do,
    Ended,
    Progress,
    Ready,
    Report,
    Stop,
    Ticket,
    WorkerSettings,
)

log = logging.getLogger(__name__)

#: How often a silent worker is looked at. [s]
TICK_SECONDS = 0.5

#: Work that was lost twice to a worker that died before beginning it is given up.
MOST_ATTEMPTS = 3

#: How long a worker may take to end by itself. [s]
END_SECONDS = 2.0


class Worker:
    """One worker's process, started when it is needed; a thread of its own listens to it and starts it anew.

    It holds two pieces of work at most: an ordinary one, and an urgent one that goes ahead of it.

    Args:
        settings: how to work.
        device: this worker's.
        on_report: called with what the worker says of itself, from the listening thread.
    """

    def __init__(self, settings: WorkerSettings, device: str, on_report: Callable[[Report], None]) -> None:
        self.settings, self.device, self.on_report = settings, device, on_report
        self.report = Report(device=device)
        self.restarts, self.fault = 0, ""
        self._tickets: list[Ticket] = []
        self._running: list[Ticket] = []  # begun and not ended; the last one is at work, the others wait for it
        self._ready = self._closing = self._released = False
        self._heard = self._idle_since = time.monotonic()
        self._patience = settings.slow_patience_seconds
        self._connection: Connection | None = None
        self._process: SpawnProcess | None = None
        self._changed = threading.Condition(threading.RLock())
        self._warm = True
        self._thread = threading.Thread(target=self._supervise, name=f"worker {device}", daemon=True)
        self._thread.start()

    def room(self, *, urgent: bool) -> bool:
        """Whether work submitted now would start now, or at the running work's next batch."""
        with self._changed:
            if self._closing:
                return False
            return not self._tickets or (urgent and len(self._tickets) == 1 and not self._tickets[0].urgent)

    def submit(self, ticket: Ticket) -> None:
        """Starts work.

        Raises:
            BusyError: there is no room.
        """
        with self._changed:
            if not self.room(urgent=ticket.urgent):
                raise BusyError("the worker is busy")
            ticket.on_stop = self._stop
            if not self._tickets:
                self._heard, self._patience = time.monotonic(), self.settings.slow_patience_seconds
            self._tickets.append(ticket)
            if self._ready:
                self._hand_over(ticket)
            self._changed.notify_all()

    def status(self) -> dict[str, Any]:
        """What people and monitors may want to know of this worker."""
        with self._changed:
            process = self._process
            alive = process is not None and process.is_alive()
            state = "working" if self._tickets else "idle"
            return {
                "state": "released" if not alive else state if self._ready else "starting",
                "pid": process.pid if alive and process is not None else None,
                "device": self.report.device,
                "device_name": self.report.device_name,
                "device_bytes": self.report.device_bytes if alive else 0,
                "memory_bytes": _resident_bytes(process.pid) if alive and process is not None else 0,
                "models": list(self.report.models) if alive else [],
                "restarts": self.restarts,
                "fault": self.fault,
            }

    def close(self) -> None:
        """Ends the process; work that is left raises `Cancelled`."""
        with self._changed:
            self._closing = True
            self._kill()
            self._changed.notify_all()
        self._thread.join(END_SECONDS)

    def _supervise(self) -> None:
        """The listening thread: a process after the other, for as long as there is work."""
        while True:
            with self._changed:
                while not (self._tickets or self._warm or self._closing):
                    self._changed.wait()
                if self._closing:
                    break
                self._warm = False
            self._attend()
        self._end_all(Cancelled("the workers were closed"))

    def _attend(self) -> None:
        """Starts a process and listens until it ends."""
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=inside.main, args=(theirs, self.settings, self.device), daemon=True)
        self._heard, self._patience = time.monotonic(), self.settings.slow_patience_seconds
        try:
            process.start()
        except OSError as error:
            self._end_all(WorkerError(f"a worker process cannot be started ({error.strerror})"))
            return
        finally:
            theirs.close()
        with self._changed:
            self._process, self._connection, self._released = process, ours, False
            if self._closing:
                self._kill()
        reason = self._listen(process, ours)
        process.join()
        with self._changed:
            was_ready, self._ready, self._connection = self._ready, False, None
            ours.close()
        if not (self._closing or self._released):
            self._bury(reason or WorkerError(f"the worker process {_how_it_ended(process.exitcode)}"), was_ready)
            # Its successor starts now rather than with the next job; but one that cannot start is not tried for ever.
            self._warm = was_ready

    def _listen(self, process: SpawnProcess, connection: Connection) -> LiifError | None:
        """Takes messages until the process ends; the reason, if it is known better than by the exit code."""
        while True:
            try:
                if connection in wait([connection, process.sentinel], self._tick()):
                    broken = self._hear(connection.recv())
                    if broken is not None:
                        return broken
                elif not process.is_alive():
                    return None
            except (EOFError, OSError):
                process.join(END_SECONDS)
                process.kill()
                return None
            with self._changed:
                silent = time.monotonic() - self._heard
                if (self._tickets or not self._ready) and silent > self._patience:
                    process.kill()
                    return WorkerError(f"the worker gave no sign of life for {silent:.0f} s and was ended")
                if not self._tickets and self._is_to_be_released():
                    self._released = True
                    process.kill()
                    return None

    def _hear(self, message: Ready | Broken | Begun | Progress | Ended) -> LiifError | None:
        """Takes one message; an error if the worker says that it cannot start."""
        self._heard = time.monotonic()
        if isinstance(message, Broken):
            return message.error
        if isinstance(message, Ready):
            self._welcome(message.report)
            return None
        with self._changed:
            ticket = next((one for one in self._tickets if one.number == message.number), None)
            if isinstance(message, Ended):
                self.report = message.report
            if ticket is None:
                return None
            if isinstance(message, Begun):
                self._running.append(ticket)
                self._patience = self.settings.slow_patience_seconds
            elif isinstance(message, Progress):
                # Before its first strip and after its last, the work may read or write a file, which is silent.
                computing = 0 < message.share < 1
                patience = self.settings.patience_seconds if computing else self.settings.slow_patience_seconds
                self._patience = patience
            else:
                self._forget(ticket)
                # What it interrupted may be reading or writing a file.
                self._patience = self.settings.slow_patience_seconds
        if isinstance(message, Progress):
            if ticket.on_progress is not None:
                ticket.on_progress(message.share)
        elif isinstance(message, Ended):
            self.on_report(message.report)
            _resolve(ticket, message)
        return None

    def _welcome(self, report: Report) -> None:
        """The worker is ready: what waits is sent, the urgent first."""
        with self._changed:
            self._ready, self.report, self._idle_since = True, report, time.monotonic()
            for ticket in sorted(self._tickets, key=lambda one: not one.urgent):
                self._hand_over(ticket)
        self.on_report(report)

    def _stop(self, ticket: Ticket) -> None:
        with self._changed:
            if ticket not in self._tickets:
                return
            if self._ready:
                self._send(Stop(ticket.number))
                # What waits for urgent work to end need not wait to be told; the worker drops it when it comes to it.
                if not self._is_suspended(ticket):
                    return
            self._forget(ticket)
        ticket.set_exception(Cancelled("stopped"))

    def _bury(self, reason: LiifError, was_ready: bool) -> None:
        """After a death: the work that was at work fails, what waited behind it starts over in a new process."""
        self.restarts += 1
        self.fault = reason.message
        log.warning("%s", reason)
        with self._changed:
            if self._running:
                lost = [self._running[-1]]
            else:
                lost = [one for one in self._tickets if not was_ready or one.attempts >= MOST_ATTEMPTS]
            self._running.clear()
            for ticket in lost:
                self._forget(ticket)
        for ticket in lost:
            ticket.set_exception(reason)

    def _end_all(self, reason: LiifError) -> None:
        with self._changed:
            lost, self._tickets = self._tickets, []
            self._running.clear()
        for ticket in lost:
            ticket.set_exception(reason)

    def _forget(self, ticket: Ticket) -> None:
        self._tickets.remove(ticket)
        if ticket in self._running:
            self._running.remove(ticket)
        self._heard = self._idle_since = time.monotonic()

    def _is_suspended(self, ticket: Ticket) -> bool:
        return ticket in self._running[:-1]

    def _hand_over(self, ticket: Ticket) -> None:
        ticket.attempts += 1
        self._send(Do(ticket.number, ticket.work, ticket.urgent))

    def _send(self, message: Do | Stop) -> None:
        # A worker that has just died is noticed by the listening thread, which sends again to the next one.
        with suppress(OSError, ValueError):
            if self._connection is not None:
                self._connection.send(message)

    def _kill(self) -> None:
        if self._process is not None and self._process.is_alive():
            self._process.kill()

    def _is_to_be_released(self) -> bool:
        after = self.settings.release_after_seconds
        return after is not None and self._ready and time.monotonic() - self._idle_since > after

    def _tick(self) -> float:
        return min(TICK_SECONDS, self.settings.patience_seconds / 4)


def _resolve(ticket: Ticket, message: Ended) -> None:
    if message.answer is not None:
        ticket.set_result(message.answer)
    else:
        ticket.set_exception(message.error or WorkerError("the worker gave no answer"))


def _how_it_ended(code: int | None) -> str:
    """An exit code in words."""
    if code is None or code >= 0:
        return f"ended unexpectedly (exit code {code})"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    hint = ", as the system does when memory runs out" if name == "SIGKILL" else ""
    return f"was killed by {name}{hint}"


def _resident_bytes(pid: int | None) -> int:
    """Memory that a process holds, where the system tells; else 0."""
    with suppress(OSError, IndexError, ValueError):
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return pages * 4096
    return 0
