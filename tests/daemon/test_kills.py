"""kill -9 at every step of the replacement, with pixels copied and with the real engine: nothing lost, nothing twice.

Each kill is a real SIGKILL of a real process (see zygote.py); the next process recovers what it left and goes on. The
checks after each death are made on the disk, by the zygote; the checks at the end are made here.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from liif_daemon.steps import STEPS

from tests.conftest import tiny_network

from .workshop import Workshop, draw, sha, size_of

#: Times that each step is died at. 14 steps: 98 deaths with pixels copied, 112 in jobs of the real engine.
COPIED, REAL = 7, 8

ZYGOTE = Path(__file__).with_name("zygote.py")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real, tiny network on disk."""
    from liif_engine.network.checkpoint import save

    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    save(tiny_network(), path, {})
    return path


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real `liif serve`."""
    with serving(tmp_path_factory.mktemp("log") / "engine.log") as folder:
        yield folder


@contextmanager
def serving(log: Path, *words: str) -> Iterator[str]:
    """A real `liif serve`, in a folder of its own; its path is short, since a socket's holds about 100 bytes."""
    from liif_engine.service.client import Client

    folder = tempfile.mkdtemp(prefix="liif-")
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "liif_engine", "serve", "--device", "cpu", *words],
            env={**os.environ, "LIIF_RUNTIME_DIR": folder},
            stderr=file,
        )
        from .workshop import wait_until

        client = Client(folder, start=False)
        wait_until(lambda: process.poll() is not None or _answers(client))
        assert process.poll() is None, log.read_text()
        try:
            yield folder
        finally:
            process.terminate()
            process.wait(30)


def _answers(client: Any) -> bool:
    from liif_engine.service.client import ServiceError

    try:
        client.ensure_running()
    except ServiceError:
        return False
    return True


def play(base: Path, rounds: list[Any], **plan: Any) -> list[dict[str, Any]]:
    """Plays a plan in a zygote of its own; one row for each process that lived and died."""
    # Any number of deaths: which picture gets them is not the question here, but tests/daemon/test_poison.py's.
    plan = {"base": str(base), "first": 1, "rounds": rounds, "max_attempts": 1000, **plan}
    done = subprocess.run(
        [sys.executable, str(ZYGOTE), json.dumps(plan)], capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(rows) == len(rounds)
    assert all(row["killed"] == (row["step"] is not None) for row in rows), (rows, done.stderr)
    assert not any(row["lost"] for row in rows), rows
    return rows


def check_end(base: Path, names: list[str], *, path_beside: bool = False) -> None:
    """Every picture was restored exactly once, from an original that is in the store; nothing else is left."""
    workshop = Workshop(base)
    jobs = {job.path.name: job for job in workshop.ledger().jobs() if job.in_place}
    assert sorted(jobs) == sorted(names)
    for job in jobs.values():
        assert (job.state, job.reason) in {("done", ""), ("done", "finished after an interruption")}, job
        assert sha(job.path) == job.result_sha256
        assert size_of(job.path) == (40, 32)
        assert workshop.store.holds(job.source_sha256)
    assert workshop.leftovers() == []
    assert list(workshop.folder.rglob(".liif*")) == []
    assert len(list(workshop.store)) == len(names)
    assert len(list(workshop.folder.iterdir())) == len(names) * (2 if path_beside else 1)


def rounds_for(steps: tuple[str, ...], times: int) -> list[Any]:
    """Each step `times` times, with a new picture each; then one round to the end."""
    rounds: list[Any] = [
        [[f"{number}-{step.replace(' ', '-')}.jpg"], step, 1] for number in range(times) for step in steps
    ]
    return [*rounds, [[], None, 1]]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("part", [0, 1])
def test_killed_at_each_step_with_pixels_copied(tmp_path: Path, part: int, record_property: Any) -> None:
    rounds = rounds_for(STEPS[part::2], COPIED)
    rows = play(tmp_path, rounds)
    check_end(tmp_path, [name for names, _, _ in rounds for name in names])
    kills = sum(row["killed"] for row in rows)
    record_property("kills", kills)
    print(f"\n{kills} kills -9 with pixels copied (steps: {', '.join(STEPS[part::2])}); 0 originals lost")


@pytest.mark.timeout(300)
@pytest.mark.parametrize("part", [0, 1])
def test_killed_at_each_step_in_jobs_of_the_real_engine(
    tmp_path: Path, part: int, service: str, checkpoint: Path, record_property: Any
) -> None:
    rounds = rounds_for(STEPS[part::2], REAL)
    rows = play(tmp_path, rounds, runtime=service, model=str(checkpoint))
    check_end(tmp_path, [name for names, _, _ in rounds for name in names])
    kills = sum(row["killed"] for row in rows)
    record_property("kills", kills)
    print(f"\n{kills} kills -9 in jobs of the real engine (steps: {', '.join(STEPS[part::2])}); 0 originals lost")


def test_the_suite_kills_two_hundred_times_half_of_them_in_real_jobs() -> None:
    copied, real = len(STEPS) * COPIED, len(STEPS) * REAL
    assert copied + real >= 200
    assert real >= (copied + real) / 2


@pytest.mark.timeout(300)
def test_killed_at_each_step_with_a_result_beside_the_original(tmp_path: Path) -> None:
    rounds = rounds_for(STEPS, 1)
    play(tmp_path, rounds, folder={"scales": [2, 4]})
    names = [name for names, _, _ in rounds for name in names]
    check_end(tmp_path, names, path_beside=True)
    for name in names:
        assert size_of(tmp_path / "pictures" / name.replace(".jpg", "@4x.jpg")) == (80, 64)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("taken", ["a stranger's", "an older result"])
@pytest.mark.parametrize("step", ["swapped", "swap verified", "ledger done"])
def test_what_lies_beside_is_never_taken_for_the_picture(tmp_path: Path, taken: str, step: str) -> None:
    """The workplace then holds what came of the name ``a@4x.jpg`` too: a result that was refused, or an older one."""
    workshop = Workshop(tmp_path)
    beside = workshop.folder / "a@4x.jpg"
    folder = {"scales": [2, 4]}
    if taken == "a stranger's":
        theirs = draw(beside, 99, 7, 7)
    else:
        draw(workshop.folder / "a.jpg", 98)
        assert workshop.once(**folder) == {"done": 2}
        theirs = None
    passing = 2 if taken == "an older result" and step.startswith("swap") else 1  # the first is that of the older one
    play(tmp_path, [[["a.jpg"], step, passing], [[], None, 1]], folder={**folder, "min_side": 16})
    assert size_of(workshop.folder / "a.jpg") == (40, 32)
    if theirs is None:
        assert size_of(beside) == (80, 64)
    else:
        assert beside.read_bytes() == theirs
    (job,) = [job for job in workshop.ledger().jobs(state="done") if job.in_place][-1:]
    assert sha(workshop.folder / "a.jpg") == job.result_sha256
    assert list(workshop.folder.rglob(".liif*")) == []
