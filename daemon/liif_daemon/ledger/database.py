"""The ledger's file: each change is one transaction, whichever part of the ledger makes it."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from liif_daemon.ledger.schema import MIGRATIONS
from liif_engine.errors import LiifError, OutputError
from liif_engine.picture.new_folder import make

#: Another process (`undo`, `retry`) may hold the ledger for so long. [s]
BUSY_SECONDS = 30

#: What SQLite says of a file that a failing disk, or somebody's copy of it amid a change, has damaged.
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
#: What it raises, or Python of a text that is none.
_FAULTS = (sqlite3.Error, UnicodeDecodeError)
_DAMAGED_REMEDY = (
    "The file is damaged. Put a backup of it in its place; or move it away, and a new one is begun: the originals stay"
    " where they are kept, and most results are known by their metadata. With it go the files"
)


class Database:
    """One SQLite file, open in this process; its methods may be called from any thread.

    Args:
        path: made if it is not there.
        making: whether it is; if not, it reads as an empty one, in memory, until somebody else has made it.

    Raises:
        OutputError: it cannot be opened.
        LiifError: a newer version wrote it.
    """

    def __init__(self, path: Path, *, making: bool = True) -> None:
        self.path = path
        self._lock, self._changes = threading.RLock(), False
        self._identity: tuple[int, int] | None = None
        self._is_missing = not making and _is_missing(path)
        self._open()

    def _open(self) -> None:
        options: dict[str, Any] = {"timeout": BUSY_SECONDS, "isolation_level": None, "check_same_thread": False}
        try:
            if not self._is_missing:
                make(self.path.parent, 0o700)
            self._file: sqlite3.Connection = sqlite3.connect(":memory:" if self._is_missing else self.path, **options)
        except (OSError, sqlite3.Error) as error:
            raise self._fault("opened", error) from error
        try:
            self._file.row_factory = sqlite3.Row
            self._keep_a_log()
            self._file.execute("PRAGMA synchronous=FULL")
            self._migrate()
        except _FAULTS as error:
            self._file.close()
            raise self._fault("opened", error) from error
        except BaseException:
            self._file.close()
            raise

    def close(self) -> None:
        """Closes the file."""
        with self._lock:
            self._file.close()

    @contextmanager
    def change(self) -> Iterator[sqlite3.Connection]:
        """One transaction; what fails inside leaves no trace. One within another is part of that.

        Raises:
            OutputError: it cannot be written.
        """
        with self._lock:
            if self._changes:
                yield self._file
                return
            try:
                if self._file.in_transaction:  # one that could not be ended
                    self._file.execute("ROLLBACK")
                self._file.execute("BEGIN IMMEDIATE")
                self._check_place()
                self._changes = True
                yield self._file
                self._file.execute("COMMIT")
                self._identity = self._identity or self._identity_there()
            except _FAULTS as error:
                raise self._fault("written", error) from error
            finally:
                self._changes = False
                with suppress(sqlite3.Error):  # of a full disk SQLite may have let go itself
                    if self._file.in_transaction:
                        self._file.execute("ROLLBACK")

    def rows(self, query: str, values: Iterable[Any] | dict[str, Any] = ()) -> list[sqlite3.Row]:
        """What a query finds.

        Raises:
            OutputError: it cannot be read.
        """
        with self._lock:
            if self._is_missing and not _is_missing(self.path):
                self.close()
                self._is_missing = False
                self._open()
            try:
                return self._file.execute(query, values if isinstance(values, dict) else tuple(values)).fetchall()
            except _FAULTS as error:
                raise self._fault("read", error) from error

    def check(self) -> None:
        """Reads the whole file: what is damaged of it is otherwise met only where it is needed.

        Raises:
            OutputError: it cannot be read.
        """
        found = self.rows("PRAGMA quick_check(1)")[0][0]
        if found != "ok":
            words = found.splitlines()[-1]  # behind a headline
            raise OutputError(f"the ledger cannot be read ({words})", path=self.path, remedy=self._damaged_remedy())

    def _check_place(self) -> None:
        """Refuses changes to a file that was taken from its place: nobody would find them there.

        What lies there is known from the first change on, since some file systems make a new file then.
        """
        if self._identity is not None and self._identity_there() != self._identity:
            raise OutputError(
                "the ledger was removed or replaced while it was in use",
                path=self.path,
                remedy="Put it back, with the files beside it, and restart the daemon; without it, a new one is begun.",
            )

    def _identity_there(self) -> tuple[int, int] | None:
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def _fault(self, done: str, error: Exception) -> OutputError:
        is_no_text = isinstance(error, UnicodeDecodeError) or "decode to UTF-8" in str(error)
        is_damaged = is_no_text or getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGED
        remedy = self._damaged_remedy() if is_damaged else None
        return OutputError(f"the ledger cannot be {done} ({error})", path=self.path, remedy=remedy)

    def _damaged_remedy(self) -> str:
        return f"{_DAMAGED_REMEDY} {self.path.name}-*"

    def _keep_a_log(self) -> None:
        """Has changes go into a file beside. SQLite refuses it at once of a file that somebody else is just making."""
        deadline = time.monotonic() + BUSY_SECONDS
        while True:
            try:
                self._file.execute("PRAGMA journal_mode=WAL")
                return
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
                time.sleep(0.02)

    def _migrate(self) -> None:
        """Brings the file up to this version, one transaction a step."""
        version = self._file.execute("PRAGMA user_version").fetchone()[0]
        if version > len(MIGRATIONS):
            raise LiifError(
                f"the ledger was written by a newer version ({version}; this one knows {len(MIGRATIONS)})",
                path=self.path,
                remedy="Install the newer version again.",
            )
        for number, script in enumerate(MIGRATIONS[version:], version + 1):
            with self.change() as db:
                # Somebody else may have been first.
                if db.execute("PRAGMA user_version").fetchone()[0] < number:
                    for statement in _statements(script):
                        db.execute(statement)
                    db.execute(f"PRAGMA user_version = {number}")


def _is_missing(path: Path) -> bool:
    try:
        path.stat()
    except FileNotFoundError:
        return True
    except OSError:  # closed to us, which is said when it is opened
        pass
    return False


def _statements(script: str) -> Iterator[str]:
    """A script's statements; a trigger has some within."""
    statement = ""
    for piece in script.split(";"):
        statement += f"{piece};"
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
