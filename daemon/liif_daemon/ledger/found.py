"""Which jobs there are: what is asked of the ledger without changing it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from liif_daemon.ledger.database import Database
from liif_daemon.ledger.rows import Job, job_of, path_of, raw

#: Whether a queued job waits for something that is not its fault, and was tried; `:tried` are ids, as JSON.
WAS_TRIED = "(reason != '' AND attempts = 0 AND id IN (SELECT value FROM json_each(:tried)))"


class Found:
    """The ledger's questions about jobs; any thread may ask them."""

    def __init__(self, file: Database) -> None:
        self._file = file

    def jobs(
        self, *, path: Path | None = None, sha256: str | None = None, state: str | None = None, after: int | None = None
    ) -> list[Job]:
        """Jobs of a path, of a content, in a state, after a place in the sequence, or all together; oldest first."""
        conditions: dict[str, bytes | str | int | None] = {
            "path = ?": None if path is None else raw(path),
            "source_sha256 = ?": sha256,
            "state = ?": state,
            "sequence > ?": after,
        }
        asked = {condition: value for condition, value in conditions.items() if value is not None}
        return self._jobs(f"SELECT * FROM jobs WHERE {' AND '.join(asked) or '1'} ORDER BY id", asked.values())

    def below(self, folder: Path) -> list[Job]:
        """Jobs of all files in a folder and its subfolders."""
        prefix = raw(folder).rstrip(b"/") + b"/"
        return self._jobs(
            "SELECT * FROM jobs WHERE path >= ? AND path < ? ORDER BY id",
            (prefix, prefix[:-1] + bytes([prefix[-1] + 1])),
        )

    def has_untried(self, folders: Iterable[Path], tried: Iterable[int]) -> bool:
        """Whether anything is queued in these folders, but jobs that were tried and wait through no fault of theirs."""
        query = f"SELECT 1 FROM jobs WHERE state = 'queued' AND folder = :folder AND NOT {WAS_TRIED} LIMIT 1"
        values = {"tried": json.dumps(list(tried))}
        return any(self._file.rows(query, {**values, "folder": raw(folder)}) for folder in folders)

    def results(self, sha256: str) -> list[Job]:
        """Jobs whose result has, or once had, this content."""
        query = (
            "SELECT jobs.* FROM results JOIN jobs ON jobs.id = results.job WHERE results.sha256 = ? ORDER BY jobs.id"
        )
        return self._jobs(query, (sha256,))

    def result_sizes(self) -> set[int]:
        """Sizes of the results that took an original's place, as files."""
        return {row[0] for row in self._file.rows("SELECT DISTINCT result_size FROM jobs WHERE in_place")} - {None}

    def maker(self, path: Path, sha256: str) -> Job | None:
        """The job that put a result of this content at this path."""
        query = "SELECT * FROM jobs WHERE result_sha256 = ? AND destination = ? ORDER BY id LIMIT 1"
        now = self._jobs(query, (sha256, raw(path)))
        return next(iter(now or [job for job in self.results(sha256) if job.destination == path]), None)

    def each(self, state: str) -> Iterator[Job]:
        """Jobs in a state, oldest first; a thousand in memory at a time."""
        last, query = 0, "SELECT * FROM jobs WHERE state = ? AND id > ? ORDER BY id LIMIT 1000"
        while rows := self._jobs(query, (state, last)):
            yield from rows
            last = rows[-1].id

    def workplaces(self) -> list[tuple[int, Path, Path]]:
        """Id, watched folder and workplace of jobs that are not claimed and may have left something behind."""
        query = "SELECT id, folder, workplace FROM jobs WHERE workplace IS NOT NULL AND state != 'claimed' ORDER BY id"
        return [(row[0], path_of(row[1]), path_of(row[2])) for row in self._file.rows(query)]

    def left_in(self, name: str) -> list[Job]:
        """Jobs that are not claimed and may have left temporary files in a folder of this name, wherever it lies."""
        query = "SELECT * FROM jobs WHERE state != 'claimed' AND substr(workplace, -?) = ? ORDER BY id"
        return self._jobs(query, (len(name), name.encode("ascii")))

    def _jobs(self, query: str, values: Iterable[Any] = ()) -> list[Job]:
        return [job_of(row) for row in self._file.rows(query, values)]
