"""Promise 3: a touch, a chmod, a copy, a rename, a restart or a share that returns starts no second pass."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from liif_daemon import check
from liif_daemon.engine import Order
from liif_daemon.watcher import MARKER

from liif_engine.picture.results import mark

from .workshop import Copying, Workshop, draw, sha, size_of, wait_until


def restored(workshop: Workshop) -> int:
    assert isinstance(workshop.engine, Copying)
    return len(workshop.engine.orders)


def touch(path: Path) -> None:
    os.utime(path)


def chmod(path: Path) -> None:
    path.chmod(0o640)


def rename(path: Path) -> None:
    path.rename(path.with_name("renamed.jpg"))


def copy(path: Path) -> None:
    shutil.copy2(path, path.with_name("copy.jpg"))


def rewrite(path: Path) -> None:
    """As a copy from a backup does: the same bytes in a new file."""
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data)


@pytest.mark.parametrize("name", ["a.jpg", "a.bmp"])  # a format that carries our marker, and one that cannot
@pytest.mark.parametrize("change", [touch, chmod, rename, copy, rewrite])
def test_a_result_is_never_restored(workshop: Workshop, change: Callable[[Path], None], name: str) -> None:
    draw(workshop.folder / name, 1)
    with workshop.running() as daemon:
        wait_until(lambda: workshop.counts() == {"done": 1})
        change(workshop.folder / name)
        daemon.scan()
        draw(workshop.folder / "last.jpg", 2)  # what comes after it is done, so it was looked at
        wait_until(lambda: workshop.counts() == {"done": 2})
        wait_until(lambda: not len(daemon.settling))
    assert workshop.once() == {"done": 2}
    assert restored(workshop) == 2


@pytest.mark.parametrize("name", ["a.jpg", "a.bmp"])
def test_a_result_is_known_by_its_marker_or_a_note_where_there_is_no_ledger(workshop: Workshop, name: str) -> None:
    draw(workshop.folder / name, 1)
    workshop.once()
    for path in (workshop.base / "state").glob("ledger.sqlite3*"):
        path.unlink()
    assert workshop.once() == {}
    assert restored(workshop) == 1


def test_results_of_an_archive_in_a_watched_folder_are_left_alone(workshop: Workshop) -> None:
    """A BMP has no place for a marker; its folder has one."""
    results = workshop.folder / "deep" / "larger"
    data = draw(results / "er" / "a.bmp", 1)
    mark(results)
    assert workshop.once() == {"skipped": 1}
    (job,) = workshop.ledger().jobs()
    assert str(results) in job.reason
    assert (results / "er" / "a.bmp").read_bytes() == data
    workshop.folder = results
    workshop.folder_values["path"] = results  # watched itself: it is meant
    workshop.base.joinpath("state").rename(workshop.base / "old state")
    assert workshop.once() == {"done": 1}


def test_the_same_picture_in_two_folders_is_restored_in_both_and_kept_once(workshop: Workshop) -> None:
    data = draw(workshop.folder / "one" / "a.jpg", 1)
    (workshop.folder / "two").mkdir()
    shutil.copy(workshop.folder / "one" / "a.jpg", workshop.folder / "two" / "a.jpg")
    assert workshop.once() == {"done": 2}
    assert size_of(workshop.folder / "one" / "a.jpg") == size_of(workshop.folder / "two" / "a.jpg") == (40, 32)
    assert [path.name for path in workshop.store] == [sha(data)]


def test_an_original_that_was_put_back_by_hand_is_a_job_again(workshop: Workshop) -> None:
    data = draw(workshop.folder / "a.jpg", 1)
    workshop.once()
    (workshop.folder / "a.jpg").write_bytes(data)
    assert workshop.once() == {"done": 1}
    assert restored(workshop) == 2


def test_changed_settings_redo_nothing(workshop: Workshop) -> None:
    draw(workshop.folder / "a.jpg", 1)
    workshop.once()
    assert workshop.once(scale=4) == {"done": 1}
    assert size_of(workshop.folder / "a.jpg") == (40, 32)
    assert restored(workshop) == 1


@pytest.mark.parametrize("dry_run", [True, False])
def test_again_says_what_cannot_be_redone(workshop: Workshop, dry_run: bool) -> None:
    from liif_daemon.scan import scan

    draw(workshop.folder / "a.jpg", 1)
    workshop.once(keep_originals="none")
    ledger, said = workshop.ledger(), list[str]()
    assert scan(workshop.settings(scale=4), ledger, again=True, dry_run=dry_run, say=said.append) == {"failed": 1}
    ledger.close()
    (line,) = said
    assert line.removesuffix(" (dry run)") == f"{workshop.folder / 'a.jpg'}: its original is not in the store"


def test_again_redoes_from_the_original(workshop: Workshop) -> None:
    from liif_daemon.scan import scan

    data = draw(workshop.folder / "a.jpg", 1)
    workshop.once()
    ledger, said = workshop.ledger(), list[str]()
    settings = workshop.settings(scale=4, model="copy")
    assert scan(settings, ledger, again=True, dry_run=True, say=said.append) == {"to be restored": 1}
    assert size_of(workshop.folder / "a.jpg") == (40, 32)
    assert scan(settings, ledger, again=True, dry_run=False, say=said.append) == {"to be restored": 1}
    ledger.close()
    assert workshop.once(scale=4, model="copy") == {"done": 1, "skipped": 1}
    assert size_of(workshop.folder / "a.jpg") == (80, 64)
    assert workshop.store.holds(sha(data))
    ledger = workshop.ledger()
    assert scan(settings, ledger, again=True, dry_run=False, say=said.append) == {"restored already": 1}
    ledger.close()


def test_a_folder_that_vanishes_and_returns_starts_no_second_pass(workshop: Workshop) -> None:
    draw(workshop.folder / "a.jpg", 1)
    away = workshop.base / "away"
    with workshop.running() as daemon:
        wait_until(lambda: workshop.counts() == {"done": 1})
        workshop.folder.rename(away)
        wait_until(lambda: daemon.watcher.status()[0]["how"] == "away")
        draw(away / "b.jpg", 2)
        away.rename(workshop.folder)
        wait_until(lambda: workshop.counts() == {"done": 2})
        draw(workshop.folder / "c.jpg", 3)  # and events are heard again
        wait_until(lambda: workshop.counts() == {"done": 3})
    assert restored(workshop) == 3


def test_a_job_whose_folder_vanished_waits_for_it(workshop: Workshop) -> None:
    data = draw(workshop.folder / "a.jpg", 1)
    away = workshop.base / "away"

    def vanish(_: Order) -> None:
        if workshop.folder.exists() and not away.exists() and restored(workshop) == 1:
            workshop.folder.rename(away)

    workshop.engine = Copying(before=vanish)
    with workshop.running() as daemon:
        wait_until(lambda: daemon.watcher.status()[0]["how"] == "away")
        assert (away / "a.jpg").read_bytes() == data
        away.rename(workshop.folder)
        wait_until(lambda: workshop.counts() == {"done": 1})
    assert workshop.store.holds(sha(data))
    assert workshop.leftovers() == []
    assert list(workshop.folder.iterdir()) == [workshop.folder / "a.jpg"]


def test_a_folder_that_is_no_share_any_more_says_how_it_is_watched_again(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check, "_engine", lambda *_: [])
    ledger = workshop.ledger()
    ledger.folders.mark(workshop.folder, "the share")
    draw(workshop.folder / "a.jpg", 1)
    wanted = f"make an empty file {workshop.folder / MARKER}"
    found = check.check(workshop.settings(), Any)  # type: ignore[arg-type]
    assert any(wanted in one.words for one in found if one.level == "error")
    with workshop.running() as daemon:
        wait_until(lambda: wanted in daemon.watcher.status()[0]["why"])
        (workshop.folder / MARKER).touch()
        wait_until(lambda: workshop.counts() == {"done": 1})


def test_an_unmounted_share_is_told_from_an_empty_folder(workshop: Workshop) -> None:
    disk = workshop.base / "disk"
    disk.mkdir()

    def mount() -> int:
        command = ["mount", "--bind", str(disk), str(workshop.folder)]
        return subprocess.run(command, capture_output=True, check=False).returncode

    if os.name != "posix" or os.geteuid() != 0 or mount():
        pytest.skip("mounting is not permitted here: run as root")
    try:
        draw(workshop.folder / "a.jpg", 1)
        with workshop.running() as daemon:
            wait_until(lambda: workshop.counts() == {"done": 1})
            assert (disk / MARKER).is_file()
            subprocess.run(["umount", "-l", workshop.folder], check=True)
            wait_until(lambda: daemon.watcher.status()[0]["how"] == "away")
            assert "unmounted" in daemon.watcher.status()[0]["why"]
            draw(disk / "b.jpg", 2)
            assert mount() == 0
            wait_until(lambda: workshop.counts() == {"done": 2})
        assert restored(workshop) == 2
    finally:
        subprocess.run(["umount", "-l", workshop.folder], check=False, capture_output=True)
