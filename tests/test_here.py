"""Work in this process: as a worker's, one picture at a time; other files meanwhile where the CPU does not compute."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
import torch

from liif_engine import Engine, file, memory
from liif_engine.archive.order import Order
from liif_engine.archive.restore import Archive
from liif_engine.crew import Crew
from liif_engine.errors import BusyError, Cancelled, InputError
from liif_engine.network import checkpoint
from liif_engine.network.waits import waiting
from liif_engine.target import Target
from liif_engine.workers import FileWork, HereWorkers, WorkerSettings, file_work, here
from liif_engine.workers.work import Ticket
from tests.archive.folders import draw, results

from .conftest import picture, tiny_network
from .test_spread import restore_pixels, submit

TESTS = str(Path(__file__).parent)
ELSEWHERE = WorkerSettings(device="cpu", model="copy", engine="faults:Elsewhere")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    checkpoint.save(tiny_network(blocks=2), path, {})
    return str(path)


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The class of an engine on another device, whose gate is open."""
    monkeypatch.setattr(sys, "path", [*sys.path, TESTS])
    from faults import Elsewhere

    Elsewhere.gate.set()
    Elsewhere.computing = Elsewhere.most = 0
    yield Elsewhere
    Elsewhere.gate.set()


def work_on(folder: Path, name: str, held: int = 10_000, side: int = 20) -> FileWork:
    source = draw(folder / f"{name}.png", seed=len(name), width=side, height=side)
    return FileWork(str(source), str(folder / f"{name}-2x.png"), Target(scale=2), held_bytes=held, model="copy")


def wait_for_room(workers: HereWorkers) -> None:
    waited = threading.Event()
    while not workers.room(urgent=False):
        waited.wait(0.01)


@pytest.mark.timeout(60)
def test_files_are_read_while_another_one_is_computed(
    elsewhere: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    read: list[str] = []
    seen, plain_read = threading.Semaphore(0), file.read

    def noted(engine: Any, planned: Any, **rest: Any) -> Any:
        found = plain_read(engine, planned, **rest)
        read.append(planned.source.stem)
        seen.release()
        return found

    monkeypatch.setattr(file, "read", noted)
    elsewhere.gate.clear()
    workers = HereWorkers(ELSEWHERE)
    try:
        tickets = [workers.submit(work_on(tmp_path, "a"))]
        for name in ("b", "c"):
            wait_for_room(workers)  # from when it is known where pictures are computed
            tickets.append(workers.submit(work_on(tmp_path, name)))
        for _ in range(3):
            assert seen.acquire(timeout=30)
        assert not any(ticket.done() for ticket in tickets)
        elsewhere.gate.set()
        assert [ticket.result(30).width for ticket in tickets] == [40, 40, 40]
        assert sorted(read) == ["a", "b", "c"]
        assert elsewhere.most == 1
        assert workers.status()[0]["done"] == 3
    finally:
        workers.close()


@pytest.mark.timeout(60)
@pytest.mark.parametrize("held", [0, 2 << 30])
def test_what_is_large_or_was_not_counted_goes_alone(elsewhere: Any, tmp_path: Path, held: int) -> None:
    elsewhere.gate.clear()
    workers = HereWorkers(ELSEWHERE)
    try:
        first = workers.submit(work_on(tmp_path, "a"))
        wait_for_room(workers)
        with pytest.raises(BusyError):
            workers.submit(work_on(tmp_path, "b", held))
        elsewhere.gate.set()
        assert first.result(30).width == 40
        assert workers.submit(work_on(tmp_path, "b", held)).result(30).width == 40
    finally:
        workers.close()


@pytest.mark.timeout(60)
def test_what_lacks_memory_beside_others_is_done_when_they_are_over(elsewhere: Any, tmp_path: Path) -> None:
    elsewhere.gate.clear()
    workers = HereWorkers(replace(ELSEWHERE, model="narrow"))
    try:
        tickets = [workers.submit(replace(work_on(tmp_path, "a"), model="narrow"))]
        wait_for_room(workers)
        while not elsewhere.computing:
            threading.Event().wait(0.01)
        starved = [replace(work_on(tmp_path, name), model="narrow") for name in ("b", "c")]
        tickets.append(workers.submit(starved[0]))
        while workers.room(urgent=False):  # until that has found no memory
            threading.Event().wait(0.01)
        with pytest.raises(BusyError):
            workers.submit(starved[1])
        elsewhere.gate.set()
        assert [ticket.result(30).width for ticket in tickets] == [40, 40]
        wait_for_room(workers)
        assert workers.submit(starved[1]).result(30).width == 40
    finally:
        workers.close()


@pytest.mark.timeout(60)
def test_a_folder_of_files_that_lack_memory_beside_each_other_is_restored_whole(elsewhere: Any, tmp_path: Path) -> None:
    for seed in range(30):
        draw(tmp_path / "old" / f"{seed}.png", seed)
    with Archive(Order(tmp_path / "old", tmp_path / "new", Target(scale=2), model="narrow")) as archive:
        archive.run(Crew("here"), replace(ELSEWHERE, model="narrow"))
    assert (archive.summary.restored, archive.summary.failures) == (30, [])
    assert elsewhere.most == 1


@pytest.mark.timeout(60)
def test_where_the_cpu_computes_it_does_one_file_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path, TESTS])
    workers = HereWorkers(WorkerSettings(device="cpu", model="copy", engine="faults:Faulty"))
    try:
        ticket = begin(workers)
        assert not workers.room(urgent=False)
        ticket.stop()
        assert isinstance(ticket.exception(30), Cancelled)
    finally:
        workers.close()


@pytest.mark.timeout(60)
def test_a_folder_by_files_at_once_is_that_by_one_after_the_other(
    elsewhere: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for seed in range(12):
        draw(tmp_path / "old" / f"{seed}.png", seed, width=20 + seed)
    (tmp_path / "old" / "broken.png").write_bytes(b"no picture")

    def restored(name: str) -> dict[str, bytes]:
        order = Order(tmp_path / "old", tmp_path / name, Target(scale=2), model="copy")
        with Archive(order) as archive:
            archive.run(Crew("here"), ELSEWHERE)
        assert (archive.summary.restored, len(archive.summary.failures)) == (12, 1)
        return results(tmp_path / name)

    at_once = restored("at once")
    monkeypatch.setattr(memory, "WAITING_BYTES", 0)
    assert restored("in turn") == at_once
    assert elsewhere.most == 1


@pytest.mark.timeout(60)
@pytest.mark.parametrize(("side", "together"), [(20, 2), (600, 1)])
def test_while_a_small_picture_is_waited_for_the_next_is_launched(
    elsewhere: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, side: int, together: int
) -> None:
    waits, seen, plain_read = threading.Semaphore(0), threading.Semaphore(0), file.read
    counted, most = 0, 0

    def noted(*given: Any, **rest: Any) -> Any:
        found = plain_read(*given, **rest)
        seen.release()
        return found

    monkeypatch.setattr(file, "read", noted)

    def waiting_for_it() -> None:
        nonlocal counted, most
        with waiting():
            counted += 1
            most = max(most, counted)
            waits.release()
            assert elsewhere.gate.wait(30)
            counted -= 1

    monkeypatch.setattr(elsewhere, "wait", staticmethod(waiting_for_it))
    elsewhere.gate.clear()
    workers = HereWorkers(ELSEWHERE)
    try:
        tickets = [workers.submit(work_on(tmp_path, "a", side=side))]
        wait_for_room(workers)
        tickets.append(workers.submit(work_on(tmp_path, "bc", side=side)))
        assert all(seen.acquire(timeout=30) for _ in tickets)
        assert all(waits.acquire(timeout=30) for _ in range(together))
        threading.Event().wait(0.2)  # in which one too many would come
        elsewhere.gate.set()
        assert [ticket.result(30).width for ticket in tickets] == [2 * side] * 2
        assert most == together
    finally:
        workers.close()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU, which is what small pictures share")
def test_small_pictures_that_share_a_gpu_have_the_bytes_of_one_by_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for seed in range(60):  # more often than graphs are recorded, of two sizes in turn
        draw(tmp_path / "old" / f"{seed}.png", seed, width=80 + 16 * (seed % 2), height=70)

    def restored(name: str, at_once: int) -> dict[str, bytes]:
        monkeypatch.setattr(here, "FILES_AT_ONCE", at_once)
        with Archive(Order(tmp_path / "old", tmp_path / name, Target(scale=2), model="web")) as archive:
            archive.run(Crew("here"), WorkerSettings(device="cuda", model="web"))
        assert (archive.summary.restored, archive.summary.failures) == (60, [])
        return results(tmp_path / name)

    assert restored("at once", 4) == restored("in turn", 1)


@pytest.mark.timeout(60)
def test_closing_stops_all_files_and_leaves_nothing_half_written(elsewhere: Any, tmp_path: Path) -> None:
    elsewhere.gate.clear()
    workers = HereWorkers(ELSEWHERE)
    tickets = [workers.submit(work_on(tmp_path, "a"))]
    wait_for_room(workers)
    tickets.append(workers.submit(work_on(tmp_path, "b")))
    threading.Timer(0.2, elsewhere.gate.set).start()
    workers.close()
    assert all(isinstance(ticket.exception(30), Cancelled) for ticket in tickets)
    assert {path.name for path in tmp_path.iterdir()} == {"a.png", "b.png"}


@pytest.mark.timeout(60)
def test_the_end_of_a_file_is_not_waited_for_by_the_clock(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path, TESTS])
    monkeypatch.setattr(file_work, "LOOK_SECONDS", 3600)
    workers = HereWorkers(WorkerSettings(device="cpu", model="copy", engine="faults:Faulty"))
    try:
        assert workers.submit(work_on(tmp_path, "a")).result(30).width == 40
    finally:
        workers.close()


def test_work_here_is_that_of_a_worker_process(model: str, tmp_path: Path) -> None:
    workers = HereWorkers(WorkerSettings(device="cpu", model=model))
    try:
        pixels = picture(24, 17)
        found = restore_pixels(workers, model, pixels, (34, 48))
        assert np.array_equal(found, Engine(model, device="cpu").restore(pixels, scale=2))
        missing = FileWork(str(tmp_path / "none.png"), None, Target(scale=2), model=model)
        assert "none.png" in str(workers.submit(missing).exception(30))
        assert workers.status()[0]["models"] == ["tiny"]
    finally:
        workers.close()


def test_work_in_this_process_that_finds_no_thread_leaves_room_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path, str(Path(__file__).parent)])
    workers = HereWorkers(WorkerSettings(device="cpu", model="copy", engine="faults:Faulty"))
    work = FileWork("none.png", None, Target(scale=1), model="copy")

    def refuse(_: threading.Thread) -> NoReturn:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as context:
        context.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError):
            workers.submit(work)
    assert workers.room(urgent=False)
    with pytest.raises(InputError, match=r"none\.png"):
        workers.submit(work).result(60)
    workers.close()


def test_a_librarys_panic_in_this_process_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path, TESTS])
    workers = HereWorkers(WorkerSettings(device="cpu", model="copy", engine="faults:Faulty"))
    try:
        assert "unexpected Panic: a library gave up" in str(submit(workers, "panic", 8).exception(30))
        assert submit(workers, "copy", 8).result(30).width == 16
    finally:
        workers.close()


def begin(workers: HereWorkers) -> Ticket:
    """Long work that has begun."""
    begun = threading.Event()
    ticket: Ticket = submit(workers, "slow:60", 8, lambda share: share > 0 and begun.set())
    assert begun.wait(30)
    return ticket


def test_what_is_stopped_here_ends_and_the_next_one_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path, TESTS])
    workers = HereWorkers(WorkerSettings(device="cpu", model="copy", engine="faults:Faulty"))
    try:
        ticket = begin(workers)
        ticket.stop()
        assert isinstance(ticket.exception(30), Cancelled)
        assert submit(workers, "copy", 8).result(30).width == 16
        ticket = begin(workers)
    finally:
        workers.close()
    assert isinstance(ticket.exception(30), Cancelled)
