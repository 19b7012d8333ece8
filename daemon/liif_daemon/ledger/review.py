"""What the review page asks of the ledger, and writes into it: which results a person has looked at and keeps."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from liif_daemon.ledger.ledger import Ledger
from liif_daemon.ledger.rows import Job, path_of

#: A review is of one result: it counts as long as its job has not changed since. Each view's rows, as SQL.
VIEWS = {
    "review": "state = 'done' AND reviews.job IS NULL",
    "kept": "state = 'done' AND reviews.job IS NOT NULL",
    "undone": "state = 'undone'",
    "failed": "state = 'failed'",
    "skipped": "state = 'skipped'",
    "queue": "state IN ('queued', 'claimed')",
}

_FROM = "FROM jobs LEFT JOIN reviews ON reviews.job = jobs.id AND reviews.changed = jobs.changed WHERE"


@dataclass(frozen=True)
class Filter:
    """Which rows are asked for.

    Attributes:
        view: one of `VIEWS`.
        search: part of the path, or of that of a result beside the original; upper or lower case is no matter in ASCII.
        folder: only this watched folder's; empty for all.
        model: only of this model; empty for all.
    """

    view: str = "review"
    search: str = ""
    folder: str = ""
    model: str = ""

    def where(self) -> tuple[str, list[Any]]:
        """As a condition and its values."""
        conditions, values = [VIEWS[self.view]], list[Any]()
        if self.search:
            escaped = self.search.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
            paths = ("path", "CASE in_place WHEN 0 THEN destination END")  # either may be the name that is shown
            conditions.append("(" + " OR ".join(f"CAST({one} AS TEXT) LIKE ? ESCAPE '\\'" for one in paths) + ")")
            values += [f"%{escaped}%"] * len(paths)
        if self.folder:
            conditions.append("folder = ?")
            values.append(os.fsencode(self.folder))
        if self.model:
            conditions.append("model = ?")
            values.append(self.model)
        return " AND ".join(conditions), values


class ReviewLedger(Ledger):
    """The ledger, with what the review page needs beside."""

    def job(self, number: int) -> Job | None:
        """The row of that id."""
        return next(iter(self._jobs("SELECT * FROM jobs WHERE id = ?", (number,))), None)

    def page(self, asked: Filter, count: int, *, after: int | None = None) -> list[Job]:
        """Rows, those that changed last first.

        Args:
            asked: which.
            count: at most so many.
            after: only those behind this place in the sequence.
        """
        where, values = asked.where()
        if after is not None:
            where += " AND jobs.sequence < ?"
            values.append(after)
        query = f"SELECT jobs.* {_FROM} {where} ORDER BY jobs.sequence DESC LIMIT ?"
        return self._jobs(query, [*values, count])

    def before(self, asked: Filter, job: Job) -> Job | None:
        """The row in front of this one."""
        where, values = asked.where()
        query = f"SELECT jobs.* {_FROM} {where} AND jobs.sequence > ? ORDER BY jobs.sequence LIMIT 1"
        return next(iter(self._jobs(query, [*values, job.sequence])), None)

    def count(self, asked: Filter) -> int:
        """How many rows there are."""
        where, values = asked.where()
        return int(self._file.rows(f"SELECT count(*) {_FROM} {where}", values)[0][0])

    def counts_by_view(self) -> dict[str, int]:
        """How many rows each view has."""
        columns = ", ".join(f"count(*) FILTER (WHERE {condition})" for condition in VIEWS.values())
        return dict(zip(VIEWS, self._file.rows(f"SELECT {columns} {_FROM} 1")[0], strict=True))

    def choices(self) -> tuple[list[Path], list[str]]:
        """The folders and the models that there are rows of."""
        folders = self._file.rows("SELECT DISTINCT folder FROM jobs ORDER BY folder")
        models = self._file.rows("SELECT DISTINCT model FROM jobs ORDER BY model")
        return [path_of(row[0]) for row in folders], [row[0] for row in models if row[0]]

    def is_reviewed(self, job: Job) -> bool:
        """Whether a person has looked at this result and keeps it."""
        return bool(self._file.rows("SELECT 1 FROM reviews WHERE job = ? AND changed = ?", (job.id, job.changed)))

    def review(self, jobs: Iterable[Job]) -> int:
        """Remembers that a person has looked at these results, as they are in these rows, and keeps them.

        Returns:
            How many there were: a row that is not done, or has changed, is not among them.
        """
        with self._file.change() as db:
            return sum(
                db.execute(
                    "INSERT OR REPLACE INTO reviews (job, changed)"
                    " SELECT id, changed FROM jobs WHERE id = ? AND changed = ? AND state = 'done'",
                    (job.id, job.changed),
                ).rowcount
                for job in jobs
            )

    def forget_review(self, job: Job) -> None:
        """The result is to be looked at again."""
        with self._file.change() as db:
            db.execute("DELETE FROM reviews WHERE job = ?", (job.id,))

    def reviewed_originals(self) -> frozenset[str]:
        """SHA-256 of the originals whose every result in place a person has looked at and keeps."""
        query = f"SELECT source_sha256 {_FROM} state = 'done' AND in_place"
        query += " GROUP BY source_sha256 HAVING count(*) = count(reviews.job)"
        return frozenset(row[0] for row in self._file.rows(query))
