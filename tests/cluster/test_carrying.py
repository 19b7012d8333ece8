"""What of a cluster's work is done on this machine, where a file system may hang: on a cluster that is played."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Empty, SimpleQueue
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest

from liif_engine.errors import Cancelled, WorkerError
from liif_engine.target import Target
from liif_engine.workers import FileWork, WorkerSettings, actor_link, cluster, freight
from liif_engine.workers.actor import Brought
from liif_engine.workers.actor_link import ActorLink, Models, Slot
from liif_engine.workers.messages import Begun, Ended, Progress, Ready, Report
from liif_engine.workers.process import Worker
from liif_engine.workers.work import Answer, LookWork, Ticket, Work
from tests.archive.folders import draw

SETTINGS = WorkerSettings(device="cpu", model="copy", patience_seconds=1, slow_patience_seconds=60)
ANSWER = Answer("copy", "fp32", "cpu", 0.0, 2, 2)


class RayError(Exception):
    """As Ray's."""


class Ray:
    """As much of the library as a link uses, with one actor, which does at once whatever is asked."""

    exceptions = SimpleNamespace(RayError=RayError)

    def __init__(self) -> None:
        strategies = SimpleNamespace(NodeAffinitySchedulingStrategy=lambda *_, **__: None)
        self.util = SimpleNamespace(scheduling_strategies=strategies)
        self.said: SimpleQueue[list[Any] | RayError] = SimpleQueue()
        self.said.put([(Ready(Report()), b"")])
        self.told: list[Any] = []
        self.dies = False
        self._heard: list[Any] | RayError | None = None

    def remote(self, **_: object) -> Callable[[object], Any]:
        return lambda _: SimpleNamespace(remote=lambda *_: self)

    def __getattr__(self, name: str) -> Any:
        """A method of the actor."""
        call = {"tell": self._tell}.get(name, lambda *_: name)
        return SimpleNamespace(options=lambda **_: SimpleNamespace(remote=call))

    def wait(self, _: object, timeout: float) -> tuple[list[Any], list[Any]]:
        if not isinstance(self._heard, RayError):
            try:
                self._heard = self.said.get(timeout=timeout)
            except Empty:
                return [], [None]
        return [None], []

    def get(self, _: object) -> list[Any]:
        assert self._heard is not None
        if isinstance(self._heard, RayError):
            raise self._heard
        return self._heard

    def put(self, one: object) -> object:
        return one

    def kill(self, _: object) -> None:
        self.said.put(RayError("killed"))

    def nodes(self) -> list[Any]:
        return [{"NodeID": "node", "Alive": True, "Resources": {"CPU": 1.0}}]

    def _tell(self, message: Any) -> None:
        self.told.append(message)
        if isinstance(message, Brought):
            number = message.do.number
            ended = Ended(number, Report(), ANSWER), b"the result"
            self.said.put([(Begun(number), b""), (Progress(number, 1.0), b""), ended])
            if self.dies:
                self.said.put(RayError("the node has gone"))


class Disk:
    """A file system that hangs until it is told to answer."""

    def __init__(self) -> None:
        self.asked, self.answers = threading.Event(), threading.Event()

    def before(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """What is called, for files, after the file system answers."""

        def later(*arguments: Any, **rest: Any) -> Any:
            if isinstance(arguments[0], FileWork | Path):
                self.asked.set()
                assert self.answers.wait(30)
            return call(*arguments, **rest)

        return later


@pytest.fixture
def disk() -> Iterator[Disk]:
    made = Disk()
    yield made
    made.answers.set()


@pytest.fixture
def ray() -> Ray:
    return Ray()


@pytest.fixture
def lost() -> list[Ticket]:
    return []


@pytest.fixture
def worker(ray: Ray, lost: list[Ticket]) -> Iterator[Worker]:
    def launch(settings: WorkerSettings, _: str) -> ActorLink:
        return ActorLink(ray, Slot("node", 0, 1, 0), settings, Models(ray), "test")

    one = Worker(SETTINGS, "node/0", lambda _: None, on_lost=lambda ticket, _: lost.append(ticket), launch=launch)
    while one.status()["state"] != "idle":
        threading.Event().wait(0.01)
    yield one
    one.close()


@pytest.fixture
def work(tmp_path: Path) -> FileWork:
    return FileWork(str(draw(tmp_path / "old.png", 1)), str(tmp_path / "new.png"), Target(scale=2), model="copy")


def submit(worker: Worker, work: Work, *, urgent: bool = False) -> Ticket:
    worker.submit(ticket := Ticket(work, None, urgent))
    return ticket


def wait_for_carriers() -> None:
    """Returns when nothing is read or written any more."""
    for thread in threading.enumerate():
        if thread.name == "carrier":
            thread.join(10)


@pytest.mark.parametrize("moment", ["reads", "writes"])
def test_a_file_system_that_hangs_holds_up_neither_a_person_nor_who_stops_the_work(
    monkeypatch: pytest.MonkeyPatch, worker: Worker, disk: Disk, work: FileWork, ray: Ray, moment: str
) -> None:
    if moment == "reads":
        monkeypatch.setattr(actor_link, "Parcel", disk.before(actor_link.Parcel))
    else:
        monkeypatch.setattr(freight, "mode_like", disk.before(freight.mode_like))
    monkeypatch.setattr(actor_link, "LEAVE_SECONDS", 0.2)
    ticket = submit(worker, work)
    assert disk.asked.wait(10)
    assert submit(worker, LookWork(), urgent=True).result(10).model == "copy"
    assert not ticket.done()
    ticket.stop()
    assert isinstance(ticket.exception(10), Cancelled)
    assert worker.room(urgent=False)
    disk.answers.set()
    wait_for_carriers()
    assert submit(worker, LookWork()).result(10).model == "copy"
    assert work.destination is not None
    assert not Path(work.destination).exists()
    sent = [message.do.work for message in ray.told if isinstance(message, Brought)]
    assert [isinstance(one, FileWork) for one in sent].count(True) == (moment == "writes")
    assert worker.status()["restarts"] == 0


def test_a_result_that_has_arrived_counts_although_its_worker_dies_while_it_is_written(
    monkeypatch: pytest.MonkeyPatch, worker: Worker, disk: Disk, work: FileWork, ray: Ray, lost: list[Ticket]
) -> None:
    monkeypatch.setattr(freight, "mode_like", disk.before(freight.mode_like))
    ray.dies = True
    ticket = submit(worker, work)
    assert disk.asked.wait(10)
    while ray.said.qsize():
        threading.Event().wait(0.01)
    disk.answers.set()
    answer = ticket.result(10)
    assert answer.destination == work.destination
    assert Path(str(answer.destination)).read_bytes() == b"the result"
    assert lost == []


def test_closing_does_not_wait_for_a_file_system_that_hangs(
    monkeypatch: pytest.MonkeyPatch, worker: Worker, disk: Disk, work: FileWork
) -> None:
    monkeypatch.setattr(freight, "mode_like", disk.before(freight.mode_like))
    ticket = submit(worker, work)
    assert disk.asked.wait(10)
    worker.close()
    assert isinstance(ticket.exception(10), Cancelled)
    assert worker.is_gone()
    disk.answers.set()
    wait_for_carriers()
    assert not Path(str(work.destination)).exists(), "nobody wanted it any more"


def test_a_checkpoint_that_cannot_be_read_is_its_own_works_error_and_costs_no_worker(
    monkeypatch: pytest.MonkeyPatch, worker: Worker, work: FileWork, lost: list[Ticket]
) -> None:
    def refuse(*_: object) -> NoReturn:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as context:
        context.setattr(Models, "get", refuse)
        error = submit(worker, work).exception(10)
    assert isinstance(error, WorkerError)
    assert "Permission denied" in str(error)
    assert submit(worker, work).result(10).destination == work.destination
    assert (worker.status()["restarts"], lost) == (0, [])


def test_a_cluster_that_does_not_answer_is_left_in_time(monkeypatch: pytest.MonkeyPatch, ray: Ray) -> None:
    asked, answers = threading.Event(), threading.Event()
    monkeypatch.setattr(cluster, "_join", lambda _: (ray, False))
    monkeypatch.setattr(cluster, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(cluster, "END_SECONDS", 0.2)
    workers = cluster.RayWorkers(SETTINGS)
    assert workers.size() == 1

    def hang() -> list[Any]:
        asked.set()
        assert answers.wait(30)
        return [{"NodeID": name, "Alive": True, "Resources": {"CPU": 1.0}} for name in ("node", "late")]

    monkeypatch.setattr(ray, "nodes", hang)
    assert asked.wait(10)
    closing = threading.Thread(target=workers.close)
    closing.start()
    try:
        closing.join(10)
        assert not closing.is_alive()
    finally:
        answers.set()
    workers._keeper.join(10)
    assert workers.size() == 1, "no worker is made any more"
