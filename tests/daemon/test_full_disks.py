"""A disk that is full, failing or read-only is waited out: nothing is lost, and no other picture loses its turn."""

from __future__ import annotations

import errno
import math
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from liif_daemon import failures, places, work
from liif_daemon.engine import EngineError, Order
from liif_daemon.workplace import is_workplace, workplace_for

from liif_engine.errors import OutputError

from .workshop import SOON, Copying, Workshop, draw, sha, size_of, wait_until


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 400 kB."""
    place = tmp_path / "small"
    place.mkdir()
    mounted = shutil.which("mount") and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=400k", "liif-test", place], capture_output=True, check=False
    )
    if not mounted or mounted.returncode:
        pytest.skip("mounting is not permitted here: run as root to fill a real disk; the injected form runs anyway")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def fill(place: Path, leave: int) -> Path:
    """Fills a disk but for `leave` bytes."""
    ballast = place / "ballast.bin"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass
    os.truncate(ballast, ballast.stat().st_size - leave)
    return ballast


@pytest.mark.parametrize("full", ["the folder", "the store"])
def test_a_full_disk_is_waited_out(
    workshop: Workshop, small_disk: Path, full: str, caplog: pytest.LogCaptureFixture
) -> None:
    if full == "the folder":
        workshop.folder = small_disk / "pictures"
        workshop.folder.mkdir()
        workshop.folder_values["path"] = workshop.folder
    else:
        workshop.daemon_values["originals"] = small_disk / "originals"
    path = workshop.folder / "a.png"
    data = draw(path, 1, 90, 90)
    ballast = fill(small_disk, 12_000)
    with workshop.running() as daemon:
        tried = set[float]()

        def is_tried_often() -> bool:
            tried.update(job.changed for job in daemon.ledger.jobs(state="queued") if "full" in job.reason)
            return len(tried) > (3 if full == "the store" else 0)  # this engine's disk has four tries only

        wait_until(is_tried_often)
        assert path.read_bytes() == data
        assert caplog.text.count("a.png: the disk is full") == (full == "the store")
        ballast.unlink()
        wait_until(lambda: workshop.counts() == {"done": 1})
    assert workshop.leftovers() == []
    assert workshop.store.path_of(sha(data)).read_bytes() == data


def test_a_read_only_disk_is_said_once_for_each_picture(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    draw(workshop.folder / "a.jpg", 1)
    tries, make = [], Path.mkdir

    def refuse(self: Path, *arguments: Any, **rest: Any) -> None:
        if is_workplace(self) and len(tries) < 4:
            tries.append(self)
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(self))
        make(self, *arguments, **rest)

    monkeypatch.setattr(Path, "mkdir", refuse)
    with workshop.running():
        wait_until(lambda: workshop.counts() == {"done": 1})
    assert caplog.text.count("a.jpg: the disk is read-only") == 1
    assert tries[0].name not in caplog.text, "it never came to be"


@pytest.fixture
def read_only(monkeypatch: pytest.MonkeyPatch) -> Path:
    """The name of a subfolder in which the system says that the disk is read-only, as a snapshot's is."""
    place, make = Path("snapshot"), Path.mkdir

    def refuse(self: Path, *arguments: Any, **rest: Any) -> None:
        if is_workplace(self) and self.parent.name == place.name:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(self))
        make(self, *arguments, **rest)

    monkeypatch.setattr(Path, "mkdir", refuse)
    return place


def test_pictures_that_wait_for_a_disk_keep_no_other_from_its_turn(
    workshop: Workshop, read_only: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failures, "MOST_TRIES", math.inf)  # they are due again before all were tried
    workshop.daemon_values["retry_seconds"] = 0.01
    for number in range(20):
        draw(workshop.folder / read_only / f"{number}.jpg", number)
    with workshop.running() as daemon:
        wait_until(lambda: any("read-only" in job.reason for job in daemon.ledger.jobs(state="queued")))
        draw(workshop.folder / "new.jpg", 99)
        wait_until(lambda: workshop.counts().get("done") == 1, SOON)
        wait_until(lambda: all("read-only" in job.reason for job in daemon.ledger.jobs(state="queued")), SOON)


def test_many_pictures_that_wait_for_a_disk_are_tried_seldom(workshop: Workshop, read_only: Path) -> None:
    for number in range(12):
        draw(workshop.folder / read_only / f"{number}.jpg", number)
    with workshop.running() as daemon:

        def longest() -> float:
            return max((job.not_before - job.changed for job in daemon.ledger.jobs(state="queued")), default=0)

        wait_until(lambda: longest() >= 3 / failures.MOST_TRIES, SOON)


def test_more_pictures_than_are_tried_before_the_longest_wait_is_over_are_tried_seldom_too(
    workshop: Workshop, read_only: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "liif_daemon.ledger.ledger.LONGEST_WAIT", 0.2
    )  # as with 100,000 of them, which are due again before 900 s
    tries: list[object] = []
    monkeypatch.setattr(work, "workplace_for", lambda path: (tries.append(path), workplace_for(path))[1])
    for number in range(30):
        draw(workshop.folder / read_only / f"{number}.jpg", number)
    with workshop.running() as daemon:
        wait_until(lambda: sum("read-only" in job.reason for job in daemon.ledger.jobs(state="queued")) == 30)
        before, seconds = len(tries), 2
        time.sleep(seconds)  # what is tested is how often it is tried in that time
        assert 1 <= len(tries) - before <= 1.5 * failures.MOST_TRIES * seconds


def test_a_full_disk_under_the_state_is_said_with_its_place(workshop: Workshop, small_disk: Path) -> None:
    workshop.daemon_values["state"] = small_disk / "state"
    (small_disk / "state").mkdir()
    fill(small_disk, 0)
    with places.only_one(workshop.settings()), pytest.raises(OutputError, match=r"ledger.sqlite3.* full"):
        workshop.ledger()


@pytest.mark.parametrize("step", ["workplace made", "backup durable", "metadata carried", "about to swap", "swapped"])
@pytest.mark.parametrize("number", [28, 122, 5])  # no space, quota, input/output
def test_an_error_of_the_disk_at_each_step_is_waited_out(
    workshop: Workshop, on_step: Callable[..., None], step: str, number: int
) -> None:
    def fail() -> None:
        raise OSError(number, os.strerror(number))

    data = draw(workshop.folder / "a.jpg", 1)
    on_step(step, fail)
    with workshop.running():
        wait_until(lambda: workshop.counts() == {"done": 1})
    assert workshop.store.path_of(sha(data)).read_bytes() == data
    assert size_of(workshop.folder / "a.jpg") == (40, 32)
    assert workshop.leftovers() == []


def test_a_folder_that_is_out_of_reach_when_a_picture_is_given_up_is_waited_out(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw(workshop.folder / "a.jpg", 1)
    recover, away = work.recover, ["for the first look"]

    def crash(_: Order) -> None:
        if away:
            raise EngineError("the process that did the work crashed", "again")

    def out_of_reach(*arguments: Any) -> str | None:
        if away:
            raise OSError(errno.EIO, away.pop())
        return recover(*arguments)

    workshop.engine = Copying(before=crash)
    monkeypatch.setattr(work, "recover", out_of_reach)
    with workshop.running():
        wait_until(lambda: workshop.counts() == {"done": 1}, SOON)
    assert workshop.leftovers() == []
