"""What a folder's restoration has done so far: one row a file, so that the next run does only the rest.

All SQL of it is here. The journal only ever saves work: what it lost, results say of themselves by their marker.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import sqlite3
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from liif_engine.errors import OutputError
from liif_engine.sqlite_integers import from_sqlite, to_sqlite

#: Its name in the folder of the results.
NAME = ".liif-restore.journal"

#: Why it may be deleted.
_KNOWN_WITHOUT = "results are known by what they say of themselves too, but for BMP, which cannot say it"

#: Where a file can be written, but not by SQLite.
_NO_DATABASES = (
    "If the disk is sound, its file system lets no database change a file in part: give rclone --vfs-cache-mode writes,"
    " or choose an --out on another disk."
)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS files (
    path BLOB PRIMARY KEY,         -- below the folder, as the system spells it
    settings TEXT NOT NULL,        -- that the result was asked for with
    state TEXT NOT NULL,           -- begun, done or failed
    reason TEXT NOT NULL,          -- why it failed
    source_size INTEGER NOT NULL,
    source_mtime_ns INTEGER NOT NULL,
    source_sha256 TEXT NOT NULL,
    result_size INTEGER NOT NULL,
    result_mtime_ns INTEGER NOT NULL,
    changed REAL NOT NULL          -- Unix time
) WITHOUT ROWID
"""

_COLUMNS = re.findall(r"^    (\w+) ", _SCHEMA, re.MULTILINE)


class _OtherVersionError(Exception):
    """The journal has other columns than ours."""


@dataclass(frozen=True)
class Glance:
    """What tells a file from another version of it without reading it."""

    size: int
    mtime_ns: int

    @classmethod
    def of(cls, path: Path) -> Glance | None:
        """A file's; None if there is none, or it cannot be told."""
        try:
            return cls.at(path)
        except OSError:
            return None

    @classmethod
    def at(cls, path: Path) -> Glance:
        """A file's.

        Raises:
            OSError: there is none, or it cannot be told.
        """
        found = path.stat()
        return cls(found.st_size, found.st_mtime_ns)


@dataclass(frozen=True)
class Row:
    """What is known of one file.

    Attributes:
        settings: that its result was asked for with.
        state: ``begun``, ``done`` or ``failed``.
        source, result: as they were then.
        source_sha256: of the source, if it is done.
    """

    settings: str
    state: str
    source: Glance
    result: Glance
    source_sha256: str


def _open(where: Path | str) -> sqlite3.Connection:
    db = sqlite3.connect(where, timeout=1, isolation_level=None, check_same_thread=False)
    try:
        # Alone, so that a second run is told, and so that no shared memory is needed, which network shares lack.
        db.execute("PRAGMA locking_mode=EXCLUSIVE")
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=NORMAL")
        db.execute(_SCHEMA)
        if [row[1] for row in db.execute("PRAGMA table_info(files)")] != _COLUMNS:
            raise _OtherVersionError
        db.execute("BEGIN IMMEDIATE")
        db.execute("COMMIT")
    except (sqlite3.Error, _OtherVersionError):
        db.close()
        raise
    return db


def _is_writable(path: Path) -> bool:
    return os.access(path, os.W_OK, effective_ids=os.access in os.supports_effective_ids)


def _has_locks(path: Path) -> bool:
    """Whether a file can be locked, as far as the system tells; not to be asked while this process holds its lock."""
    if sys.platform == "win32":
        return True
    import fcntl

    try:
        with path.open("rb") as file:
            fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB, 1, 1 << 20)
    except OSError as error:
        return error.errno != errno.ENOLCK
    return True


def _why_not(path: Path) -> str:
    """Why a file cannot be written to, which is not there perhaps, as where a disk has room for no more files."""
    if not os.path.lexists(path):
        try:
            path.touch()
        except OSError as error:
            return f"it cannot be made: {error.strerror}"
    return "it is not to be written to"


class Journal:
    """One file, open in this process alone; used by one thread.

    A row survives the death of the process; a power loss may take the last ones.

    Args:
        folder: of the results.
        dry: whether nothing is to be written; what is there is read all the same.

    Raises:
        OutputError: it cannot be opened, is a symbolic link, or another run has it open.
    """

    def __init__(self, folder: Path, *, dry: bool = False) -> None:
        self.path = folder / NAME
        self._dry = dry
        self._copy: tempfile.TemporaryDirectory[str] | None = None
        try:
            self._db = self._opened()
        except sqlite3.OperationalError as error:
            has_locks = _has_locks(self.path)  # SQLite says "locked" of a file system without them too
            if "locked" in str(error) and has_locks:
                remedy = "Let it end, or choose another --out."
                raise OutputError("another run is at work in this folder", path=folder, remedy=remedy) from error
            # What SQLite says of a file that it may not lock for itself alone is "disk I/O error".
            is_writable = _is_writable(self.path)
            words = error if is_writable else _why_not(self.path)
            words = words if has_locks else "its file system has no locks"
            advice = None if not is_writable else _NO_DATABASES if has_locks else "Choose an --out on another disk."
            raise OutputError(f"the journal cannot be opened ({words})", path=self.path, remedy=advice) from error
        except _OtherVersionError as error:
            remedy = f"Use that version, or delete it: {_KNOWN_WITHOUT}."
            raise OutputError("the journal is that of another version", path=self.path, remedy=remedy) from error
        except sqlite3.Error as error:
            raise self._unreadable(error) from error

    def find(self, path: Path) -> Row | None:
        """What is known of a file, by its path below the folder.

        Raises:
            OutputError: the journal is damaged.
        """
        try:
            row = self._db.execute(
                "SELECT settings, state, source_size, source_mtime_ns, result_size, result_mtime_ns, source_sha256"
                " FROM files WHERE path = ?",
                (os.fsencode(path),),
            ).fetchone()
            if row is None:
                return None
            source, result = Glance(row[2], from_sqlite(row[3])), Glance(row[4], from_sqlite(row[5]))
        except (sqlite3.Error, ValueError) as error:
            raise self._unreadable(error) from error
        return Row(row[0], row[1], source, result, row[6])

    def begin(self, path: Path, settings: str, source: Glance) -> None:
        """From now on, what has the result's name may be ours."""
        self._write(path, settings, "begun", "", source, Glance(0, 0), "")

    def done(self, path: Path, settings: str, source: Glance, result: Glance, source_sha256: str) -> None:
        """The result is complete and verified."""
        self._write(path, settings, "done", "", source, result, source_sha256)

    def failed(self, path: Path, settings: str, source: Glance, reason: str) -> None:
        """There is no result; the next run tries again."""
        self._write(path, settings, "failed", reason, source, Glance(0, 0), "")

    def close(self) -> None:
        """Makes everything durable.

        Raises:
            OutputError: the disk is full or gone. What was written before is there at the next run all the same.
        """
        try:
            if not self._dry:
                self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error as error:
            raise OutputError(f"the journal cannot be written ({error})", path=self.path) from error
        finally:
            self._db.close()
            if self._copy is not None:
                self._copy.cleanup()

    def _opened(self) -> sqlite3.Connection:
        if self.path.is_symlink():  # whoever may write into the folder would choose what is written to
            raise OutputError(
                "the journal is a symbolic link, and those are not followed", path=self.path, remedy="Delete it."
            )
        if not self._dry:
            return _open(self.path)
        if not self.path.exists():
            return _open(":memory:")
        try:
            return _open(self.path)
        except sqlite3.OperationalError as error:
            has_locks = _has_locks(self.path)  # SQLite says "locked" of a file system without them too
            if "locked" in str(error) and has_locks:
                raise
            return _open(self._copied())

    def _copied(self) -> Path:
        """A copy that can be written to, as SQLite has to where the last run's log was not worked in.

        Raises:
            OutputError: it cannot be read, or there is no room for it.
        """
        try:
            self._copy = tempfile.TemporaryDirectory(prefix="liif-journal-")
            copy = Path(self._copy.name) / NAME
            shutil.copyfile(self.path, copy)
            with suppress(FileNotFoundError):
                shutil.copyfile(f"{self.path}-wal", f"{copy}-wal")
        except OSError as error:
            words = f"the journal cannot be copied ({error.strerror or error})"
            raise OutputError(words, path=self.path) from error
        return copy

    def _unreadable(self, error: Exception) -> OutputError:
        remedy = f"Delete it: {_KNOWN_WITHOUT}."
        return OutputError(f"the journal cannot be read ({error})", path=self.path, remedy=remedy)

    def _write(
        self, path: Path, settings: str, state: str, reason: str, source: Glance, result: Glance, source_sha256: str
    ) -> None:
        if self._dry:
            return
        values = (os.fsencode(path), settings, state, reason.encode("utf-8", "replace").decode())
        times = to_sqlite(source.mtime_ns), to_sqlite(result.mtime_ns)
        facts = (source.size, times[0], source_sha256, result.size, times[1], time.time())
        try:
            self._db.execute("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", values + facts)
        except sqlite3.OperationalError as error:
            raise OutputError(f"the journal cannot be written ({error})", path=self.path) from error
        except sqlite3.Error as error:
            raise self._unreadable(error) from error
