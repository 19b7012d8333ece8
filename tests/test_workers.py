"""Worker processes: equal results, urgent work first, and every kind of death."""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import wait
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
from PIL import Image

from liif_engine import Engine
from liif_engine.errors import (
    BusyError,
    Cancelled,
    InputError,
    LiifError,
    MemoryExhaustedError,
    ModelError,
    NonFiniteError,
    WorkerError,
)
from liif_engine.file import Outcome, restore_file
from liif_engine.network import checkpoint
from liif_engine.network.model import EdsrLiif
from liif_engine.picture.image_file import Metadata, Probe
from liif_engine.plan import Plan
from liif_engine.target import Target
from liif_engine.workers import (
    FileWork,
    PixelWork,
    ProcessWorkers,
    Segment,
    WorkerSettings,
    file_work,
    inside,
    pool,
    segment,
)
from liif_engine.workers.engines import Engines
from liif_engine.workers.messages import Do, Stop
from liif_engine.workers.pixel_work import DTYPES
from liif_engine.workers.stand_in import Copying
from liif_engine.workers.work import Ticket

from .conftest import picture, tiny_network

FAULTY = WorkerSettings(
    device="cpu", model="copy", engine="faults:Faulty", patience_seconds=1, slow_patience_seconds=30
)


class Bench:
    """Puts pixels into shared memory, has workers do something with them, and takes the result out."""

    def __init__(self, settings: WorkerSettings) -> None:
        self.workers = ProcessWorkers(settings)
        self.segments: list[Segment] = []

    def submit(self, pixels: Any, model: str, *, scale: int = 1, urgent: bool = False, **rest: Any) -> Ticket:
        height, width, channels = pixels.shape
        source, result = Segment.create(pixels.nbytes), Segment.create(pixels.nbytes * scale * scale)
        self.segments += [source, result]
        source.view[:] = pixels.tobytes()
        dtype = next(name for name, code in DTYPES.items() if np.dtype(code) == pixels.dtype)
        size = width * scale, height * scale
        work = PixelWork(source.name, result.name, (height, width, channels), dtype, size, model=model)
        return self.workers.submit(work, urgent=urgent, **rest)

    def restore(self, pixels: Any, model: str, *, scale: int = 1) -> Any:
        self.submit(pixels, model, scale=scale).result(60)
        height, width, channels = pixels.shape
        found = np.frombuffer(bytes(self.segments[-1].view), pixels.dtype)
        return found.reshape(height * scale, width * scale, channels)

    def close(self) -> None:
        self.workers.close()
        for one in self.segments:
            one.close()


@pytest.fixture
def faulty(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr(sys, "path", [*sys.path, str(Path(__file__).parent)])
    bench = Bench(FAULTY)
    yield bench
    bench.close()


PIXELS, SIZE = picture(5, 7), (7, 5)
FILE_WORK = FileWork("a", "b", Target(scale=1))
PROBE = Probe(format="PNG", width=5, height=7, layout="RGB", bits=8, frames=1, metadata=Metadata("PNG"))


def test_workers_give_what_the_engine_gives(tmp_path: Path, network: EdsrLiif) -> None:
    """Pixels of every kind and a file; one worker for all cases, since loading torch takes seconds."""
    model, source = tmp_path / "tiny.safetensors", tmp_path / "one.png"
    checkpoint.save(network, model, {})
    engine = Engine(model, device="cpu")
    bench = Bench(WorkerSettings(device="cpu", model=str(model)))
    try:
        for dtype in ("uint8", "uint16", "float32", "float16"):
            pixels = picture(24, 17, dtype="float32" if dtype == "float16" else dtype).astype(dtype)
            found = bench.restore(pixels, str(model), scale=2)
            wide = pixels.astype("float32") if dtype == "float16" else pixels
            assert np.array_equal(found, engine.restore(wide, scale=2).astype(dtype)), dtype

        Image.fromarray(picture(20, 31)).save(source)  # type: ignore[arg-type]
        work = FileWork(str(source), str(tmp_path / "x.part"), Target(scale=2), format="png", model=str(model))
        answer = bench.workers.submit(work).result(60)
        assert (answer.width, answer.height, answer.format) == (62, 40, "PNG")
        wanted = restore_file(engine, source, tmp_path / "wanted.png", target=Target(scale=2))
        assert answer.source_sha256 == wanted.source_sha256 == hashlib.sha256(source.read_bytes()).hexdigest()
        assert np.array_equal(Image.open(tmp_path / "x.part"), Image.open(tmp_path / "wanted.png"))
        missing = FileWork(str(tmp_path / "none.png"), None, Target(scale=2), model=str(model))
        with pytest.raises(InputError, match=r"none\.png"):
            bench.workers.submit(missing).result(60)
    finally:
        bench.close()


@pytest.mark.parametrize(
    ("fault", "kind", "words"),
    [
        ("crash", WorkerError, "SIGKILL, as the system does when memory runs out"),
        ("segv", WorkerError, "SIGSEGV"),
        ("exit", WorkerError, "exit code 3"),
        ("hang", WorkerError, "no sign of life"),
        ("memory", MemoryExhaustedError, "memory ran out"),
        ("refuse", NonFiniteError, "infinities"),
        ("bug", WorkerError, "ZeroDivisionError"),
        ("panic", WorkerError, "unexpected Panic: a library gave up"),
        ("end", WorkerError, "unexpected EOFError: no more frames"),
        ("pipe", WorkerError, "Broken pipe"),
        ("broken", WorkerError, "no such library"),
    ],
)
def test_a_fault_is_its_own_jobs_error_and_the_next_job_runs(
    faulty: Bench, fault: str, kind: type[LiifError], words: str
) -> None:
    ticket = faulty.submit(PIXELS, fault)
    error = ticket.exception(60)
    assert type(error) is kind
    assert words in str(error)
    assert error.remedy
    assert np.array_equal(faulty.restore(PIXELS, "copy"), PIXELS)


def test_a_model_of_the_settings_that_is_missing_fails_nobody_who_names_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path, str(Path(__file__).parent)])
    bench = Bench(replace(FAULTY, model="missing"))
    try:
        assert isinstance(bench.submit(PIXELS, "missing").exception(60), ModelError)
        assert np.array_equal(bench.restore(PIXELS, "copy"), PIXELS)
        assert bench.workers.status()[0]["restarts"] == 0
    finally:
        bench.close()


def test_a_process_that_cannot_start_and_does_not_end_either_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path, str(Path(__file__).parent)])
    stuck = Bench(replace(FAULTY, model="stuck"))
    try:
        error = stuck.submit(PIXELS, "copy").exception(60)
        assert isinstance(error, WorkerError)
        assert "no such library" in str(error)
    finally:
        stuck.close()


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


def test_floats_that_are_no_numbers_are_the_pictures_fault(faulty: Bench) -> None:
    pixels = picture(5, 7, dtype="float32")
    pixels[2, 3, 1] = np.nan
    assert isinstance(faulty.submit(pixels, "copy").exception(30), InputError)


def test_what_a_worker_says_while_it_loads_bears_its_pid(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path, str(Path(__file__).parent)])
    caplog.set_level(logging.INFO)
    bench = Bench(replace(FAULTY, log_level=logging.INFO))
    try:
        bench.restore(PIXELS, "copy")
        pid = bench.workers.status()[0]["pid"]
    finally:
        bench.close()
    assert {record.process for record in caplog.records if record.name == "faults"} == {pid}


def test_sigterm_is_left_to_the_server(faulty: Bench) -> None:
    faulty.restore(PIXELS, "copy")
    pid = faulty.workers.status()[0]["pid"]
    os.kill(pid, signal.SIGTERM)
    assert np.array_equal(faulty.restore(PIXELS, "copy"), PIXELS)
    assert faulty.workers.status()[0]["pid"] == pid


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


def test_a_worker_killed_from_outside_while_idle_is_replaced(faulty: Bench) -> None:
    faulty.restore(PIXELS, "copy")
    os.kill(faulty.workers.status()[0]["pid"], signal.SIGKILL)
    assert np.array_equal(faulty.restore(PIXELS, "copy"), PIXELS)


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


def test_the_least_recently_used_model_goes_first(tmp_path: Path) -> None:
    paths = [tmp_path / f"{name}.safetensors" for name in "abc"]
    for seed, path in enumerate(paths):
        checkpoint.save(tiny_network(seed), path, {})
    two = 2 * 2 * paths[0].stat().st_size + 100
    engines = Engines(WorkerSettings(model_bytes=two), "cpu")
    a, b, c = map(str, paths)
    first = engines.get(a, "fp32")
    engines.get(b, "fp32")
    assert engines.get(a, "fp32") is first, "loaded once"
    engines.get(c, "fp32")
    assert engines.names() == ("a", "c")
    checkpoint.save(tiny_network(9), paths[0], {"note": "another file of the same name"})
    assert engines.get(a, "fp32") is not first, "a replaced file is loaded anew"


def test_who_asks_what_is_loaded_may_do_so_while_models_come_and_go() -> None:
    """The service asks what works in its own process from the thread in which it answers everybody."""
    engines = Engines(WorkerSettings(engine="liif_engine.workers.stand_in:Copying"), "cpu")
    over = threading.Event()

    def load() -> None:
        for number in range(10_000):
            if over.is_set():
                return
            engines.get(f"copy{number % 50}", "fp32")
        over.set()

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    thread = threading.Thread(target=load)
    thread.start()
    try:
        while not over.is_set():
            engines.names()
    finally:
        over.set()
        thread.join(30)
        sys.setswitchinterval(before)


def test_shared_memory_that_is_closed_is_no_lack_of_room(monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(*_: object, **__: object) -> NoReturn:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(segment, "SharedMemory", closed)
    with pytest.raises(WorkerError, match=r"there is no shared memory \(Read-only file system\)"):
        Segment.create(1)


def test_a_segment_that_cannot_be_had_is_an_error_in_words() -> None:
    with pytest.raises(MemoryExhaustedError, match="shared memory"):
        Segment.create(1 << 50)


def test_more_workers_than_a_cpu_can_use_are_not_started(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(pool.threads, "usable", lambda: 3)
    assert [pool._bearable(wanted) for wanted in (1, 6, 7, 99)] == [1, 6, 6, 6]
    assert "99 workers are more than this machine's 3 cores can use: 6 it is" in caplog.text
    assert pool.threads_for(99) == 1
