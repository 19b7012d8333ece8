"""Worker processes: equal results, every kind of death, the models that they keep, and shared memory."""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import signal
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
from PIL import Image

from liif_engine import Engine
from liif_engine.errors import InputError, LiifError, MemoryExhaustedError, ModelError, NonFiniteError, WorkerError
from liif_engine.file import restore_file
from liif_engine.network import checkpoint
from liif_engine.network.model import EdsrLiif
from liif_engine.target import Target
from liif_engine.workers import FileWork, Segment, WorkerSettings, segment
from liif_engine.workers.engines import Engines

from .benches import FAULTY, PIXELS, Bench, faulty
from .conftest import picture, tiny_network

__all__ = ["faulty"]  # a fixture


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


def test_a_worker_killed_from_outside_while_idle_is_replaced(faulty: Bench) -> None:
    faulty.restore(PIXELS, "copy")
    os.kill(faulty.workers.status()[0]["pid"], signal.SIGKILL)
    assert np.array_equal(faulty.restore(PIXELS, "copy"), PIXELS)


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
