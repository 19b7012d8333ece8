"""A worker under supervision: one that crashes or hangs costs one job at most, and the next job finds a new one."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from liif_engine import log as logs
from liif_engine.errors import BusyError, Cancelled, DeviceError, LiifError, WorkerError
from liif_engine.workers.held import Held
from liif_engine.workers.link import END_SECONDS, Launch, Link, ProcessLink
from liif_engine.workers.messages import (
    Begun,
    Broken,
    Do,
    Ended,
    FromWorker,
    Progress,
    Ready,
    Report,
    Said,
    Stop,
    ToWorker,
)
from liif_engine.workers.patience import Patience
from liif_engine.workers.work import FileWork, Ticket, WorkerSettings

log = logging.getLogger(__name__)

#: A worker that has died gets no work for so long, unless it is ready again or there is no other: its machine may be
#: gone, which a cluster notices only after a while. [s]
SPARE_SECONDS = 30


class Worker:
    """One worker's process, started when it is needed; a thread of its own listens to it and starts it anew.

    It holds two pieces of work at most: an ordinary one, and an urgent one that goes ahead of it.

    Args:
        settings: how to work.
        device: this worker's.
        on_report: called with what the worker says of itself, from the listening thread.
        on_lost: called with work that its worker took along and that may be begun again, and with why; by default
            nothing is begun again.
        launch: starts the worker.
    """

    def __init__(
        self,
        settings: WorkerSettings,
        device: str,
        on_report: Callable[[Report], None],
        *,
        on_lost: Callable[[Ticket, LiifError], None] | None = None,
        launch: Launch = ProcessLink,
    ) -> None:
        self.settings, self.device, self.on_report = settings, device, on_report
        self.on_lost, self.launch = on_lost or (lambda ticket, reason: ticket.set_exception(reason)), launch
        self.report = Report(device=device)
        self.done, self.restarts, self.fault = 0, 0, ""
        self._held = Held()
        self._ready = self._closing = self._released = False
        self._patience = Patience(settings)
        self._died = float("-inf")
        self._link: Link | None = None
        self._changed = threading.Condition(threading.RLock())
        self._warm = True
        self._thread = threading.Thread(target=self._supervise, name=f"worker {device}", daemon=True)
        self._thread.start()

    def room(self, *, urgent: bool) -> bool:
        """Whether work submitted now would start now, or at the running work's next batch."""
        with self._changed:
            return not self._closing and self._held.has_room(urgent=urgent)

    def is_to_be_spared(self) -> bool:
        """Whether others should get work before this one: it loads, or has died and not come back yet."""
        if self._ready:
            return False
        return self._link is not None or time.monotonic() - self._died < SPARE_SECONDS

    def is_gone(self) -> bool:
        """Whether it has ended and has no successor."""
        return not self._thread.is_alive()

    def submit(self, ticket: Ticket) -> None:
        """Starts work.

        Raises:
            BusyError: there is no room.
        """
        with self._changed:
            if not self.room(urgent=ticket.urgent):
                raise BusyError("the worker is busy")
            ticket.on_stop = self._stop
            if not self._held:
                self._patience.begin()
            self._held.tickets.append(ticket)
            if self._ready:
                self._hand_over(ticket)
            self._changed.notify_all()

    def status(self) -> dict[str, Any]:
        """What people and monitors may want to know of this worker."""
        with self._changed:
            link = self._link
            alive = link is not None and link.is_alive()
            state = "working" if self._held else "idle"
            held = link.memory_bytes() if alive and link is not None else 0
            return {
                "state": "released" if not alive else state if self._ready else "starting",
                "pid": (link.pid or self.report.pid) if alive and link is not None else None,
                "host": self.report.host,
                "device": self.report.device,
                "device_name": self.report.device_name,
                "device_bytes": self.report.device_bytes if alive else 0,
                "memory_bytes": self.report.memory_bytes if held is None else held,
                "peak_bytes": self.report.peak_bytes if alive else 0,
                "models": list(self.report.models) if alive else [],
                "done": self.done,
                "restarts": self.restarts,
                "fault": self.fault,
            }

    def close(self) -> None:
        """Ends the process; work that is left raises `Cancelled`."""
        self.end()
        self.join(END_SECONDS)

    def end(self) -> None:
        """As `close`, without waiting for it."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._kill()

    def join(self, seconds: float) -> None:
        """Waits until it has ended, for so long at most."""
        if threading.current_thread() is not self._thread:
            self._thread.join(seconds)

    def lose(self) -> None:
        """Ends the process as if it had died: what it was at is lost, and given to others if that is allowed."""
        self._kill()

    def _supervise(self) -> None:
        """The listening thread: a process after the other, for as long as there is work."""
        while True:
            with self._changed:
                while not (self._held or self._warm or self._closing):
                    self._changed.wait()
                if self._closing:
                    break
                self._warm = False
            self._attend()
        self._end_all(Cancelled("the workers were closed"))

    def _attend(self) -> None:
        """Starts a worker and listens until it ends."""
        self._patience.begin()
        try:
            link = self.launch(self.settings, self.device)
        except Exception as error:
            words = getattr(error, "strerror", None) or next(iter(str(error).splitlines()), type(error).__name__)
            if not self._closing:
                self._bury(WorkerError(f"a worker cannot be started ({words})"), was_ready=False)
            return
        with self._changed:
            self._link, self._released = link, False
            closing = self._closing
        if closing:
            link.kill()
        try:
            reason = self._listen(link)
        except Exception as error:  # of whoever hears a report or of progress; else nobody would listen any more
            log.exception("listening to a worker met a fault")
            reason = WorkerError(f"unexpected {type(error).__name__}: {error}")
            link.kill()
        end, is_for_good = link.close(), not self._closing and link.is_for_good()
        with self._changed:
            was_ready, self._ready, self._link = self._ready, False, None
            asked = self._closing
            # Before its work is given to others: none of it must come back here.
            self._closing = asked or is_for_good
        # If there will be no successor, it may have been given work after it was released, which others are to do.
        if not asked and (is_for_good or not self._released):
            self._bury(reason or WorkerError(end), was_ready)
            # Its successor starts now rather than with the next job; but one that cannot start is not tried for ever.
            self._warm = was_ready

    def _listen(self, link: Link) -> LiifError | None:
        """Takes messages until the worker ends; the reason, if it is known better than by its end."""
        while True:
            try:
                message = link.receive(self._patience.tick_seconds)
            except EOFError:
                return None
            if message is not None:
                broken = self._hear(message)
                if broken is not None:
                    return broken
                continue
            with self._changed:
                silent = self._patience.silent_seconds()
                hangs = (self._held or not self._ready) and self._patience.is_over()
                if not self._held and self._ready and self._patience.has_idled():
                    # What comes from now on waits for its successor.
                    self._released, self._ready = True, False
            if hangs:
                link.kill()
                return WorkerError(f"the worker gave no sign of life for {silent:.0f} s and was ended")
            if self._released:
                link.kill()
                return None

    def _hear(self, message: FromWorker) -> LiifError | None:
        """Takes one message; an error if the worker says that it cannot start."""
        self._patience.hear()
        if isinstance(message, Broken):
            return message.error
        if isinstance(message, Ready):
            self._welcome(message.report)
            return None
        if isinstance(message, Said):
            report, link = self.report, self._link
            # Before it is ready it has said nothing of itself yet.
            pid = (link.pid if link is not None else None) or report.pid
            logs.emit(message.name, message.level, message.text, job=message.job, pid=pid, host=report.host)
            return None
        with self._changed:
            ticket = self._held.find(message.number)
            if isinstance(message, Ended):
                self.report = message.report
            if ticket is None:
                return None
            if isinstance(message, Begun):
                self._held.running.append(ticket)
                self._patience.slow_down()
            elif isinstance(message, Progress):
                self._patience.come_to(message.share)
            else:
                self._forget(ticket)
                # What it interrupted may be reading or writing a file.
                self._patience.slow_down()
        if isinstance(message, Progress):
            if ticket.on_progress is not None:
                ticket.on_progress(message.share)
        elif isinstance(message, Ended):
            self.done += message.answer is not None
            # First: it is nobody's any more, so nothing else would ever answer whoever waits for it.
            _resolve(ticket, message)
            self.on_report(message.report)
        return None

    def _welcome(self, report: Report) -> None:
        """The worker is ready: what waits is sent, the urgent first."""
        with self._changed:
            self._ready, self.report = True, report
            self._patience.rest()
            for ticket in self._held.urgent_first():
                self._hand_over(ticket)
        self.on_report(report)

    def _stop(self, ticket: Ticket) -> None:
        with self._changed:
            if ticket not in self._held:
                return
            if self._ready:
                self._send(Stop(ticket.number))
                # What waits for urgent work to end need not wait to be told; the worker drops it when it comes to it.
                if not self._held.is_suspended(ticket):
                    return
            self._forget(ticket)
        ticket.set_exception(Cancelled("stopped"))

    def _bury(self, reason: LiifError, was_ready: bool) -> None:
        """After a death: what is lost is given to others if that is allowed; the rest starts over in a new process."""
        with self._changed:
            self.restarts += 1
            self._died = time.monotonic()
            self.fault = reason.message
            several = self.settings.attempts > 1
            lost = self._held.take_lost(was_ready=was_ready, elsewhere=several, for_good=self._closing)
            if lost:
                self._patience.rest()
        # A device that is missing kills no worker: who waits for the work is told, and once is enough.
        log.log(logging.INFO if lost and isinstance(reason, DeviceError) else logging.WARNING, "%s", reason)
        for ticket in lost:
            if ticket.is_stopped:
                ticket.set_exception(Cancelled("stopped"))
            else:
                self.on_lost(ticket, reason)

    def _end_all(self, reason: LiifError) -> None:
        with self._changed:
            lost = self._held.take_all()
        for ticket in lost:
            ticket.set_exception(reason)

    def _forget(self, ticket: Ticket) -> None:
        self._held.forget(ticket)
        self._patience.rest()

    def _hand_over(self, ticket: Ticket) -> None:
        ticket.attempts += 1
        work = ticket.work
        if ticket.attempts > 1 and isinstance(work, FileWork):
            # The worker that it died with may have got as far as the result's name.
            work = replace(work, resume=True)
        self._send(Do(ticket.number, work, ticket.urgent))
        if not self._held.running:
            self._patience.await_begin()

    def _send(self, message: ToWorker) -> None:
        # A worker that has just died is noticed by the listening thread, which sends again to the next one.
        if self._link is not None:
            self._link.send(message)

    def _kill(self) -> None:
        # Not under the lock: on a cluster it takes seconds, and whoever asks for room must not wait for that.
        link = self._link
        if link is not None:
            link.kill()


def _resolve(ticket: Ticket, message: Ended) -> None:
    if message.answer is not None:
        ticket.set_result(message.answer)
    else:
        ticket.set_exception(message.error or WorkerError("the worker gave no answer"))
