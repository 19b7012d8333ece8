"""The ledger's one discipline: a change is whole or not there, also where the disk refuses to take it back."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from liif_daemon.ledger import Ledger, database
from liif_daemon.ledger.review import Filter, ReviewLedger

from liif_engine.errors import LiifError, OutputError

from .workshop import left_open


class Refusing:
    """A connection that refuses some words once each, as on a disk that fails."""

    def __init__(self, connection: sqlite3.Connection, *words: str) -> None:
        self.connection, self.words = connection, list(words)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.connection, name)

    def execute(self, statement: str, *values: Any) -> Any:
        if statement in self.words:
            self.words.remove(statement)
            raise sqlite3.OperationalError("disk I/O error")
        return self.connection.execute(statement, *values)


def test_a_change_that_cannot_be_taken_back_swallows_none_that_follow(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger")
    ledger._file._file = Refusing(ledger._file._file, "COMMIT", "ROLLBACK")  # type: ignore[assignment]
    with pytest.raises(OutputError, match="cannot be written"):
        ledger.folders.agree(tmp_path / "first")
    ledger.folders.agree(tmp_path / "second")
    other = Ledger(tmp_path / "ledger")  # as the next start will find it
    assert not other.folders.is_agreed(tmp_path / "first")
    assert other.folders.is_agreed(tmp_path / "second")
    other.close()
    ledger.close()


def test_what_changed_last_is_listed_first_though_the_clock_was_set_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = ReviewLedger(tmp_path / "ledger")
    row = {"folder": tmp_path, "target": "2x", "in_place": True, "size": 1, "mtime_ns": 1, "model": "web"}
    row |= {"width": 1, "height": 1}
    for number, now in enumerate((4e9, 1e9, 2e9, 1e9)):  # the last one changes a row that is there
        with monkeypatch.context() as patched:
            patched.setattr(time, "time", lambda now=now: now)
            name = f"{number % 3}.jpg"
            ledger.note({**row, "path": tmp_path / name, "source_sha256": name}, "failed", "no picture")
    asked, latest = Filter(view="failed"), ["0.jpg", "2.jpg", "1.jpg"]
    jobs = ledger.page(asked, 9)
    assert [job.path.name for job in jobs] == latest
    assert [job.path.name for job in ledger.page(asked, 9, after=jobs[0].sequence)] == latest[1:]
    assert ledger.before(asked, jobs[2]) == jobs[1]
    assert [job.path.name for job in ledger.overview.recent("failed", 9)] == latest
    assert [job.path.name for (job,) in ledger.overview.recent_files("failed", 9)] == latest
    assert [job.changed for job in jobs] == [1e9, 2e9, 1e9]
    ledger.close()


def test_changes_together_are_one(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger")

    def stumble() -> None:
        with ledger.together():
            ledger.folders.agree(tmp_path)
            ledger.folders.mark(tmp_path, "share")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        stumble()
    assert not ledger.folders.is_agreed(tmp_path)
    assert ledger.folders.marker(tmp_path) is None
    with ledger.together():
        ledger.folders.agree(tmp_path)
    assert ledger.folders.is_agreed(tmp_path)
    ledger.close()


@pytest.mark.parametrize("other", [False, True])
def test_a_ledger_that_was_taken_away_is_not_written_any_more(tmp_path: Path, other: bool) -> None:
    ledger = Ledger(tmp_path / "ledger")
    ledger.folders.agree(tmp_path / "first")
    (tmp_path / "ledger").rename(tmp_path / "elsewhere")
    if other:
        Ledger(tmp_path / "ledger").close()
    with pytest.raises(OutputError, match="removed or replaced"):
        ledger.folders.agree(tmp_path / "second")
    ledger.close()


def read(path: Path) -> None:
    ledger = Ledger(path)
    try:
        ledger.jobs(state="done")
    finally:
        ledger.close()


def fill(ledger: Ledger, folder: Path) -> None:
    for number in range(999):
        ledger.folders.agree(folder / ("x" * 200) / str(number))


@pytest.mark.parametrize("start", [0, 4096])
def test_a_damaged_ledger_is_said_to_be_one(tmp_path: Path, start: int) -> None:
    path = tmp_path / "ledger.sqlite3"
    Ledger(path).close()
    read(path)
    whole = path.read_bytes()
    path.write_bytes(whole[:start] + b"\xff" * (len(whole) - start))
    with pytest.raises(OutputError) as caught:
        read(path)
    assert "damaged" in caught.value.remedy
    assert "ledger.sqlite3-*" in caught.value.remedy


@pytest.mark.parametrize("what", ["a name of a table", "a value"])
def test_a_ledger_whose_text_is_damaged_is_said_to_be_one(tmp_path: Path, what: str) -> None:
    """Which Python's module for SQLite tells as an error of Unicode."""
    ledger = Ledger(tmp_path / "ledger.sqlite3")
    ledger.queue(queued_rows(tmp_path, 1))
    with ledger._file.change() as db:
        if what == "a value":
            db.execute("UPDATE jobs SET model = CAST(x'ff' AS TEXT)")
        else:
            db.execute("PRAGMA writable_schema = ON")
            db.execute("UPDATE sqlite_master SET name = CAST(x'ff' AS TEXT), sql = 'CREATE' WHERE name = 'clock'")
    ledger.close()
    for action in (lambda one: one.jobs(), lambda one: one.claim()):
        with pytest.raises(OutputError, match="cannot be") as caught:
            action(left_open(Ledger(tmp_path / "ledger.sqlite3")))
        assert "damaged" in caught.value.remedy


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="this system does not tell which files are open")
@pytest.mark.parametrize("fault", ["damaged", "newer"])
def test_a_ledger_that_cannot_be_used_is_not_left_open(tmp_path: Path, fault: str) -> None:
    path = tmp_path / "ledger.sqlite3"
    ledger = Ledger(path)
    ledger._file._file.execute("PRAGMA user_version = 999")
    ledger.close()
    if fault == "damaged":
        path.write_bytes(b"\xff" * 8192)
    with pytest.raises(LiifError) as caught:
        Ledger(path)
    open_files = [os.readlink(one) for one in Path("/proc/self/fd").iterdir() if one.is_symlink()]  # noqa: PTH115
    assert str(path) not in open_files, caught  # which holds on to all that it met


def test_a_ledger_whose_disk_is_full_is_not_said_to_be_damaged(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.sqlite3")
    ledger._file._file.execute("PRAGMA max_page_count = 1")
    with pytest.raises(OutputError, match="full") as caught:
        fill(ledger, tmp_path)
    assert "damaged" not in caught.value.remedy
    ledger.close()


def test_a_ledger_that_another_process_is_just_making_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `status` beside the daemon's first start. SQLite itself waits for most locks, and not for this one."""
    other = sqlite3.connect(tmp_path / "ledger", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    waits = list[float]()

    def wait(seconds: float) -> None:
        waits.append(seconds)
        other.rollback()

    monkeypatch.setattr(database.time, "sleep", wait)
    Ledger(tmp_path / "ledger").close()
    other.close()
    assert len(waits) == 1


def test_a_ledger_that_is_only_looked_at_is_not_made_and_is_seen_once_it_is(tmp_path: Path) -> None:
    """As by `status`, which stays open while the daemon is started for the first time."""
    path = tmp_path / "state" / "ledger"
    looking = Ledger(path, making=False)
    assert not looking.folders.is_agreed(tmp_path)
    assert list(tmp_path.iterdir()) == []
    made = Ledger(path)
    made.folders.agree(tmp_path)
    assert looking.folders.is_agreed(tmp_path)
    made.close()
    looking.close()


class Steps:
    """Counts what SQLite does, in hundreds of its own steps; no clock is as sure."""

    def __init__(self, ledger: Ledger) -> None:
        self.count = 0
        ledger._file._file.set_progress_handler(self._one_more, 100)

    def _one_more(self) -> int:
        self.count += 1
        return 0

    def of(self, action: Callable[[], Any]) -> int:
        before = self.count
        action()
        return self.count - before


def queued_rows(folder: Path, count: int) -> list[dict[str, Any]]:
    row = {"folder": folder, "target": "2x", "in_place": True, "size": 1, "mtime_ns": 1, "model": "web"}
    row |= {"width": 1, "height": 1}
    return [{**row, "path": folder / f"{number}.jpg", "source_sha256": f"{number}"} for number in range(count)]


@pytest.mark.parametrize("waits", ["never waited", "waited", "in another folder"])
def test_a_claim_takes_no_longer_however_many_are_queued(tmp_path: Path, waits: str) -> None:
    ledger, folder, many = Ledger(tmp_path / "ledger"), tmp_path / "a", 3000
    with ledger.together():
        ledger.queue(queued_rows(tmp_path / "b" if waits == "in another folder" else folder, many))
        if waits == "waited":
            for job in ledger.jobs():
                ledger.wait(job, "no engine", 0, counts=False)
        ledger.queue(queued_rows(folder, many + 1)[many:])
    steps = Steps(ledger)
    for _ in range(3):
        assert steps.of(lambda: ledger.claim([folder])) < 10
        assert steps.of(lambda: ledger.claim([tmp_path / "c"])) < 10
        assert steps.of(lambda: ledger.has_untried([folder], ())) < 10
    ledger.close()


def test_what_never_waited_is_claimed_first_then_what_is_due_and_suspects_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger, now = Ledger(tmp_path / "ledger"), time.time()
    ledger.queue(queued_rows(tmp_path / "a", 4))
    ledger.queue([{**row, "source_sha256": "other"} for row in queued_rows(tmp_path / "b", 1)])
    never, failed, due, not_due, other = ledger.jobs()
    ledger.wait(failed, "the engine crashed", 0, counts=True)
    ledger.wait(due, "no engine", 0, counts=False)
    ledger.wait(not_due, "no engine", 60, counts=False)
    folders = [tmp_path / "b", tmp_path / "a"]
    claimed = [job.id for _ in range(5) for job in ledger.claim(folders)]
    assert claimed == [never.id, other.id, due.id, failed.id]
    monkeypatch.setattr(time, "time", lambda: now - 1e6)  # the clock is set back
    assert [job.id for job in ledger.claim(folders)] == [not_due.id]
    ledger.close()


def test_an_original_is_promised_as_fast_however_many_are_kept(tmp_path: Path) -> None:
    ledger, many = Ledger(tmp_path / "ledger"), 1000
    steps = Steps(ledger)
    with ledger.together():
        first = steps.of(lambda: ledger.originals.promise("first", 1, tmp_path, 1))
        for number in range(many):
            ledger.originals.promise(str(number), 1, tmp_path, 1)
        assert steps.of(lambda: ledger.originals.promise("last", 1, tmp_path, 1)) <= first + 2
    ledger.close()
