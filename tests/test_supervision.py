"""Who owns a job while workers come, fail and go: scripted workers, so that every moment is met on purpose."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from queue import Empty, SimpleQueue
from types import SimpleNamespace
from typing import Any, NoReturn

import numpy as np
import pytest

from liif_engine.errors import Cancelled, LiifError, MemoryExhaustedError, WorkerError
from liif_engine.target import Target
from liif_engine.workers import FileWork, PixelWork, ProcessWorkers, WorkerSettings, pool, share, spread
from liif_engine.workers.link import END_SECONDS, ProcessLink
from liif_engine.workers.messages import Begun, Do, Ended, FromWorker, Progress, Ready, Report, ToWorker
from liif_engine.workers.process import Worker
from liif_engine.workers.work import Answer, LookWork, Ticket, Work

SETTINGS = WorkerSettings(device="cpu", patience_seconds=0.2, slow_patience_seconds=60)
WORK = FileWork("old.jpg", "new.jpg", Target(scale=2))
ANSWER = Answer("copy", "fp32", "cpu", 0.1, 2, 2)


def obliging(link: Scripted, message: ToWorker) -> None:
    """Does at once whatever is asked."""
    if isinstance(message, Do):
        for word in (Begun(message.number), Progress(message.number, 0.5), Ended(message.number, Report(), ANSWER)):
            link.words.put(word)


class Scripted:
    """A worker without a process, which is ready at once. A `Link`."""

    pid: int | None = None

    def __init__(self, on_message: Callable[[Scripted, ToWorker], None] = obliging) -> None:
        self.on_message = on_message
        self.sent: list[ToWorker] = []
        self.words: SimpleQueue[FromWorker | None] = SimpleQueue()
        self.words.put(Ready(Report()))
        self.on_kill: Callable[[], None] = lambda: None
        self.on_close: Callable[[], None] = lambda: None
        self.for_good: Callable[[], bool] = lambda: False

    def send(self, message: ToWorker) -> None:
        self.sent.append(message)
        self.on_message(self, message)

    def receive(self, seconds: float) -> FromWorker | None:
        try:
            word = self.words.get(timeout=seconds)
        except Empty:
            return None
        if word is None:
            raise EOFError
        return word

    def kill(self) -> None:
        self.on_kill()
        self.words.put(None)

    def is_alive(self) -> bool:
        return True

    def is_for_good(self) -> bool:
        return self.for_good()

    def close(self) -> str:
        self.on_close()
        return "the scripted worker ended"

    def memory_bytes(self) -> int | None:
        return None


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


def ticket_of(work: Work = WORK, on_progress: Any = None) -> Ticket:
    return Ticket(work, on_progress, urgent=False)


def submit(worker: Worker, ticket: Ticket) -> Ticket:
    """Hands over work as soon as there is room."""
    while not worker.room(urgent=False):
        threading.Event().wait(0.01)
    worker.submit(ticket)
    return ticket


def refuse(*_: object, **__: object) -> NoReturn:
    raise RuntimeError("can't start new thread")


def test_a_second_worker_for_which_there_is_no_thread_costs_no_job(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The first one's listening thread is what adds the others."""
    made: list[Worker] = []

    def worker(*arguments: Any, **rest: Any) -> Worker:
        if made:
            refuse()
        made.append(Worker(*arguments, launch=lambda *_: Scripted(), **rest))
        return made[0]

    monkeypatch.setattr(pool, "Worker", worker)
    workers = ProcessWorkers(SETTINGS, count=2)
    try:
        for _ in range(2):
            assert workers.submit(WORK).result(10) == ANSWER
        assert "can't start new thread" in caplog.text
    finally:
        workers.close()


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


class Several(pool.Pool):
    """A pool of scripted workers, each with what launches it."""

    def __init__(self, settings: WorkerSettings, *launches: Callable[[], Scripted]) -> None:
        super().__init__(settings)
        for launch in launches:
            worker = Worker(
                settings, "cpu", lambda _: self.on_room(), on_lost=self._take_back, launch=lambda *_, of=launch: of()
            )
            self._workers.append(worker)

    def wait_for_ready(self, count: int) -> None:
        while sum(row["state"] == "idle" for row in self.status()) < count:
            threading.Event().wait(0.01)


def fails() -> NoReturn:
    raise OSError(11, "Resource temporarily unavailable")


def dies() -> Scripted:
    """A worker that dies while it starts."""
    link = Scripted()
    link.words = SimpleQueue()
    link.words.put(None)
    return link


@pytest.mark.parametrize("attempts", [1, 3])
def test_work_of_a_worker_that_cannot_be_started_is_done_by_another(attempts: int) -> None:
    """And it gets no more of it meanwhile, since it would fail sooner than others work."""
    failing = threading.Event()

    def fails_later() -> NoReturn:
        assert failing.wait(10)
        fails()

    workers = Several(replace(SETTINGS, attempts=attempts), fails_later, Scripted)
    try:
        workers.wait_for_ready(1)
        ticket = ticket_of()
        workers._workers[0].submit(ticket)
        failing.set()
        assert ticket.result(10) == ANSWER
        assert ticket.attempts == 1, "it was begun once, so a result that is there is somebody's"
        for _ in range(3):
            assert workers.submit(WORK).result(10) == ANSWER
        first, second = workers.status()
        assert "cannot be started (Resource temporarily unavailable)" in first["fault"]
        assert (first["done"], second["done"]) == (0, 4)
    finally:
        workers.close()


@pytest.mark.parametrize("launch", [fails, dies])
@pytest.mark.parametrize("attempts", [1, 2])
def test_work_that_finds_no_worker_that_starts_fails_in_the_end(launch: Any, attempts: int) -> None:
    workers = Several(replace(SETTINGS, attempts=attempts), launch, launch)
    try:
        assert isinstance(workers.submit(WORK).exception(10), WorkerError)
    finally:
        workers.close()


def test_closing_waits_once_for_workers_that_do_not_end() -> None:
    hanging, ended = SimpleQueue[None](), threading.Event()

    def hang() -> None:
        hanging.put(None)
        ended.wait(30)

    def stubborn() -> Scripted:
        link = Scripted()
        link.on_close = hang
        return link

    workers = Several(SETTINGS, *[stubborn] * 4)
    try:
        workers.wait_for_ready(4)
        started = time.monotonic()
        workers.close()
        assert hanging.qsize() == 4
        assert time.monotonic() - started < 2 * END_SECONDS
    finally:
        ended.set()


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


class Idle:
    """A pool that takes all work and does none of it."""

    settings = SETTINGS

    def __init__(self) -> None:
        self.tickets: SimpleQueue[Ticket] = SimpleQueue()
        self.closed = False

    def size(self) -> int:
        return 2

    def room(self, *, urgent: bool) -> bool:  # noqa: ARG002
        return True

    def submit(self, work: Work, **_: object) -> Ticket:
        self.tickets.put(ticket := ticket_of(work))
        return ticket

    def close(self) -> None:
        self.closed = True


PICTURE = PixelWork("a", "b", (8, 8, 3), "u8", (16, 16))


@pytest.fixture
def spreading(monkeypatch: pytest.MonkeyPatch) -> tuple[spread.Spread, Idle]:
    """Workers that spread a picture, and the pool behind them."""
    monkeypatch.setattr(share.pixel_work, "read", lambda _: np.zeros((8, 8, 3), np.uint8))
    idle = Idle()
    return spread.Spread(lambda _: idle, pixels=1), idle  # type: ignore[arg-type, return-value]


def test_a_picture_that_is_stopped_before_its_model_is_loaded_loads_none(
    spreading: tuple[spread.Spread, Idle],
) -> None:
    workers, idle = spreading
    ticket = workers.submit(PICTURE)
    look = idle.tickets.get(timeout=10)
    assert isinstance(look.work, LookWork)
    ticket.stop()
    assert isinstance(ticket.exception(10), Cancelled)
    assert look.is_stopped


def test_pictures_are_stopped_and_workers_closed_where_there_are_no_more_threads(
    monkeypatch: pytest.MonkeyPatch, spreading: tuple[spread.Spread, Idle]
) -> None:
    workers, idle = spreading
    ticket = workers.submit(PICTURE)
    assert idle.tickets.get(timeout=10)
    monkeypatch.setattr(share.threading, "Timer", lambda *_: SimpleNamespace(start=refuse))
    workers.close()
    assert idle.closed
    assert isinstance(ticket.exception(10), Cancelled)


def test_a_spread_picture_for_which_memory_runs_out_says_so(
    monkeypatch: pytest.MonkeyPatch, spreading: tuple[spread.Spread, Idle]
) -> None:
    def scarce(_: object) -> NoReturn:
        raise MemoryError("Unable to allocate 99.9 GiB")

    monkeypatch.setattr(share.pixel_work, "read", scarce)
    workers, _ = spreading
    assert isinstance(workers.submit(PICTURE).exception(10), MemoryExhaustedError)
