"""How things stand, for `status`, the review page and the figures: counts, what ended last, and how fast it goes."""

from __future__ import annotations

from liif_daemon.ledger.database import Database
from liif_daemon.ledger.rows import STATES, Job, by_file, job_of


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

    def ended(self) -> dict[int, int]:
        """The jobs that are over, by their ids, and the place of each in their sequence."""
        query = "SELECT id, sequence FROM jobs WHERE state NOT IN ('queued', 'claimed')"
        return {row[0]: row[1] for row in self._file.rows(query)}

    def recent(self, state: str, count: int) -> list[Job]:
        """The latest jobs in a state, newest first."""
        query = "SELECT * FROM jobs WHERE state = ? ORDER BY sequence DESC LIMIT ?"
        return [job_of(row) for row in self._file.rows(query, (state, count))]

    def recent_files(self, state: str, count: int) -> list[list[Job]]:
        """The jobs in a state, for a reason, of the files that came into it latest: a list for each, newest first."""
        query = (
            "SELECT * FROM jobs WHERE state = ? AND reason != '' AND path IN"
            " (SELECT path FROM jobs WHERE state = ? AND reason != ''"
            " GROUP BY path ORDER BY max(sequence) DESC LIMIT ?)"
            " ORDER BY sequence DESC"
        )
        return by_file(job_of(row) for row in self._file.rows(query, (state, state, count)))

    def waiting_megapixels(self) -> float:
        """Input megapixels of all queued and claimed jobs."""
        query = "SELECT coalesce(sum(1.0 * width * height), 0) FROM jobs WHERE state IN ('queued', 'claimed')"
        return float(self._file.rows(query)[0][0]) / 1e6

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
