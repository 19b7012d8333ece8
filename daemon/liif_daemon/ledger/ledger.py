"""What happens to jobs, from queued to over: each state change is one transaction."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from liif_daemon.ledger.clock import Clock
from liif_daemon.ledger.database import Database
from liif_daemon.ledger.folders import Folders
from liif_daemon.ledger.found import WAS_TRIED, Found
from liif_daemon.ledger.looks import Looks
from liif_daemon.ledger.originals import Originals
from liif_daemon.ledger.overview import Overview
from liif_daemon.ledger.rows import Glance, Job, job_of, raw, stored
from liif_engine.errors import printable

#: A job never waits longer than this, also if the clock was moved while it waited. [s]
LONGEST_WAIT = 900


class Ledger(Found):
    """The jobs, and beside them the ledger's other parts; any thread may call any method.

    Args:
        path: the database; made if it is not there.
        making: whether it is; if not, it reads as an empty one until somebody else has made it.

    Attributes:
        path: of the database.
        clock: by which promises are kept.
        originals: what is in the store, and until when.
        folders: which were watched.
        looks: at files.
        overview: counts and rates, for people.

    Raises:
        OutputError: it cannot be opened.
        LiifError: a newer version wrote it.
    """

    def __init__(self, path: Path, *, making: bool = True) -> None:
        super().__init__(Database(path, making=making))
        self.path = path
        self.clock = Clock(self._file)
        self.originals, self.folders = Originals(self._file, self.clock), Folders(self._file)
        self.looks, self.overview = Looks(self._file), Overview(self._file)

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def check(self) -> None:
        """Reads all of it.

        Raises:
            OutputError: it is damaged.
        """
        self._file.check()

    def together(self) -> AbstractContextManager[object]:
        """Makes the changes inside one transaction, also those of the ledger's parts."""
        return self._file.change()

    def queue(self, rows: Iterable[dict[str, Any]]) -> int:
        """Queues jobs; a row that is there already for the same path, content and target is queued again.

        Args:
            rows: folder, path, source_sha256, target, in_place, size, mtime_ns, model, width, height.

        Returns:
            How many rows there were.
        """
        now, count = time.time(), 0
        with self._file.change() as db:
            for row in rows:
                count += 1
                db.execute(
                    "INSERT INTO jobs (folder, path, source_sha256, target, in_place, state, size, mtime_ns, model,"
                    " width, height, created, changed) VALUES (:folder, :path, :source_sha256, :target, :in_place,"
                    " 'queued', :size, :mtime_ns, :model, :width, :height, :now, :now)"
                    " ON CONFLICT (path, source_sha256, target) DO UPDATE SET state = 'queued', reason = '',"
                    " attempts = 0, deaths = 0, not_before = 0, folder = :folder, in_place = :in_place, size = :size,"
                    " mtime_ns = :mtime_ns, model = :model, changed = :now"
                    " WHERE state != 'claimed'",
                    {**stored(row), "now": now},
                )
        return count

    def note(self, row: dict[str, Any], state: str, reason: str) -> None:
        """Writes down a job that is over before it began: skipped or failed, and why."""
        with self._file.change() as db:
            db.execute(
                "INSERT INTO jobs (folder, path, source_sha256, target, in_place, state, reason, size, mtime_ns, model,"
                " width, height, created, changed) VALUES (:folder, :path, :source_sha256, :target, :in_place, :state,"
                " :reason, :size, :mtime_ns, :model, :width, :height, :now, :now)"
                " ON CONFLICT (path, source_sha256, target) DO UPDATE SET state = :state, reason = :reason,"
                " changed = :now WHERE state != 'claimed'",
                {**stored(row), "state": state, "reason": printable(reason), "now": time.time()},
            )

    def claim(
        self, folders: Iterable[Path] | None = None, *, alone: bool = True, tried: Iterable[int] = ()
    ) -> list[Job]:
        """Claims all due jobs of one picture, the one that takes its place last; empty if nothing is due.

        What is new comes first, then what has been due for longest: so thousands that wait for a disk, and are due
        again before all have been tried, keep no other from its turn.

        Args:
            folders: only jobs of these; None for all.
            tried: jobs, by their ids, that are not claimed if they wait for something that is not their fault.
            alone: whether nothing else is at work. Only then is a suspect claimed, after all others, so that none of
                them is taken for what killed the engine or the daemon.
        """
        ranks = ["attempts = 0 AND deaths = 0"] + ["(attempts > 0 OR deaths > 0)"] * alone
        with self._file.change() as db:
            if folders is None:
                names = [row[0] for row in db.execute("SELECT DISTINCT folder FROM jobs WHERE state = 'queued'")]
            else:
                names = [raw(folder) for folder in folders]
            found = (self._first(rank, names, tried) for rank in ranks)
            first = next((row for row in found if row is not None), None)
            if first is None:
                return []
            key = (first["path"], first["source_sha256"])
            db.execute(  # by the path: with state alone SQLite would read all that is queued
                "UPDATE jobs SET state = 'claimed', changed = ?"
                " WHERE path = ? AND source_sha256 = ? AND +state = 'queued'",
                (time.time(), *key),
            )
            rows = db.execute(
                "SELECT * FROM jobs WHERE path = ? AND source_sha256 = ? AND state = 'claimed' ORDER BY in_place, id",
                key,
            ).fetchall()
        return [job_of(row) for row in rows]

    def _first(self, rank: str, folders: list[bytes], tried: Iterable[int]) -> sqlite3.Row | None:
        """The due job whose turn it is. However many are queued, few are read: an index has them in this order."""
        values = {"now": time.time(), "longest": LONGEST_WAIT, "tried": json.dumps(list(tried))}
        never_waited, waited_enough, before_the_clock_was_set_back = (
            "not_before = 0",
            "not_before > 0 AND not_before <= :now",
            "not_before > :now + :longest",
        )
        found = [
            row
            for folder in folders
            for when in (never_waited, waited_enough, before_the_clock_was_set_back)
            for row in self._file.rows(
                "SELECT id, path, source_sha256, not_before FROM jobs WHERE state = 'queued' AND folder = :folder"
                f" AND {when} AND {rank} AND NOT {WAS_TRIED} ORDER BY not_before, id LIMIT 1",
                {**values, "folder": folder},
            )
        ]
        return min(found, key=lambda row: (float(row["not_before"]), int(row["id"])), default=None)

    def begin(self, jobs: list[Job], workplace: Path) -> None:
        """Writes down where claimed jobs' temporary files will lie, before there are any."""
        with self._file.change() as db:
            db.executemany(
                "UPDATE jobs SET workplace = ?, result_sha256 = NULL, begun = 1 WHERE id = ?",
                [(raw(workplace), job.id) for job in jobs],
            )

    def set_workplace(self, job: Job, workplace: Path) -> None:
        """Writes down where an ended job's temporary files will lie."""
        with self._file.change() as db:
            db.execute("UPDATE jobs SET workplace = ? WHERE id = ?", (raw(workplace), job.id))

    def promise(
        self,
        job: Job,
        *,
        result_sha256: str,
        result_size: int,
        destination: Path,
        model: str,
        out: tuple[int, int],
        kept: bool,
    ) -> None:
        """Writes down a verified result before it takes its place."""
        with self._file.change() as db:
            db.execute(
                "UPDATE jobs SET result_sha256 = ?, result_size = ?, destination = ?, model = ?, out_width = ?,"
                " out_height = ?, kept = ?, changed = ? WHERE id = ?",
                (result_sha256, result_size, raw(destination), model, *out, kept, time.time(), job.id),
            )
            db.execute("INSERT OR IGNORE INTO results (sha256, job) VALUES (?, ?)", (result_sha256, job.id))

    def finish(
        self,
        job: Job,
        state: str,
        reason: str = "",
        *,
        seconds: float = 0,
        glance: Glance | None = None,
        counts: bool = False,
    ) -> None:
        """Ends a job.

        Args:
            job: the job.
            state: it is in from now on.
            reason: why, in words.
            seconds: how long the engine worked at it.
            glance: of the result in its place: the next scan need not read it.
            counts: whether this is the end of a try that failed.
        """
        with self._file.change() as db:
            db.execute(
                "UPDATE jobs SET state = ?, reason = ?, seconds = ?, attempts = attempts + ?, not_before = 0,"
                " begun = 0, changed = ? WHERE id = ?",
                (state, printable(reason), seconds, int(counts), time.time(), job.id),
            )
            if glance is not None:
                sha256 = db.execute("SELECT result_sha256 FROM jobs WHERE id = ?", (job.id,)).fetchone()[0]
                self.looks.remember(job.path, glance, sha256, "")

    def wait(self, job: Job, reason: str, seconds: float, *, counts: bool) -> None:
        """Puts a claimed job back into the queue, not to be tried before `seconds` have passed."""
        now = time.time()
        with self._file.change() as db:
            db.execute(
                "UPDATE jobs SET state = 'queued', reason = ?, not_before = ?, attempts = attempts + ?, begun = 0,"
                " changed = ? WHERE id = ?",
                (printable(reason), now + min(seconds, LONGEST_WAIT), int(counts), now, job.id),
            )

    def waiting(self) -> int:
        """How many jobs wait for a time that is yet to come."""
        query = "SELECT count(*) FROM jobs WHERE state = 'queued' AND not_before > ?"
        return int(self._file.rows(query, (time.time(),))[0][0])

    def count_deaths(self) -> None:
        """Counts a death for all that was at work when the last daemon ended without a word; none may be at work."""
        with self._file.change() as db:
            db.execute("UPDATE jobs SET deaths = deaths + 1, begun = 0 WHERE state = 'claimed' AND begun")

    def absolve(self, jobs: Iterable[int]) -> None:
        """That the daemon ends now is no doing of these jobs, by their ids, which are still at work."""
        with self._file.change() as db:
            db.executemany("UPDATE jobs SET begun = 0 WHERE id = ?", [(job,) for job in jobs])

    def supersede(self, path: Path, sha256: str) -> None:
        """Ends what waited or had failed for an older content of a path: there is something else there now.

        That a result has taken an original's place ends nothing of that original's: other sizes of it may be missing.
        """
        with self._file.change() as db:
            db.execute(
                "UPDATE jobs SET state = 'skipped', reason = 'the file has changed since', changed = ?"
                " WHERE path = ? AND source_sha256 != ? AND state IN ('queued', 'failed') AND source_sha256 NOT IN"
                " (SELECT source_sha256 FROM results JOIN jobs ON jobs.id = results.job WHERE results.sha256 = ?)",
                (time.time(), raw(path), sha256, sha256),
            )

    def came_through(self, path: Path, sha256: str) -> None:
        """Ends as done what was given up, since its result lies in its place after all: the folder had been away."""
        with self._file.change() as db:
            db.execute(
                "UPDATE jobs SET state = 'done', reason = 'finished after an interruption', changed = ?"
                " WHERE path = ? AND destination = path AND in_place AND result_sha256 = ?"
                " AND state IN ('failed', 'skipped')",
                (time.time(), raw(path), sha256),
            )

    def retry(self, jobs: Iterable[Job]) -> int:
        """Queues failed, skipped and undone jobs again; returns how many."""
        with self._file.change() as db:
            return sum(
                db.execute(
                    "UPDATE jobs SET state = 'queued', reason = '', attempts = 0, deaths = 0, not_before = 0,"
                    " changed = ? WHERE id = ? AND state IN ('failed', 'skipped', 'undone', 'queued')",
                    (time.time(), job.id),
                ).rowcount
                for job in jobs
            )

    def withdraw(self, jobs: Iterable[Job], reason: str) -> None:
        """Takes queued jobs out of the queue; their files are looked at again."""
        with self._file.change() as db:
            for job in jobs:
                found = db.execute(
                    "UPDATE jobs SET state = 'skipped', reason = ?, changed = ? WHERE id = ? AND state = 'queued'",
                    (reason, time.time(), job.id),
                )
                if found.rowcount:
                    self.looks.forget(job.path)

    def no_workplace(self, jobs: Iterable[int]) -> None:
        """Remembers that jobs, by their ids, have left nothing behind."""
        with self._file.change() as db:
            db.executemany(
                "UPDATE jobs SET workplace = NULL WHERE id = ? AND state != 'claimed'", [(job,) for job in jobs]
            )
