"""Who owns a job while its worker comes, fails and goes: scripted workers, so that every moment is met on purpose."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from queue import SimpleQueue
from threading import Timer
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest

from liif_engine.errors import LiifError, WorkerError
from liif_engine.workers import WorkerSettings
from liif_engine.workers.link import ProcessLink
from liif_engine.workers.messages import Begun, Do, Ended, Report, ToWorker
from liif_engine.workers.process import Worker
from liif_engine.workers.work import Ticket

from .scripted import ANSWER, SETTINGS, WORK, Scripted, ticket_of


class Hall:
    """Workers that are scripted: each launch takes the next link, the last one for ever."""

    def __init__(self) -> None:
        self.workers: list[Worker] = []

    def worker(
        self, *links: Scripted, on_report: Any = lambda _: None, settings: Any = SETTINGS, **rest: Any
    ) -> Worker:
        left = list(links)

        def launch(*_: object) -> Scripted:
            return left.pop(0) if len(left) > 1 else left[0]

        self.workers.append(Worker(settings, "cpu", on_report, launch=launch, **rest))
        return self.workers[-1]


@pytest.fixture
def hall() -> Iterator[Hall]:
    made = Hall()
    yield made
    for worker in made.workers:
        worker.close()


def submit(worker: Worker, ticket: Ticket) -> Ticket:
    """Hands over work as soon as there is room."""
    while not worker.room(urgent=False):
        threading.Event().wait(0.01)
    worker.submit(ticket)
    return ticket


def test_work_that_ended_is_answered_whatever_becomes_of_the_workers_report(hall: Hall) -> None:
    reports: list[Report] = []

    def on_report(report: Report) -> None:
        reports.append(report)
        if len(reports) == 2:  # after that of `Ready`
            raise ZeroDivisionError

    worker = hall.worker(Scripted(), Scripted(), on_report=on_report)
    assert submit(worker, ticket_of()).result(10) == ANSWER
    assert submit(worker, ticket_of()).result(10) == ANSWER, "a new process listens"


def test_a_fault_of_whoever_hears_of_progress_ends_the_work_and_the_next_one_runs(hall: Hall) -> None:
    def fault(_: float) -> NoReturn:
        raise BrokenPipeError("nobody reads the progress bar")

    worker = hall.worker(Scripted(), Scripted())
    error = submit(worker, ticket_of(on_progress=fault)).exception(10)
    assert isinstance(error, WorkerError)
    assert "nobody reads the progress bar" in str(error)
    assert submit(worker, ticket_of()).result(10) == ANSWER


@pytest.mark.parametrize("moment", ["lose", "close", "silence", "release", "gone"])
def test_a_worker_that_takes_long_to_end_holds_up_nobody_who_asks_for_room(hall: Hall, moment: str) -> None:
    """The service asks in the loop in which it answers everybody; on a cluster, to end a worker takes seconds."""
    ending, ended = threading.Event(), threading.Event()
    idle = threading.Event()

    def take_long() -> bool:
        ending.set()
        ended.wait(30)
        return False

    link = Scripted(on_message=lambda *_: None)
    if moment == "gone":
        link.for_good = take_long
    else:
        link.on_kill = take_long  # type: ignore[assignment]
    after = 0.0 if moment == "release" else None
    settings = WorkerSettings(
        device="cpu", patience_seconds=0.1, slow_patience_seconds=0.1, release_after_seconds=after
    )
    worker = hall.worker(link, Scripted(), settings=settings, on_report=lambda _: idle.set())
    assert idle.wait(10)
    with ThreadPoolExecutor(2) as threads:
        try:
            if moment == "silence":
                worker.submit(ticket_of())
            elif moment == "gone":
                link.words.put(None)
            elif moment != "release":
                threads.submit(getattr(worker, moment))
            assert ending.wait(10)
            threads.submit(worker.room, urgent=False).result(5)
        finally:
            ended.set()


def test_an_idle_worker_that_does_not_begin_what_it_is_given_is_taken_to_hang_soon(hall: Hall) -> None:
    """As one that was stopped while it had nothing to do, or waits for a disk: nothing was lost with it."""
    settings = replace(SETTINGS, begin_patience_seconds=0.2)
    silent, ticket = Scripted(on_message=lambda *_: None), ticket_of()
    worker = hall.worker(silent, Scripted(), settings=settings)
    assert submit(worker, ticket).result(10) == ANSWER, "by its successor"
    assert "no sign of life" in worker.fault


def test_a_worker_that_has_begun_may_be_silent_for_longer(hall: Hall) -> None:
    """It loads another model, perhaps, or reads a file."""

    def take_long(link: Scripted, message: ToWorker) -> None:
        if isinstance(message, Do):
            link.words.put(Begun(message.number))
            Timer(1, link.words.put, [Ended(message.number, Report(), ANSWER)]).start()

    worker = hall.worker(Scripted(take_long), settings=replace(SETTINGS, begin_patience_seconds=0.2))
    assert submit(worker, ticket_of()).result(10) == ANSWER
    assert worker.restarts == 0


def test_work_that_comes_while_an_idle_worker_is_released_is_begun_once(hall: Hall) -> None:
    """Else a result of that name, of somebody else's, would be taken for what a worker left that died."""
    settings = WorkerSettings(device="cpu", patience_seconds=0.1, release_after_seconds=0.0)
    first, second, ticket = Scripted(), Scripted(), ticket_of()
    worker: Worker | None = None
    begun = threading.Event()

    def on_kill() -> None:
        first.on_kill = lambda: None
        assert begun.wait(10)
        assert worker is not None
        worker.submit(ticket)

    first.on_kill = on_kill
    worker = hall.worker(first, second, settings=settings)
    begun.set()
    assert ticket.result(10) == ANSWER
    assert not any(isinstance(one, Do) for one in first.sent)
    assert [one.work for one in second.sent if isinstance(one, Do)] == [WORK]
    assert ticket.attempts == 1


def test_work_that_comes_while_a_worker_is_released_whose_machine_goes_is_for_others(hall: Hall) -> None:
    settings = WorkerSettings(device="cpu", patience_seconds=0.1, release_after_seconds=0.0, attempts=3)
    link, ticket, given = Scripted(), ticket_of(), SimpleQueue[tuple[Ticket, LiifError]]()
    worker: Worker | None = None
    begun = threading.Event()

    def on_close() -> None:
        assert begun.wait(10)
        assert worker is not None
        worker.submit(ticket)

    link.on_close, link.for_good = on_close, lambda: True
    worker = hall.worker(link, settings=settings, on_lost=lambda *lost: given.put(lost))
    begun.set()
    found, reason = given.get(timeout=10)
    assert found is ticket
    assert isinstance(reason, WorkerError)
    assert not ticket.done()


def test_a_process_that_even_killing_does_not_end_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """As one that waits for a disk that hangs: the work is not, and a successor starts."""
    closed = list[str]()

    class Unending:
        """Such a process."""

        exitcode = None

        def join(self, timeout: float | None = None) -> None:
            assert timeout is not None, "it would be waited for until the disk answers"

        def kill(self) -> None:
            closed.append("killed")

        def is_alive(self) -> bool:
            return True

    one = ProcessLink.__new__(ProcessLink)
    monkeypatch.setattr(one, "_process", Unending(), raising=False)
    monkeypatch.setattr(one, "_connection", SimpleNamespace(close=lambda: closed.append("let go of")), raising=False)
    assert one.close() == "the worker process was killed and does not end, as when a disk hangs"
    assert closed == ["killed", "let go of"]
