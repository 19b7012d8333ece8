"""A picture that ends whatever works on it is given up after as many tries as any other, and takes nobody along.

It may crash it, or make it so large that the system ends it. Each death here is a real SIGKILL of a real process.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from liif_daemon import engine
from liif_daemon.engine import EngineError, Order, ServiceEngine

from liif_engine import errors
from liif_engine.service import client
from liif_engine.service.client import NotRunning
from liif_engine.service.job import error_dict
from liif_engine.target import Target

from .test_kills import ZYGOTE
from .workshop import PATIENCE, Copying, Workshop, draw, sha, wait_until


def live(base: Path, times: int, *, poison: str, at: str, **plan: Any) -> list[bool]:
    """Whether each of so many daemons, one after the other, was killed."""
    plan = {"base": str(base), "first": 1, "rounds": [[[], None, 1]] * times, "poison": [poison, at], **plan}
    command = [sys.executable, str(ZYGOTE), json.dumps(plan)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line)["killed"] for line in done.stdout.splitlines()]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("at", ["engine", "look", "verify"])
def test_a_picture_that_kills_the_daemon_is_given_up_and_the_others_are_done(tmp_path: Path, at: str) -> None:
    workshop = Workshop(tmp_path)
    originals = {f"{n}.jpg": draw(workshop.folder / f"{n}.jpg", n) for n in range(6)}
    assert live(tmp_path, 6, poison="2.jpg", at=at, jobs_at_once=2) == [True] * 4 + [False] * 2
    rows = {job.path.name: job for job in workshop.ledger().jobs()}
    assert {name: job.state for name, job in rows.items()} == {
        name: "failed" if name == "2.jpg" else "done" for name in originals
    }
    assert "4 times" in rows["2.jpg"].reason
    assert "retry" in rows["2.jpg"].reason
    assert (workshop.folder / "2.jpg").read_bytes() == originals["2.jpg"]
    assert all(workshop.store.holds(sha(data)) for name, data in originals.items() if name != "2.jpg")
    assert workshop.leftovers() == []


def test_what_was_given_up_is_tried_again_when_it_changes_or_is_asked_for(tmp_path: Path) -> None:
    workshop = Workshop(tmp_path)
    draw(workshop.folder / "a.jpg", 1)
    draw(workshop.folder / "b.jpg", 2)
    assert all(live(tmp_path, 4, poison="a.jpg", at="look"))
    assert not any(live(tmp_path, 1, poison="a.jpg", at="look"))
    draw(workshop.folder / "a.jpg", 3)
    assert workshop.once() == {"done": 2, "failed": 1} or workshop.once() == {"done": 2, "skipped": 1}
    draw(workshop.folder / "c.jpg", 4)
    assert all(live(tmp_path, 4, poison="c.jpg", at="engine"))
    assert not any(live(tmp_path, 1, poison="c.jpg", at="engine"))
    ledger = workshop.ledger()
    assert ledger.retry([job for job in ledger.jobs(state="failed") if job.path.name == "c.jpg"]) == 1
    ledger.close()
    assert workshop.once()["done"] == 3


def test_a_picture_that_failed_is_tried_again_alone_and_after_the_others(workshop: Workshop) -> None:
    """So that what ends the engine, or its memory, is not blamed on another picture."""
    for n in range(8):
        draw(workshop.folder / f"{n}.jpg", n)
    at_work: set[str] = set()
    beside: list[set[str]] = []
    tries: list[str] = []

    def fail(order: Order) -> None:
        name = order.source.name
        at_work.add(name)
        tries.append(name)
        if tries.count("0.jpg") > 1:
            beside.append(set(at_work))
        at_work.discard(name)
        if name == "0.jpg":
            raise EngineError("the process that did the work crashed", "again")

    workshop.daemon_values["jobs_at_once"] = 3
    workshop.engine = Copying(before=fail)
    assert workshop.once() == {"done": 7, "failed": 1}
    assert tries.count("0.jpg") == 4
    assert beside == [{"0.jpg"}] * 3


def test_the_end_of_a_daemon_that_was_told_to_end_is_no_death(workshop: Workshop) -> None:
    draw(workshop.folder / "a.jpg", 1)
    for _ in range(6):
        ended = threading.Event()
        workshop.engine = Copying(before=lambda _, ended=ended: ended.wait(PATIENCE))  # type: ignore[misc]
        with workshop.running() as daemon:
            wait_until(lambda: workshop.counts() == {"claimed": 1})
            daemon.stopping.set()
            ended.set()
    workshop.engine = Copying()
    assert workshop.once() == {"done": 1}
    assert workshop.ledger().jobs()[0].deaths == 0


def test_an_engine_that_is_told_to_end_is_no_failed_try_of_the_picture_at_work() -> None:
    told = error_dict(errors.ServiceError("the service ended"))
    assert engine._kind(client.ServiceError(told["message"], kind=told["kind"])) == "wait"


def test_an_answer_without_a_reason_counts_as_a_try() -> None:
    """As of a web server's own 500: the picture may be what it fails on, and would be sent again for ever."""
    as_error = import_module("liif_engine.service.client.errors").as_error
    assert engine._kind(as_error({}, 500, False)) == "again"


class _Dying:
    """A service that can be started and dies of what it is sent."""

    starts = 0

    def ensure_running(self) -> dict[str, Any]:
        self.starts += 1
        return {"api": 1}

    def submit_file(self, *_: object, **__: object) -> None:
        raise NotRunning("the engine went away (reset)", "Try again.")


def test_a_picture_that_kills_the_service_when_it_is_sent_counts_a_try(tmp_path: Path) -> None:
    engine = ServiceEngine(str(tmp_path))
    order = Order(tmp_path / "a.jpg", tmp_path / "b.jpg", Target(scale=2), "web", 95, "auto", 60)
    engine.client = _Dying()  # type: ignore[assignment]
    with pytest.raises(EngineError) as died:
        engine.restore(order, lambda _: None)
    assert died.value.kind == "again"

    class Gone(_Dying):
        def ensure_running(self) -> dict[str, Any]:
            if self.starts:
                raise NotRunning("the engine cannot be started")
            return super().ensure_running()

    engine.client = Gone()  # type: ignore[assignment]
    with pytest.raises(EngineError) as gone:
        engine.restore(order, lambda _: None)
    assert gone.value.kind == "wait"
