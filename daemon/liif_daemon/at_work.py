"""Which jobs are at work: none is claimed, or put in order, by two threads at once. With `once` none is tried twice."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from liif_daemon.ledger import Job, Ledger
from liif_engine.errors import LiifError


class AtWork:
    """The jobs at work; any thread may call any method.

    Args:
        ledger: open.
        once: what waits is not tried again: where each try takes longer than the wait, that would never end.
    """

    def __init__(self, ledger: Ledger, *, once: bool = False) -> None:
        self._ledger, self._once = ledger, once
        self._jobs: dict[int, Job] = {}
        self._tried: set[int] = set()
        self._recovering: set[int] = set()
        self._lock = threading.Lock()

    def claim(self, folders: list[Path], silent: Collection[Path]) -> list[Job]:
        """Claims all due jobs of one picture; empty if there is none to do now.

        Args:
            folders: only jobs of these.
            silent: folders that do not answer; what is held up in them counts for nothing.

        Raises:
            OutputError: the ledger cannot be written.
        """
        with self._lock:
            others = self._others(silent)
            if any(job.is_suspect for job in others):  # nothing is done beside it
                return []
            jobs = self._ledger.claim(folders, alone=not others, tried=tuple(self._tried))
            self._jobs |= {job.id: job for job in jobs}
        return jobs

    def over(self, jobs: list[Job]) -> None:
        """One picture's are no longer at work."""
        with self._lock:
            for job in jobs:
                if self._jobs.get(job.id) is job:  # else it was queued again, and claimed by another thread already
                    del self._jobs[job.id]
            if self._once:
                self._tried |= {job.id for job in jobs}
                with suppress(LiifError):  # what has ended is not asked for: thousands would cost each claim more
                    rows = self._ledger.jobs(path=jobs[0].path, sha256=jobs[0].source_sha256)
                    self._tried -= {job.id for job in rows if job.state != "queued"}

    @contextmanager
    def left(self, path: Path, sha256: str) -> Iterator[list[Job]]:
        """One picture's claimed jobs that nobody is at work on, for who puts them in order."""
        with self._lock:  # what another thread puts in order may be claimed again the next moment
            busy = self._jobs.keys() | self._recovering
            claimed = self._ledger.jobs(path=path, sha256=sha256, state="claimed")
            left = [job for job in claimed if job.id not in busy]
            self._recovering |= {job.id for job in left}
        try:
            yield left
        finally:
            with self._lock:
                self._recovering -= {job.id for job in left}

    def is_over(self, folders: list[Path], silent: Collection[Path]) -> bool:
        """Whether nothing is at work, but in folders that do not answer, and nothing is left to try.

        Args:
            folders: those whose jobs count.
            silent: as of `claim`.
        """
        with self._lock:
            return not self._others(silent) and not self._ledger.has_untried(folders, self._tried)

    def absolve(self) -> None:
        """That the daemon ends now is no doing of these jobs."""
        with self._lock, suppress(LiifError):
            self._ledger.absolve(self._jobs)

    def _others(self, silent: Collection[Path]) -> list[Job]:
        return [job for job in self._jobs.values() if job.folder not in silent]
