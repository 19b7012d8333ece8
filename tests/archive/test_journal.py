"""The journal that is in use, is none, is damaged, or finds the disk full."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from liif_engine.archive.journal import NAME, Glance, Journal
from liif_engine.archive.order import Order
from liif_engine.archive.restore import Archive
from liif_engine.errors import OutputError
from liif_engine.target import Target
from tests.archive.folders import COPYING, HERE, draw, restore


def test_two_runs_in_one_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    journal = Journal(tmp_path / "new")
    with pytest.raises(OutputError, match="another run"):
        Journal(tmp_path / "new")
    journal.close()


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="this system does not tell which files are open")
def test_a_journal_that_cannot_be_used_is_not_left_open(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(b"not a database, but long enough to be looked at as one" * 40)
    with pytest.raises(OutputError) as caught:
        Journal(tmp_path)
    open_files = [os.readlink(one) for one in Path("/proc/self/fd").iterdir() if one.is_symlink()]  # noqa: PTH115
    assert str(tmp_path / NAME) not in open_files, caught  # which holds on to all that it met


@pytest.mark.parametrize("dry", [False, True])
@pytest.mark.parametrize("is_there", [False, True])
def test_a_journal_that_is_a_link_is_refused_and_what_it_leads_to_stays(
    tmp_path: Path, dry: bool, is_there: bool
) -> None:
    """Whoever may write into the folder of the results has put it there."""
    (tmp_path / "new").mkdir()
    other, made = tmp_path / "other", b""
    if is_there:
        sqlite3.connect(other).execute("CREATE TABLE theirs (name)").connection.close()
        made = other.read_bytes()
    (tmp_path / "new" / NAME).symlink_to(other)
    with pytest.raises(OutputError, match="symbolic link") as caught:
        Journal(tmp_path / "new", dry=dry)
    assert caught.value.remedy == "Delete it."
    assert other.exists() is is_there
    assert not is_there or other.read_bytes() == made


def test_a_journal_that_is_none_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / NAME).write_bytes(b"not a database, but long enough to be looked at as one" * 40)
    with pytest.raises(OutputError, match="journal cannot be read") as caught:
        Journal(tmp_path / "new")
    assert "Delete" in caught.value.remedy


def test_a_journal_that_is_damaged_further_in_is_told_of_in_words(tmp_path: Path) -> None:
    journal, glance = Journal(tmp_path), Glance(1, 1)
    for number in range(300):
        journal.done(Path(f"{number}.jpg"), "settings", glance, glance, "0" * 64)
    journal.close()
    content = journal.path.read_bytes()
    journal.path.write_bytes(content[:8192] + b"\xff" * (len(content) - 8192))
    with contextlib.closing(Journal(tmp_path)) as journal:
        with pytest.raises(OutputError, match="journal cannot be read") as found:
            journal.find(Path("5.jpg"))
        with pytest.raises(OutputError, match="journal cannot be read") as begun:
            journal.begin(Path("5.jpg"), "settings", glance)
    assert "Delete it" in found.value.remedy
    assert "Delete it" in begun.value.remedy


@pytest.mark.parametrize("change", ["ADD COLUMN more TEXT", "DROP COLUMN settings", "RENAME COLUMN state TO how"])
@pytest.mark.parametrize("dry", [False, True])
def test_a_journal_of_another_version_is_called_that_and_stays_as_it_is(
    tmp_path: Path, change: str, *, dry: bool
) -> None:
    Journal(tmp_path).close()
    with contextlib.closing(sqlite3.connect(tmp_path / NAME)) as db:
        db.execute(f"ALTER TABLE files {change}")
    before = (tmp_path / NAME).read_bytes()
    with pytest.raises(OutputError, match="journal is that of another version") as caught:
        Journal(tmp_path, dry=dry)
    assert "delete it" in caught.value.remedy
    assert (tmp_path / NAME).read_bytes() == before


def test_a_row_of_no_sense_is_damage_and_no_fault_of_ours(tmp_path: Path) -> None:
    with contextlib.closing(Journal(tmp_path)) as journal:
        journal.done(Path("a.jpg"), "settings", Glance(1, 1), Glance(1, 1), "0" * 64)
        journal._db.execute("UPDATE files SET source_mtime_ns = 'none'")
        with pytest.raises(OutputError, match="journal cannot be read") as caught:
            journal.find(Path("a.jpg"))
    assert "Delete it" in caught.value.remedy


@contextlib.contextmanager
def disk(folder: Path, limit: str) -> Iterator[Path]:
    """A file system of its own that holds little."""
    small = folder / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", limit, "liif-test", str(small)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting is not permitted here: run as root to fill a real disk")
    try:
        yield small
    finally:
        subprocess.run(["umount", "-l", small], check=True)


def test_a_journal_that_there_is_no_room_for_is_not_called_closed_to_us(tmp_path: Path) -> None:
    with disk(tmp_path, "nr_inodes=2") as small:
        (small / "file").touch()
        with pytest.raises(OutputError, match="it cannot be made: No space left on device"):
            Journal(small)


def test_a_journal_that_cannot_be_written_ends_the_run_also_where_results_are_known_without_it(tmp_path: Path) -> None:
    """Each of a million files would fail of it."""
    for number in range(3):
        draw(tmp_path / "old" / f"{number}.png", number)
    restore(tmp_path / "old", tmp_path / "new")
    (tmp_path / "new" / NAME).unlink()
    archive = Archive(Order(tmp_path / "old", tmp_path / "new", Target(scale=2), model="copy"))
    archive.journal._db.execute("PRAGMA query_only=ON")
    with pytest.raises(OutputError, match="the journal cannot be written"), archive:
        archive.run(HERE, COPYING)
    assert archive.summary.failures == []
    assert archive.summary.kept == 0


def test_a_journal_that_finds_the_disk_full_says_so_to_the_end(tmp_path: Path) -> None:
    with disk(tmp_path, "size=64k") as small:
        journal = Journal(small)
        rows = (journal.failed(Path(f"{n}.jpg"), "{}", Glance(1, 1), "because") for n in range(10_000))
        with pytest.raises(OutputError, match="the journal cannot be written"):
            list(rows)
        with contextlib.suppress(OutputError):  # where SQLite's own room sufficed there is nothing to say
            journal.close()
        again = Journal(small, dry=True)
        assert again.find(Path("0.jpg")) is not None
        again.close()


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="needs root, to become uid 65534")
@pytest.mark.parametrize("is_killed", [False, True])
def test_a_dry_run_reads_a_journal_that_is_not_to_be_written_to(is_killed: bool) -> None:
    with tempfile.TemporaryDirectory(prefix="liif-nobody-") as base:
        folder, glance = Path(base, "new"), Glance(1, 1)
        folder.mkdir()
        Path(base).chmod(0o755)
        journal = Journal(folder)
        journal.done(Path("a.jpg"), "settings", glance, glance, "0" * 64)
        if is_killed:  # what it did last stands in its log alone
            shutil.copytree(folder, folder.with_name("killed"))
            folder = folder.with_name("killed")
        journal.close()
        before = {path.name: path.read_bytes() for path in folder.iterdir()}
        os.seteuid(65534)
        try:
            dry = Journal(folder, dry=True)
            found = dry.find(Path("a.jpg"))
            dry.close()
            with pytest.raises(OutputError, match=r"journal cannot be opened \(it is not to be written to\)"):
                Journal(folder)
        finally:
            os.seteuid(0)
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert found is not None
    assert found.state == "done"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fcntl")
def test_a_file_system_without_locks_is_said_to_be_that_and_no_other_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite says "database is locked" of both."""
    import fcntl

    def refuse(*_: object) -> NoReturn:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    with contextlib.closing(Journal(tmp_path)):
        monkeypatch.setattr(fcntl, "lockf", refuse)
        with pytest.raises(OutputError, match="its file system has no locks") as caught:
            Journal(tmp_path)
    assert "another disk" in caught.value.remedy


def test_where_no_database_can_be_kept_that_is_said_and_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on rclone without a cache, of which SQLite says that the disk fails."""

    def connect(*_: object, **__: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    (tmp_path / NAME).touch()
    monkeypatch.setattr(sqlite3, "connect", connect)
    with pytest.raises(OutputError, match="disk I/O error") as caught:
        Journal(tmp_path)
    assert "choose an --out on another disk" in caught.value.remedy
