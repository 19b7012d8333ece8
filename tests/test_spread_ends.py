"""A picture that is spread comes to its end whatever hangs, lacks room or is not there."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import NoReturn

import numpy as np
import pytest

from liif_engine.errors import (
    BusyError,
    Cancelled,
    MemoryExhaustedError,
    TooLargeError,
    WorkerError,
)
from liif_engine.picture.tiles import Grid, Rect, tile
from liif_engine.target import Target
from liif_engine.workers import FileWork, PixelWork, Segment, WorkerSettings, share, spread
from liif_engine.workers.tiling import Tiles
from liif_engine.workers.work import Ticket

TESTS = str(Path(__file__).parent)


def test_a_tile_for_whose_result_there_is_no_room_leaves_no_shared_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Segment] = []
    create = Segment.create

    def scarce(size: int) -> Segment:
        if made:
            raise MemoryExhaustedError("scripted")
        made.append(create(size))
        return made[0]

    monkeypatch.setattr(Segment, "create", scarce)
    pixels, grid = np.zeros((8, 8, 3), np.uint8), Grid(8, 8, 16, 16, 0)
    work = [(pixels, np.empty((16, 16, 3), np.uint8), tile(grid, Rect(0, 8, 0, 8)))]
    with pytest.raises(MemoryExhaustedError):
        Tiles(SimpleNamespace(), grid, work, lambda _: None).run()  # type: ignore[arg-type]
    with pytest.raises(FileNotFoundError):
        Segment.attach(made[0].name, 1)


class TwoWorkers:
    """A pool that takes everything, and does nothing."""

    def __init__(self) -> None:
        self.given: list[FileWork] = []

    def size(self) -> int:
        return 2

    def room(self, *, urgent: bool) -> bool:
        return not urgent

    def submit(self, work: FileWork, **_: object) -> None:
        self.given.append(work)

    def close(self) -> None:
        pass


def test_a_file_system_that_hangs_does_not_hold_up_whoever_submits(monkeypatch: pytest.MonkeyPatch) -> None:
    """The service submits in the loop in which it answers everybody."""
    answers, told, workers = threading.Event(), list[str](), TwoWorkers()

    def hang(*_: object, **__: object) -> None:
        told.append("asked")
        answers.wait(30)
        told.append("answered")

    monkeypatch.setattr(spread, "plan", hang)
    monkeypatch.setattr(spread, "LOOK_SECONDS", 0.05)
    work = FileWork("old.jpg", "new.jpg", Target(scale=2))
    try:
        spread.Spread(lambda _: workers).submit(work)  # type: ignore[arg-type, return-value]
        assert (told, workers.given) == (["asked"], [work]), "one worker, which can be ended, gets it whole"
    finally:
        answers.set()


def test_a_huge_picture_for_which_there_is_no_thread_leaves_nothing_that_never_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(share.Share, "start", refuse)
    workers = spread.Spread(lambda _: TwoWorkers(), pixels=1)  # type: ignore[arg-type, return-value]
    with pytest.raises(RuntimeError, match="thread"):
        workers.submit(PixelWork("a", "b", (1, 1, 3), "u8", (2, 2)), urgent=False)
    workers.close()


def test_a_huge_picture_on_a_file_system_that_hangs_is_left_when_it_is_not_wanted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers = threading.Event()
    monkeypatch.setattr(share.file_work, "restore", lambda *_: answers.wait(60))
    for module in (share, spread):
        monkeypatch.setattr(module, "LEAVE_SECONDS", 0.05)
    workers = spread.Spread(lambda _: TwoWorkers())  # type: ignore[arg-type, return-value]
    try:
        ticket = workers.submit(FileWork("old.jpg", "new.jpg", Target(scale=2), result_pixels=100_000_000))
        ticket.stop()
        with pytest.raises(Cancelled):
            ticket.result(30)
        other = workers.submit(FileWork("old.jpg", "new.jpg", Target(scale=2), result_pixels=100_000_000))
        workers.close()
        with pytest.raises(Cancelled):
            other.result(30)
        assert not answers.is_set(), "nobody waited for it"
    finally:
        answers.set()


def test_workers_are_closed_as_soon_over_several_pictures_that_hang_as_over_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers = threading.Event()
    monkeypatch.setattr(share.file_work, "restore", lambda *_: answers.wait(60))
    monkeypatch.setattr(spread, "LEAVE_SECONDS", 1.0)
    workers = spread.Spread(lambda _: TwoWorkers())  # type: ignore[arg-type, return-value]
    huge = FileWork("old.jpg", "new.jpg", Target(scale=2), result_pixels=100_000_000)
    try:
        tickets = [workers.submit(huge) for _ in range(5)]
        started = time.monotonic()
        workers.close()
        assert time.monotonic() - started < 3
        assert [type(ticket.exception(0)) for ticket in tickets] == [Cancelled] * 5
        with pytest.raises(BusyError):
            workers.submit(huge)
    finally:
        answers.set()


def test_a_picture_is_answered_whatever_becomes_of_who_hears_that_there_is_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fault() -> NoReturn:
        raise RuntimeError("Event loop is closed")

    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    monkeypatch.setattr(share.file_work, "restore", lambda *_: fault())
    workers = spread.Spread(lambda _: TwoWorkers(), on_room=fault)  # type: ignore[arg-type, return-value]
    ticket = workers.submit(FileWork("old.jpg", "new.jpg", Target(scale=2), result_pixels=100_000_000))
    assert isinstance(ticket.exception(10), WorkerError)


def test_a_result_beyond_the_memory_that_was_set_is_refused_as_by_one_worker() -> None:
    settings = WorkerSettings(memory_bytes=1_000_000)
    held = SimpleNamespace(pool=SimpleNamespace(settings=settings))
    work = FileWork("old.jpg", "new.jpg", Target(scale=2))
    one = share.Share(held, work, Ticket(work, None, urgent=False))  # type: ignore[arg-type]
    one.check_memory(300, 400, 3)
    with pytest.raises(TooLargeError, match="1 MB are free"):
        one.check_memory(600, 400, 3)
