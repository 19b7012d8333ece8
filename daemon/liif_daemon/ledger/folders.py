"""Watched folders: which share each is, and whether its first run was agreed to."""

from __future__ import annotations

from pathlib import Path

from liif_daemon.ledger.database import Database
from liif_daemon.ledger.rows import path_of, raw


class Folders:
    """The ledger's part about watched folders.

    Args:
        file: the ledger's.
    """

    def __init__(self, file: Database) -> None:
        self._file = file

    def marker(self, path: Path) -> str | None:
        """The name of the share that is mounted on a folder; None if it has none."""
        rows = self._file.rows("SELECT marker FROM folders WHERE path = ?", (raw(path),))
        return rows[0]["marker"] if rows else None

    def mark(self, path: Path, marker: str) -> None:
        """A share that is mounted on a folder has a name now."""
        self._set(path, "marker", marker)

    def is_agreed(self, path: Path) -> bool:
        """Whether the first run in a folder was agreed to."""
        return bool(self._file.rows("SELECT 1 FROM folders WHERE path = ? AND agreed", (raw(path),)))

    def agree(self, path: Path) -> None:
        """The first run in a folder was agreed to."""
        self._set(path, "agreed", 1)

    def all(self) -> list[Path]:
        """Every folder that was watched, under the name by which it was named."""
        rows = self._file.rows("SELECT path FROM folders UNION SELECT folder FROM jobs")
        return [path_of(row[0]) for row in rows]

    def _set(self, path: Path, column: str, value: str | int) -> None:
        with self._file.change() as db:
            db.execute("INSERT OR IGNORE INTO folders (path) VALUES (?)", (raw(path),))
            db.execute(f"UPDATE folders SET {column} = ? WHERE path = ?", (value, raw(path)))
