"""Joining a Ray cluster: which workers its nodes give, what travels there, and what is said where there is none."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from liif_engine.crew import Crew
from liif_engine.errors import WorkerError
from liif_engine.workers import WorkerSettings, start
from liif_engine.workers.actor import Checkpoint, unpack_model
from liif_engine.workers.actor_link import first_line
from liif_engine.workers.cluster import slots_of

pytestmark = pytest.mark.timeout(180)
ROOT = Path(__file__).parents[2]
COPYING = WorkerSettings(device="cpu", model="copy", engine="liif_engine.workers.stand_in:Copying")


@pytest.mark.parametrize(
    ("resources", "device", "workers"),
    [
        ({"CPU": 1.0}, "auto", [(1, 0)]),
        ({"CPU": 16.0}, "auto", [(4, 0)] * 4),
        ({"CPU": 6.0}, "cpu", [(4, 0)]),
        ({"CPU": 32.0, "GPU": 8.0}, "auto", [(1, 1)] * 8),
        ({"CPU": 4.0, "GPU": 8.0}, "auto", [(0, 1)] * 8),
        ({"CPU": 4.0, "GPU": 1.0}, "cpu", [(4, 0)]),
        ({}, "auto", []),
    ],
)
def test_workers_of_a_node(resources: dict[str, float], device: str, workers: list[tuple[int, int]]) -> None:
    found = slots_of({"NodeID": "n", "Resources": resources}, device)
    assert [(slot.cpus, slot.gpus) for slot in found] == workers


def test_a_checkpoint_is_put_where_nobody_else_can_exchange_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    path = Path(unpack_model(Checkpoint("own.safetensors", b"weights")))
    assert path.read_bytes() == b"weights"
    (base,) = tmp_path.iterdir()
    assert base.stat().st_mode & 0o777 == 0o700
    base.chmod(0o777)
    with pytest.raises(WorkerError, match="not a folder of this user alone"):
        unpack_model(Checkpoint("own.safetensors", b"weights"))


def test_ray_is_not_loaded_unless_asked_for() -> None:
    code = "import sys, liif_engine.workers, liif_engine.service.serve, liif_engine.cli; sys.exit('ray' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0


@pytest.mark.parametrize("address", ["127.0.0.1:9", "no-such-host.invalid:6379"])
def test_a_cluster_that_is_not_there_is_said_at_once(address: str) -> None:
    """In a process of its own, since this one may have joined another."""
    code = "from liif_engine.crew import Crew; from tests.cluster.test_joining import COPYING, start; "
    code += f"start(Crew('ray', address={address!r}), COPYING)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=ROOT, check=False
    )
    assert "cannot be joined" in done.stderr.splitlines()[-1]


def test_a_cluster_of_another_version_is_said_with_both_versions() -> None:
    """Ray says it in several lines, of which the first names none."""
    utils = pytest.importorskip("ray._private.utils")
    with pytest.raises(RuntimeError) as caught:
        utils.check_version_info({"ray_version": "1.2.3", "python_version": "3.4.5"}, "here")
    assert "The cluster was started with: Ray: 1.2.3 Python: 3.4.5" in first_line(caught.value)
    assert utils.compute_version_info()[0] in first_line(caught.value)
    assert first_line(RuntimeError("one\n\ntwo")) == "one"
    assert first_line(RuntimeError("")) == "RuntimeError"


def test_without_ray_the_words_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(WorkerError, match="not installed") as caught:
        start(Crew("ray"), COPYING)
    assert "liif-restore[ray]" in caught.value.remedy
