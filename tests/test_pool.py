"""Several workers as one, scripted: what one cannot do another does, closing waits once, and pictures are spread."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from queue import SimpleQueue
from types import SimpleNamespace
from typing import Any, NoReturn

import numpy as np
import pytest

from liif_engine.errors import Cancelled, MemoryExhaustedError, WorkerError
from liif_engine.workers import PixelWork, ProcessWorkers, WorkerSettings, pool, share, spread
from liif_engine.workers.link import END_SECONDS
from liif_engine.workers.process import Worker
from liif_engine.workers.work import LookWork, Ticket, Work

from .scripted import ANSWER, SETTINGS, WORK, Scripted, refuse, ticket_of


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


def test_more_workers_than_a_cpu_can_use_are_not_started_and_that_is_said_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(pool.threads, "usable", lambda: 3)
    monkeypatch.setattr(
        pool, "Worker", lambda *arguments, **rest: Worker(*arguments, launch=lambda *_: Scripted(), **rest)
    )
    workers = ProcessWorkers(SETTINGS, count=99)
    try:
        for _ in range(9):  # each worker says what it is, and each piece of work ends with that too
            assert workers.submit(WORK).result(10) == ANSWER
        assert len(workers.status()) == 6
        assert caplog.text.count("99 workers are more than this machine's 3 cores can use: 6 it is") == 1
    finally:
        workers.close()
    assert pool.threads_for(99) == 1


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
