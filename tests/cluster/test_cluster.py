"""Workers on a real Ray cluster of several nodes: the bytes of local ones, also when nodes die in the middle."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from liif_engine.archive.order import Order
from liif_engine.archive.restore import Archive
from liif_engine.crew import Crew
from liif_engine.errors import Cancelled, LiifError, OutputExistsError, WorkerError
from liif_engine.file import restore_file
from liif_engine.network import checkpoint
from liif_engine.target import Target
from liif_engine.workers import Answer, FileWork, PixelWork, WorkerSettings, start
from liif_engine.workers.freight import remove_left
from liif_engine.workers.segment import SHARED_FOLDER
from tests.archive.folders import draw, results
from tests.cluster.test_joining import COPYING
from tests.conftest import NODE, picture, tiny_network
from tests.test_spread import restore_pixels, submit, whole

pytestmark = pytest.mark.timeout(180)
TESTS = str(Path(__file__).parents[1])


def crew(cluster: Any) -> Crew:
    return Crew("ray", address=cluster.address)


def wait_until(happens: Callable[[], object]) -> None:
    pause = threading.Event()
    for _ in range(3000):
        if happens():
            return
        pause.wait(0.02)
    raise AssertionError("it did not happen")


def states(workers: Any) -> Counter[str]:
    return Counter(row["state"] for row in workers.status())


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    checkpoint.save(tiny_network(blocks=2), path, {})
    return str(path)


def test_the_real_network_gives_the_same_bytes_there(
    cluster: Any, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whole pixels, a whole file, and both spread over the nodes; the checkpoint travels."""
    monkeypatch.setattr(sys, "path", [*sys.path, TESTS])
    settings = WorkerSettings(device="cpu", model=model, engine="small_tiles:SmallTiles", log_level=logging.INFO)
    caplog.set_level(logging.INFO)
    source = tmp_path / "old.jpg"
    Image.fromarray(picture(50, 70)).save(source, quality=40)  # type: ignore[arg-type]
    handler = signal.signal(signal.SIGTERM, lambda *_: None)
    own = signal.getsignal(signal.SIGTERM)
    workers = start(crew(cluster), settings, spread_pixels=6_000)
    assert signal.getsignal(signal.SIGTERM) == own, "Ray leaves the command's own handler alone"
    signal.signal(signal.SIGTERM, handler)
    try:
        wait_until(lambda: states(workers)["idle"] >= 2)
        for dtype in ("uint8", "uint16", "float32"):
            small, large = picture(24, 17, dtype=dtype), picture(44, 51, 4, dtype=dtype)
            found = restore_pixels(workers, model, small, (34, 48))
            assert found.tobytes() == whole(model).restore(small, scale=2).tobytes()
            found = restore_pixels(workers, model, large, (102, 88))
            assert found.tobytes() == whole(model).restore(large, scale=2).tobytes()
        assert all(row["done"] for row in workers.status())
        for scale in (1, 2):
            target = Target(scale=scale)
            name = tmp_path / f"found{scale}.jpg"
            work = FileWork(str(source), str(name), target, model=model, job=f"job-{scale}")
            answer = workers.submit(work).result(60)
            restore_file(whole(model), source, tmp_path / f"wanted{scale}.jpg", target=target)
            assert answer.destination == work.destination
            assert name.read_bytes() == (tmp_path / f"wanted{scale}.jpg").read_bytes()
            there = [record for record in caplog.records if getattr(record, "job", "") == f"job-{scale}"]
            assert {record.process for record in there} - {os.getpid()}, "its name is in the log of the worker"
    finally:
        workers.close()


def test_a_node_that_is_killed_loses_no_file_and_doubles_none(
    cluster: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "old"
    broken = set()
    for number in range(60):
        path = draw(source / f"{number:02}.jpg", number, 60, 40)
        if number % 20 == 7:
            path.write_bytes(path.read_bytes()[:150])
            broken.add(path.name)
    ended: Counter[str] = Counter()
    nodes = [cluster.add_node(num_cpus=1, **NODE)]

    def on_end(relative: Path, _: Answer | None, __: LiifError | None) -> None:
        ended[relative.name] += 1
        if len(ended) == 20:
            cluster.remove_node(nodes.pop(), allow_graceful=False)

    with Archive(Order(source, tmp_path / "new", Target(scale=2), model="copy"), on_end) as archive:
        archive.run(crew(cluster), COPYING)
    assert not nodes
    assert set(ended.values()) == {1}
    assert len(ended) == 60
    assert {path.name for path, _ in archive.summary.failures} == broken
    with Archive(Order(source, tmp_path / "local", Target(scale=2), model="copy")) as local:
        local.run(Crew("processes", 1), COPYING)
    assert results(tmp_path / "new") == results(tmp_path / "local")
    assert len(results(tmp_path / "new")) == 60 - len(broken)
    assert capfd.readouterr().out == "", "stdout is for --json alone"


def test_a_hanging_worker_is_ended(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path, TESTS])
    settings = WorkerSettings(device="cpu", model="copy", engine="faults:Faulty", patience_seconds=1)
    workers = start(crew(cluster), settings)
    try:
        assert "no sign of life" in str(submit(workers, "hang", 20).exception(120))
    finally:
        workers.close()


def left_by(workers: Any) -> list[Path]:
    """What lies on the disk and in shared memory of the pictures that workers were sent, whose nodes are all here."""
    folders = Path(tempfile.gettempdir()), SHARED_FOLDER
    return [path for folder in folders for path in folder.glob(f"liif-restore-{workers.pool._run}-*")]


def test_no_picture_stays_with_a_worker_that_died_or_was_ended(
    cluster: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path, TESTS])
    source, begun = draw(tmp_path / "a.jpg", 1), threading.Event()
    workers = start(crew(cluster), WorkerSettings(device="cpu", model="copy", engine="faults:Faulty"))

    try:
        crashes = FileWork(str(source), str(tmp_path / "b.jpg"), Target(scale=2), model="crash")
        assert isinstance(workers.submit(crashes).exception(120), WorkerError)
        assert isinstance(submit(workers, "crash", 20).exception(120), WorkerError)
        wait_until(lambda: states(workers)["idle"] >= 2)
        assert left_by(workers) == []
        slow = FileWork(str(source), str(tmp_path / "c.jpg"), Target(scale=2), model="slow:60")
        workers.submit(slow, on_progress=lambda share: begun.set() if share > 0.05 else None)
        assert begun.wait(60)
        assert [path.name for path in left_by(workers)[0].iterdir()] == ["picture"]
        begun.clear()
        submit(workers, "slow:60", 20, lambda share: begun.set() if share > 0.05 else None)
        assert begun.wait(60)
        assert len(left_by(workers)) == 3, "the folder, pixels and room for their result"
    finally:
        workers.close()
    assert left_by(workers) == []


@pytest.mark.skipif(not SHARED_FOLDER.exists(), reason="shared memory has no files here; it has on Linux")
def test_what_a_worker_left_that_was_killed_with_what_tidies_up_after_it_is_found_by_its_name() -> None:
    prefix = f"liif-restore-test{os.getpid()}-"
    code = f"""
import os, signal
from multiprocessing import resource_tracker
from liif_engine.workers import PixelWork
from liif_engine.workers.freight import Freight, unpacked
work = PixelWork("there", "back", (5, 7, 3), "u8", (10, 14))
with unpacked(Freight(work, bytes(105), 420), {prefix!r}):
    os.kill(resource_tracker._resource_tracker._pid, signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert sorted(path.stat().st_size for path in SHARED_FOLDER.glob(f"{prefix}*")) == [105, 420]
    remove_left(prefix)
    assert list(SHARED_FOLDER.glob(f"{prefix}*")) == []


def test_a_model_that_is_missing_is_said(cluster: Any) -> None:
    workers = start(crew(cluster), WorkerSettings(device="cpu", model="none"))
    try:
        error = workers.submit(FileWork("a.jpg", "b.jpg", Target(scale=2), model="none")).exception(60)
        assert isinstance(error, LiifError)
    finally:
        workers.close()


@pytest.fixture(scope="module")
def faulty(cluster: Any) -> Iterator[Any]:
    """Workers that fail on purpose, spreading what has 10,000 pixels; they have both nodes until the module ends."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [*sys.path, TESTS])
        settings = WorkerSettings(device="cpu", model="copy", engine="faults:Faulty", patience_seconds=20)
        workers = start(crew(cluster), settings, spread_pixels=10_000)
        wait_until(lambda: states(workers)["idle"] >= 2)
        yield workers
        workers.close()


def test_work_of_a_node_that_dies_is_done_by_another(cluster: Any, faulty: Any) -> None:
    before = 2
    wait_until(lambda: len(faulty.status()) == before)
    node = cluster.add_node(num_cpus=1, **NODE)
    wait_until(lambda: states(faulty)["idle"] == before + 1)  # a node that comes is used
    begun = Counter[int]()

    def advance(number: int) -> Callable[[float], None]:
        return lambda share: begun.update([number]) if share > 0.05 else None

    tickets = [submit(faulty, "slow:3", 20, advance(number)) for number in range(before + 1)]
    wait_until(lambda: len(begun) == before + 1)
    lost = faulty.lost
    cluster.remove_node(node, allow_graceful=False)
    assert all(ticket.result(120).width == 40 for ticket in tickets)
    assert faulty.lost == lost + 1
    wait_until(lambda: len(faulty.status()) == before)
    for path in left_by(faulty):  # nobody tidies up on a node that has gone, but here it is this machine
        path.unlink()


def test_a_picture_that_kills_every_worker_is_given_up(faulty: Any) -> None:
    lost = faulty.lost
    error = submit(faulty, "crash", 20).exception(120)
    assert isinstance(error, WorkerError)
    assert faulty.lost == lost + 2
    assert submit(faulty, "copy", 20).result(60).width == 40


def test_a_person_goes_ahead_and_work_stops_where_it_is(faulty: Any) -> None:
    begun = threading.Event()
    slow = [submit(faulty, "slow:60", 20, lambda share: share > 0 and begun.set()) for _ in faulty.status()]
    assert begun.wait(30)
    assert not faulty.room(urgent=False)
    assert submit(faulty, "copy", 20, urgent=True).result(30).width == 40
    for ticket in slow:
        ticket.stop()
    assert all(isinstance(ticket.exception(30), Cancelled) for ticket in slow)


def test_pixels_that_have_gone_before_they_went_on_their_way_cost_no_worker(faulty: Any) -> None:
    """As those of a tile whose picture was cancelled while the way was busy."""
    before = [row["restarts"] for row in faulty.status()]
    work = PixelWork("liif-gone", "liif-gone", (5, 7, 3), "u8", (7, 5), model="copy")
    assert "liif-gone" in str(faulty.submit(work).exception(60))
    assert submit(faulty, "copy", 20).result(60).width == 40
    assert [row["restarts"] for row in faulty.status()] == before


def test_errors_name_the_file_of_this_machine_and_nothing_is_overwritten(faulty: Any, tmp_path: Path) -> None:
    source = draw(tmp_path / "a.jpg", 1)
    taken = draw(tmp_path / "b.jpg", 2)
    before = taken.read_bytes()
    error = faulty.submit(FileWork(str(source), str(taken), Target(scale=2), model="copy")).exception(60)
    assert isinstance(error, OutputExistsError)
    assert {row["device"] for row in faulty.status()} == {"cpu"}, "it never went on its way, and told nothing new"
    cut = tmp_path / "cut.jpg"
    cut.write_bytes(source.read_bytes()[:-100])
    work = FileWork(str(cut), str(tmp_path / "c.jpg"), Target(scale=2), model="copy")
    assert str(cut) in str(faulty.submit(work).exception(60))
    assert taken.read_bytes() == before
    assert not (tmp_path / "c.jpg").exists()
