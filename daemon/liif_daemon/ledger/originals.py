"""Originals in the store: which there are, and until when each is promised to stay."""

from __future__ import annotations

import errno
import os
import sqlite3
import time
from pathlib import Path

from liif_daemon.ledger.clock import Clock
from liif_daemon.ledger.database import Database
from liif_daemon.ledger.rows import Owner, path_of, raw


class Originals:
    """The ledger's part about originals.

    Args:
        file: the ledger's.
        clock: by which promises are kept.
    """

    def __init__(self, file: Database, clock: Clock) -> None:
        self._file, self._clock = file, clock

    def owner(self) -> Owner:
        """Who promises these originals: this ledger, wherever its file is moved to."""
        stores = frozenset(path_of(row[0]) for row in self._file.rows("SELECT path FROM stores"))
        return Owner(str(self._file.rows("SELECT id FROM identity")[0]["id"]), self._file.path, stores)

    def promise(self, sha256: str, size: int, store: Path, seconds: float) -> None:
        """An original is in the store, and stays for a time (infinite: for ever); a promise made is never shortened.

        Raises:
            OSError: an older copy of it is just leaving the store; try again when it has.
        """
        with self._file.change() as db:
            if db.execute("SELECT 1 FROM originals WHERE sha256 = ? AND gone = 2", (sha256,)).fetchone():
                raise OSError(
                    errno.EALREADY, "an older copy of it is just leaving the originals' store", os.fspath(store)
                )
            now = self._clock.now()
            self.know(store)
            db.execute(
                "INSERT INTO originals (sha256, size, stored, until) VALUES (?, ?, ?, ?)"
                " ON CONFLICT (sha256) DO UPDATE SET until = max(until, excluded.until),"
                " stored = CASE WHEN gone THEN excluded.stored ELSE stored END, gone = 0",
                (sha256, size, now, now + seconds),
            )

    def know(self, store: Path) -> None:
        """Originals of this ledger lie in a store."""
        with self._file.change() as db:
            db.execute("INSERT OR IGNORE INTO stores (path) VALUES (?)", (raw(store),))

    def all(self) -> list[sqlite3.Row]:
        """Rows of sha256, size, stored and until (by the ledger's clock), of the originals in the store."""
        return self._file.rows("SELECT * FROM originals WHERE NOT gone ORDER BY stored")

    def latest(self, count: int) -> list[str]:
        """SHA-256 of the originals that were stored last."""
        rows = self._file.rows("SELECT sha256 FROM originals WHERE NOT gone ORDER BY stored DESC LIMIT ?", (count,))
        return [row[0] for row in rows]

    def total(self) -> tuple[int, int]:
        """How many originals are in the store, and their bytes."""
        row = self._file.rows("SELECT count(*), coalesce(sum(size), 0) FROM originals WHERE NOT gone")[0]
        return int(row[0]), int(row[1])

    def until(self, sha256: str) -> float | None:
        """Until when an original is kept, Unix time (infinite: for ever); None if it is not in the store."""
        rows = self._file.rows("SELECT until FROM originals WHERE sha256 = ? AND NOT gone", (sha256,))
        return float(rows[0][0]) - self._clock.read() + time.time() if rows else None

    def let_go(self, original: sqlite3.Row) -> bool:
        """An original leaves the store; False if it is needed, or was promised anew since `all` told of it.

        It is leaving, and promised to nobody, until `has_left` is called.
        """
        with self._file.change() as db:
            found = db.execute(
                "UPDATE originals SET gone = 2 WHERE sha256 = :sha256 AND until = :until AND NOT gone AND NOT EXISTS"
                " (SELECT 1 FROM jobs WHERE source_sha256 = :sha256 AND state IN ('queued', 'claimed'))",
                {"sha256": original["sha256"], "until": original["until"]},
            )
            return found.rowcount > 0

    def leaving(self) -> list[str]:
        """SHA-256 of what is leaving the store, or was when somebody who had it leave was killed."""
        return [row[0] for row in self._file.rows("SELECT sha256 FROM originals WHERE gone = 2")]

    def has_left(self, sha256: str, *, is_gone: bool) -> None:
        """An original has left the store, or could not."""
        with self._file.change() as db:
            db.execute("UPDATE originals SET gone = ? WHERE sha256 = ? AND gone = 2", (is_gone, sha256))
