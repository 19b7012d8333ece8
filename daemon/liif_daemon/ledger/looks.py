"""Files that were looked at: as long as `stat` says the same of one, it need not be read again."""

from __future__ import annotations

from pathlib import Path

from liif_daemon.ledger.database import Database
from liif_daemon.ledger.rows import Glance, glance_of, raw, stored_glance
from liif_engine.sqlite_integers import to_sqlite


class Looks:
    """The ledger's part about looks.

    Args:
        file: the ledger's.
    """

    def __init__(self, file: Database) -> None:
        self._file = file

    def knows(self, path: Path, glance: Glance, rules: str) -> bool:
        """Whether this file was looked at as it is now, under the same rules."""
        rows = self._file.rows("SELECT * FROM seen WHERE path = ?", (raw(path),))
        return bool(rows) and glance_of(rows[0]) == glance and rows[0]["rules"] in {"", rules}

    def content(self, path: Path, glance: Glance) -> str | None:
        """SHA-256 of this file if it was looked at as it is now."""
        known, sha256 = self.last(path)
        return sha256 if known == glance else None

    def last(self, path: Path) -> tuple[Glance, str] | tuple[None, None]:
        """What `stat` said of the file that was looked at last under a name, and its SHA-256."""
        rows = self._file.rows("SELECT * FROM seen WHERE path = ?", (raw(path),))
        return (glance_of(rows[0]), str(rows[0]["sha256"])) if rows else (None, None)

    def remember(self, path: Path, glance: Glance, sha256: str, rules: str) -> None:
        """A file was looked at. `rules` is empty where no settings could change what came of it."""
        with self._file.change() as db:
            db.execute(
                "INSERT OR REPLACE INTO seen (path, size, mtime_ns, ctime_ns, inode, sha256, rules)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                (raw(path), *stored_glance(glance), sha256, rules),
            )

    def forget(self, path: Path) -> None:
        """A file is to be looked at again."""
        with self._file.change() as db:
            db.execute("DELETE FROM seen WHERE path = ?", (raw(path),))

    def died_of(self, path: Path, glance: Glance) -> int:
        """Counts a death at the look at a file as it is now; returns how many there were."""
        with self._file.change() as db:
            row = db.execute("SELECT * FROM looks WHERE path = ?", (raw(path),)).fetchone()
            mtime = to_sqlite(glance.mtime_ns)
            same = row is not None and (row["size"], row["mtime_ns"]) == (glance.size, mtime)
            deaths = 1 + (row["deaths"] if same else 0)
            values = (raw(path), glance.size, mtime, deaths)
            db.execute("INSERT OR REPLACE INTO looks (path, size, mtime_ns, deaths) VALUES (?, ?, ?, ?)", values)
            return deaths
