"""Work that is stopped, urgent work that goes ahead of it, and workers that are closed or released."""

from __future__ import annotations

import logging
import sys
import threading
from concurrent.futures import wait
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest

from liif_engine.errors import BusyError, Cancelled, WorkerError
from liif_engine.file import Outcome
from liif_engine.picture.image_file import Metadata, Probe
from liif_engine.plan import Plan
from liif_engine.target import Target
from liif_engine.workers import FileWork, WorkerSettings, file_work, inside
from liif_engine.workers.messages import Do, Stop
from liif_engine.workers.stand_in import Copying

from .benches import FAULTY, PIXELS, SIZE, Bench, faulty

__all__ = ["faulty"]  # a fixture


FILE_WORK = FileWork("a", "b", Target(scale=1))
PROBE = Probe(format="PNG", width=5, height=7, layout="RGB", bits=8, frames=1, metadata=Metadata("PNG"))


def test_urgent_work_goes_ahead_and_the_rest_is_completed(faulty: Bench) -> None:
    ended: list[str] = []
    begun = threading.Event()
    slow = faulty.submit(PIXELS, "slow:1", on_progress=lambda _: begun.set())
    slow.add_done_callback(lambda _: ended.append("slow"))
    assert begun.wait(30)
    assert not faulty.workers.room(urgent=False)
    urgent = faulty.submit(PIXELS, "slow:1", urgent=True)
    urgent.add_done_callback(lambda _: ended.append("urgent"))
    assert not faulty.workers.room(urgent=True), "a person does not interrupt a person"
    with pytest.raises(BusyError):
        faulty.submit(PIXELS, "copy", urgent=True)
    wait([slow, urgent], 30)
    assert ended == ["urgent", "slow"]


def test_a_crash_amid_urgent_work_spares_what_waited_behind_it(faulty: Bench) -> None:
    begun = threading.Event()
    slow = faulty.submit(PIXELS, "slow:1", on_progress=lambda _: begun.set())
    assert begun.wait(30)
    urgent = faulty.submit(PIXELS, "crash", urgent=True)
    assert isinstance(urgent.exception(30), WorkerError)
    assert slow.result(30).model == "slow:1"
    assert faulty.workers.status()[0]["restarts"] == 1


def test_suspended_work_is_cancelled_at_once_and_the_next_one_runs(faulty: Bench) -> None:
    begun, amid = threading.Event(), threading.Event()
    slow = faulty.submit(PIXELS, "slow:60", on_progress=lambda _: begun.set())
    assert begun.wait(30)
    urgent = faulty.submit(PIXELS, "slow:1", urgent=True, on_progress=lambda _: amid.set())
    assert amid.wait(30)
    slow.stop()
    with pytest.raises(Cancelled):
        slow.result(0.5)
    assert not urgent.done()
    assert urgent.result(30).model == "slow:1"
    assert np.array_equal(faulty.restore(PIXELS, "copy"), PIXELS)


def test_a_person_goes_ahead_while_a_file_is_read_or_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """The slow disk is faked: reading ends only after the worker has looked for messages, and so does writing."""
    looks: list[str] = []
    looked = threading.Event()
    phase = "reading"

    def slow_disk(engine: Any, *_: Any, on_progress: Any, **__: Any) -> Outcome:
        nonlocal phase
        for phase in ("reading", "writing"):
            looked.clear()
            assert looked.wait(30)
            if phase == "reading":
                assert engine.restore(PIXELS, size=SIZE, on_progress=on_progress) is not None
        return Outcome(Plan(Path("a"), Path("b"), "PNG", PROBE, 5, 7), "copy", "fp32", 0.1)

    def look() -> None:
        looks.append(phase)
        looked.set()

    shares: list[float] = []
    monkeypatch.setattr(file_work, "restore_file", slow_disk)
    answer = file_work.run(Copying(), FILE_WORK, on_progress=shares.append, look=look)
    assert {"reading", "writing"} <= set(looks)
    assert (answer.width, answer.destination, shares[-1]) == (5, "b", 1.0)


def test_a_file_whose_work_is_stopped_while_it_is_read_is_not_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    stopped = threading.Event()

    def slow_disk(engine: Any, *_: Any, **__: Any) -> Any:
        assert stopped.wait(30)
        engine.restore(PIXELS, size=SIZE)
        raise AssertionError("it was computed")

    def look() -> None:
        stopped.set()
        raise Cancelled("stopped")

    monkeypatch.setattr(file_work, "restore_file", slow_disk)
    with pytest.raises(Cancelled):
        file_work.run(Copying(), FILE_WORK, on_progress=lambda _: None, look=look)


def test_work_that_is_stopped_amid_a_file_system_that_hangs_is_left_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes after it is not held up, and it computes nothing when the file system answers after all."""
    answers, ended = threading.Event(), threading.Event()

    def hangs(engine: Any, *_: Any, **__: Any) -> Any:
        assert answers.wait(30)
        try:
            engine.restore(PIXELS, size=SIZE)
        finally:
            ended.set()

    def look() -> None:
        raise Cancelled("stopped")

    monkeypatch.setattr(file_work, "restore_file", hangs)
    monkeypatch.setattr(file_work, "LEAVE_SECONDS", 0.1)
    with pytest.raises(Cancelled):
        file_work.run(Copying(), FILE_WORK, on_progress=lambda _: None, look=look)
    assert not ended.is_set()
    answers.set()
    assert ended.wait(30)


def test_work_stops_where_it_is(faulty: Bench) -> None:
    before_the_worker_is_ready = faulty.submit(PIXELS, "slow:60")
    before_the_worker_is_ready.stop()
    with pytest.raises(Cancelled):
        before_the_worker_is_ready.result(30)
    begun = threading.Event()
    running = faulty.submit(PIXELS, "slow:60", on_progress=lambda _: begun.set())
    assert begun.wait(30)
    running.stop()
    with pytest.raises(Cancelled):
        running.result(5)
    assert faulty.workers.room(urgent=False)


def test_a_stop_that_comes_after_the_end_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    messages: list[Any] = [Do(1, FILE_WORK, urgent=False), Stop(1), Stop(2), Do(2, FILE_WORK, urgent=False)]
    done: list[tuple[int, set[int]]] = []

    class Mouth:
        """Says one after the other, and then that the server has gone."""

        def send(self, _: Any, /) -> None:
            pass

        def recv(self) -> Any:
            if not messages:
                raise EOFError
            return messages.pop(0)

        def poll(self) -> bool:
            return False

    def work(self: inside.Inside, do: Do) -> NoReturn:
        done.append((do.number, set(self.stopped)))
        raise Cancelled("stopped")

    monkeypatch.setattr(logging, "basicConfig", lambda **_: None)
    monkeypatch.setattr(inside.Inside, "report", lambda _: None)
    monkeypatch.setattr(inside.Inside, "_work", work)
    worker = inside.Inside(Mouth(), WorkerSettings(device="cpu"), "cpu")
    with pytest.raises(EOFError):
        worker.serve()
    assert done == [(1, set()), (2, set())]
    assert worker.stopped == set()


def test_what_was_stopped_is_not_begun_again_when_its_worker_dies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither what was at work, in a worker that hangs and does not hear of it, nor what waited behind that."""
    monkeypatch.setattr(sys, "path", [*sys.path, str(Path(__file__).parent)])
    bench, begun = Bench(replace(FAULTY, attempts=2)), threading.Event()
    try:
        hangs = bench.submit(PIXELS, "hang", on_progress=lambda _: begun.set())
        assert begun.wait(30)
        waits = bench.submit(PIXELS, "slow:60", urgent=True)
        hangs.stop()
        waits.stop()
        assert [type(ticket.exception(30)) for ticket in (hangs, waits)] == [Cancelled, Cancelled]
        assert bench.workers.lost == 0
        assert np.array_equal(bench.restore(PIXELS, "copy"), PIXELS)
    finally:
        bench.close()


def test_closing_ends_what_runs(faulty: Bench) -> None:
    begun = threading.Event()
    running = faulty.submit(PIXELS, "slow:60", on_progress=lambda _: begun.set())
    assert begun.wait(30)
    faulty.workers.close()
    with pytest.raises(Cancelled):
        running.result(5)
    with pytest.raises(BusyError):
        faulty.submit(PIXELS, "copy")


def test_an_idle_worker_is_released_and_comes_back() -> None:
    copying = "liif_engine.workers.stand_in:Copying"
    bench = Bench(WorkerSettings(device="cpu", engine=copying, release_after_seconds=0.1))
    try:
        bench.restore(PIXELS, "copy")
        released = threading.Event()
        while bench.workers.status()[0]["state"] != "released":
            released.wait(0.05)
        row = bench.workers.status()[0]
        assert row["memory_bytes"] == 0
        assert row["restarts"] == 0
        assert np.array_equal(bench.restore(PIXELS, "copy"), PIXELS)
    finally:
        bench.close()
