"""The daemon's promises with its work on a Ray cluster: killed at each step, engine killed, node killed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from liif_daemon.engine import ServiceEngine
from liif_daemon.steps import STEPS

from tests.conftest import NODE

from .test_faults import kill_the_engine_twice
from .test_kills import check_end, checkpoint, play, rounds_for, serving
from .workshop import Workshop, draw, sha, size_of, wait_until

__all__ = ["checkpoint"]  # a fixture
pytestmark = pytest.mark.timeout(240)


def test_the_engine_is_started_and_outlived(cluster: Any, workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(workshop.base))
    kill_the_engine_twice(workshop, "--device", "cpu", "--workers", f"ray:{cluster.address}")


@pytest.fixture(scope="module")
def service(cluster: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real `liif serve` with workers on the cluster; it has both nodes until the module ends."""
    with serving(tmp_path_factory.mktemp("log") / "engine.log", "--workers", f"ray:{cluster.address}") as folder:
        yield folder


def test_killed_at_each_step(tmp_path: Path, service: str, checkpoint: Path) -> None:
    rounds = rounds_for(STEPS, 1)
    rows = play(tmp_path, rounds, runtime=service, model=str(checkpoint))
    check_end(tmp_path, [name for names, _, _ in rounds for name in names])
    assert sum(row["killed"] for row in rows) == len(STEPS)


def test_a_node_that_is_killed_costs_no_picture_and_no_try(
    cluster: Any, workshop: Workshop, service: str, checkpoint: Path
) -> None:
    """A twentieth is broken; the workers never see the user's folder, the daemon alone writes there."""
    workshop.model, workshop.engine = str(checkpoint), ServiceEngine(service)
    workshop.daemon_values["jobs_at_once"] = 4
    originals = {f"{number}.jpg": draw(workshop.folder / f"{number}.jpg", number, 30, 20) for number in range(40)}
    for name in ("7.jpg", "27.jpg"):
        originals[name] = originals[name][:150]
        (workshop.folder / name).write_bytes(originals[name])
    node = cluster.add_node(num_cpus=1, **NODE)
    status = ServiceEngine(service).status
    wait_until(lambda: sum(row["state"] == "idle" for row in (status() or {"workers": []})["workers"]) >= 3)
    killed = threading.Event()
    with workshop.running():
        wait_until(lambda: workshop.counts().get("done", 0) >= 8)
        cluster.remove_node(node, allow_graceful=False)
        killed.set()
        wait_until(lambda: workshop.counts() == {"done": 38, "failed": 2}, 150)
    assert killed.is_set()
    jobs = workshop.ledger().jobs()
    assert all(job.attempts == 0 for job in jobs), "the loss of a node is no picture's fault"
    for name, data in originals.items():
        path = workshop.folder / name
        if name in {"7.jpg", "27.jpg"}:
            assert path.read_bytes() == data
        else:
            assert size_of(path) == (60, 40)
            assert workshop.store.holds(sha(data))
    assert workshop.leftovers() == []
    assert sorted(path.name for path in workshop.folder.iterdir() if not path.name.startswith(".")) == sorted(originals)
