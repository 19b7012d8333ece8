"""Files and folders that get other names amid the work, shares that are away, and names that are no text."""

from __future__ import annotations

import errno
import os
import shutil
import sys
from pathlib import Path

import pytest
from liif_daemon import mounts, places, presence, steps
from liif_daemon.dispatch import Daemon
from liif_daemon.engine import Order, ServiceEngine
from liif_daemon.posts import Turn
from liif_daemon.settle import Settling
from liif_daemon.store import Changed
from liif_daemon.workplace import result_in, workplace_for

from liif_engine.errors import ConfigError
from liif_engine.target import Target

from .test_undo import undo_all
from .workshop import Answering, Copying, Workshop, at, draw, sha, size_of, wait_until


def temporaries(workshop: Workshop) -> list[Path]:
    return list(workshop.folder.rglob(".liif-*.tmp"))


def test_a_folder_that_is_renamed_amid_the_work_keeps_no_temporaries(workshop: Workshop) -> None:
    old, new = workshop.folder / "old", workshop.folder / "new"
    data = draw(old / "a.jpg", 1)
    workshop.engine = Copying(before=lambda _: old.rename(new) if old.exists() else None)
    workshop.daemon_values["scan_seconds"] = 1
    with workshop.running():
        wait_until(lambda: workshop.counts().get("done") == 1 and not temporaries(workshop))
    assert size_of(new / "a.jpg") == (40, 32)
    assert workshop.store.holds(sha(data))


@pytest.mark.parametrize("made", [1.7e9, 4e9])  # long ago, or before a clock from the future was set back
def test_what_was_left_while_a_share_was_away_goes_at_a_scan_and_what_is_in_use_stays(
    workshop: Workshop, made: float
) -> None:
    draw(workshop.folder / "a.jpg", 1)
    workshop.once()
    ledger = workshop.ledger()
    (job,) = ledger.jobs()
    daemon = Daemon(workshop.settings(), ledger, Copying())
    workplace = workplace_for(job.path)
    workplace.mkdir()
    daemon._on_workplace(workplace)  # nobody's that is known
    ledger.set_workplace(job, workplace)
    daemon._on_workplace(workplace)
    assert workplace.is_dir()
    os.utime(workplace, (made, made))
    daemon._on_workplace(workplace)
    assert not workplace.exists()
    assert ledger.workplaces() == []
    ledger.close()


def test_a_copy_of_a_folder_that_was_made_amid_the_work_keeps_what_it_has(workshop: Workshop) -> None:
    """Its temporaries were copied with it, half written; they are no results of anybody's."""
    old, new = workshop.folder / "old", workshop.folder / "new"
    draw(old / "a.jpg", 1)
    workshop.once()
    ledger = workshop.ledger()
    (job,) = ledger.jobs()
    workplace = workplace_for(job.path)
    ledger.set_workplace(job, workplace)
    shutil.copytree(old, new)
    copied = new / workplace.name
    copied.mkdir()
    result_in(copied, job).write_bytes(b"half a result")
    Daemon(workshop.settings(), ledger, Copying())._on_workplace(copied)
    ledger.close()
    assert size_of(new / "a.jpg") == (40, 32)
    assert copied.is_dir()


@pytest.mark.parametrize("step", ["swapped", "swap verified"])
def test_a_result_whose_folder_was_renamed_amid_the_swap_can_be_undone(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    old, new = workshop.folder / "old", workshop.folder / "new"
    data = draw(old / "a.jpg", 1)
    at(monkeypatch, step, lambda: old.rename(new))
    workshop.once()
    monkeypatch.undo()
    workshop.once()
    assert temporaries(workshop) == []
    assert size_of(new / "a.jpg") == (40, 32)
    assert undo_all(workshop, new / "a.jpg") == 1
    assert (new / "a.jpg").read_bytes() == data


def test_an_undo_of_a_renamed_result_that_failed_can_be_repeated(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = workshop.folder / "b.jpg"
    data = draw(workshop.folder / "a.jpg", 1)
    workshop.once()
    (workshop.folder / "a.jpg").rename(path)

    def refuse() -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    at(monkeypatch, "about to swap", refuse)
    with pytest.raises(OSError, match="No space"):
        undo_all(workshop, path)
    assert path.read_bytes() != data
    assert undo_all(workshop, path) == 1
    assert path.read_bytes() == data
    assert undo_all(workshop, path) == 0


def test_what_a_killed_run_left_on_a_share_waits_for_the_share(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not mounted, it is an empty folder: there all seems to have gone."""
    monkeypatch.setattr(mounts, "is_mount", lambda path: path == workshop.folder and (path / ".liif-folder").exists())
    draw(workshop.folder / "a.jpg", 1)
    theirs = draw(workshop.base / "theirs.jpg", 2, 7, 7)  # written in the instant of the swap; too small to be restored
    workshop.once(keep_originals="none")
    ledger = workshop.ledger()
    ledger.folders.mark(workshop.folder, "the share")
    (workshop.folder / presence.MARKER).write_text("the share")
    (job,) = ledger.jobs()
    workplace = workplace_for(job.path)
    workplace.mkdir()
    ledger.set_workplace(job, workplace)
    ledger.close()
    result_in(workplace, job).write_bytes(theirs)
    away = workshop.base / "away"
    workshop.folder.rename(away)
    workshop.folder.mkdir()
    assert workshop.once() == {"done": 1}
    workshop.folder.rmdir()
    away.rename(workshop.folder)
    assert workshop.once() == {"done": 1, "skipped": 1}
    assert temporaries(workshop) == []
    assert (workshop.folder / "a.jpg").read_bytes() == theirs


def test_what_was_at_work_on_a_share_that_is_not_mounted_stays_claimed(workshop: Workshop) -> None:
    draw(workshop.folder / "a.jpg", 1)
    ledger = workshop.ledger()
    daemon = Daemon(workshop.settings(), ledger, Copying())
    daemon.looker.look(workshop.folder / "a.jpg", daemon.settings)
    (job,) = ledger.claim()
    ledger.folders.mark(workshop.folder, "the share")
    away = workshop.base / "away"
    workshop.folder.rename(away)
    workshop.folder.mkdir()
    daemon.recover(Turn())
    assert [one.id for one in ledger.jobs(state="claimed")] == [job.id]
    workshop.folder.rmdir()
    away.rename(workshop.folder)
    (workshop.folder / presence.MARKER).touch()
    daemon.recover(Turn())
    assert [one.id for one in ledger.jobs(state="queued")] == [job.id]
    ledger.close()


@pytest.mark.skipif(sys.platform in {"darwin", "win32"}, reason="names are text there")
def test_a_name_that_is_no_text_ends_no_daemon(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason why its job waits quotes it."""
    path = Path(os.fsdecode(os.fsencode(workshop.folder / "sp") + b"\xe4t.jpg"))
    data = draw(path, 1)

    def refuse(step: str) -> None:
        if step == "metadata carried":
            raise OSError(errno.EIO, os.strerror(errno.EIO), os.fspath(path))

    monkeypatch.setattr(steps, "on_step", refuse)
    with workshop.running() as daemon:
        wait_until(lambda: daemon.posts.faults or any("sp\\udce4t.jpg" in job.reason for job in daemon.ledger.jobs()))
        assert not daemon.posts.faults
        assert path.read_bytes() == data
        monkeypatch.undo()
        wait_until(lambda: workshop.counts() == {"done": 1})


def test_a_file_on_a_share_whose_clock_lags_settles_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its age says nothing there, and nobody tells whether it is being written."""
    clock = [100.0]
    monkeypatch.setattr("liif_daemon.settle.time.monotonic", lambda: clock[0])
    monkeypatch.setattr("liif_daemon.settle.is_open_for_writing", lambda _: None)
    path, settling = tmp_path / "a.jpg", Settling()
    path.write_bytes(b"half of it")
    os.utime(path, (1.7e9, 1.7e9))
    settling.hint(path, 5)
    assert settling.settled() == []
    clock[0] += 6
    assert settling.settled() == [path]


def test_a_result_of_something_else_than_was_meant_is_not_used(tmp_path: Path) -> None:
    """As a BMP that was changed while it was read, and changed back."""
    engine = ServiceEngine(str(tmp_path))
    engine.client = Answering({"source_sha256": "1" * 64})  # type: ignore[assignment]
    meant = [
        Order(tmp_path / "a.bmp", tmp_path / "b", Target(scale=2), "web", 95, "auto", 60, "", n * 64) for n in "10"
    ]
    assert engine.restore(meant[0], lambda _: None).model == "web"
    with pytest.raises(Changed, match="while it was being read"):
        engine.restore(meant[1], lambda _: None)


def test_the_daemon_tells_the_engine_what_it_means(workshop: Workshop) -> None:
    data = draw(workshop.folder / "a.jpg", 1)
    engine = workshop.engine = Copying()
    workshop.once()
    assert [order.sha256 for order in engine.orders] == [sha(data)]


def test_one_folder_under_two_names_is_refused(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a file system that does not tell upper from lower case, or where it is mounted twice."""
    other = workshop.base / "PICTURES"
    other.mkdir()
    twice = workshop.settings().with_folders([workshop.settings().folders[0], workshop.settings(path=other).folders[0]])
    places.check_layout(twice)
    real = places._identity
    monkeypatch.setattr(places, "_identity", lambda path: real(workshop.folder if path == other else path))
    with pytest.raises(ConfigError, match="overlaps"):
        places.check_layout(twice)
