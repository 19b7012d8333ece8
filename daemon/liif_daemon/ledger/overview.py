"""How things stand, for `status`, the review page and the figures: counts, what ended last, and how fast it goes."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from liif_daemon.ledger.database import Database
from liif_daemon.ledger.rows import STATES, Job, by_file, job_of, path_of


@dataclass(frozen=True)
class Waiting:
    """What is queued or at work.

    Attributes:
        megapixels: of input, in folders that are watched.
        elsewhere: jobs, by the folder that is not watched now.
    """

    megapixels: float
    elsewhere: dict[Path, int]


class Overview:
    """The ledger as people are shown it.

    Args:
        file: the ledger's.
    """

    def __init__(self, file: Database) -> None:
        self._file = file

    def counts(self) -> dict[str, int]:
        """How many jobs are in each state."""
        found = {row[0]: int(row[1]) for row in self._file.rows("SELECT state, count(*) FROM jobs GROUP BY state")}
        return {state: found.get(state, 0) for state in STATES}

    def latest(self) -> int:
        """The place in the sequence of the job that changed last; 0 if there is none."""
        return int(self._file.rows("SELECT coalesce(max(sequence), 0) FROM jobs")[0][0])

    def recent(self, state: str, count: int) -> list[Job]:
        """The latest jobs in a state, newest first."""
        query = "SELECT * FROM jobs WHERE state = ? ORDER BY sequence DESC LIMIT ?"
        return [job_of(row) for row in self._file.rows(query, (state, count))]

    def files(self, state: str) -> int:
        """How many files there are of which `recent_files` gives the latest."""
        query = "SELECT count(DISTINCT path) FROM jobs WHERE state = ? AND reason != ''"
        return int(self._file.rows(query, (state,))[0][0])

    def recent_files(self, state: str, count: int) -> list[list[Job]]:
        """The jobs in a state, for a reason, of the files that came into it latest: a list for each, newest first."""
        query = (
            "SELECT * FROM jobs WHERE state = ? AND reason != '' AND path IN"
            " (SELECT path FROM jobs WHERE state = ? AND reason != ''"
            " GROUP BY path ORDER BY max(sequence) DESC LIMIT ?)"
            " ORDER BY sequence DESC"
        )
        return by_file(job_of(row) for row in self._file.rows(query, (state, state, count)))

    def waiting(self, watched: Collection[Path] | None = None) -> Waiting:
        """What waits, if these folders are watched, or all: nobody takes up what waits in others."""
        query = (
            "SELECT folder, count(*), sum(1.0 * width * height) FROM jobs"
            " WHERE state IN ('queued', 'claimed') GROUP BY folder"
        )
        rows = [(path_of(row[0]), int(row[1]), float(row[2])) for row in self._file.rows(query)]
        ours = {folder for folder, _, _ in rows if watched is None or folder in watched}
        pixels = sum(pixels for folder, _, pixels in rows if folder in ours)
        return Waiting(pixels / 1e6, {folder: count for folder, count, _ in rows if folder not in ours})

    def rate(self) -> float | None:
        """Input megapixels per second of the last hundred jobs, time without any left out; None if there were none."""
        jobs = [job for job in self.recent("done", 100) if job.seconds]
        spans = sorted((job.changed - job.seconds, job.changed) for job in jobs)
        busy, end = 0.0, 0.0
        for start, stop in spans:
            busy += max(0.0, stop - max(start, end))
            end = max(end, stop)
        pixels = sum(job.width * job.height for job in jobs)
        return pixels / 1e6 / busy if busy > 0 and pixels else None
