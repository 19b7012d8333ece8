"""What the ledger's rows are in Python: jobs, what `stat` said of a file, and how paths and numbers are stored."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from liif_engine.sqlite_integers import from_sqlite, to_sqlite

STATES = ("queued", "claimed", "done", "failed", "skipped", "undone")


@dataclass(frozen=True)
class Job:
    """One row: a file's content at a path, to be restored to one size.

    Attributes:
        id: of the row.
        folder: the watched folder.
        path: the file.
        source_sha256: of the original's bytes.
        target: how large, as `settings.target_name` writes it.
        in_place: whether the result takes the original's place; otherwise it lies beside it.
        state: one of `STATES`.
        reason: why it is in that state, in words.
        attempts: tries that failed and counted.
        begun: whether work at it has begun and not ended.
        deaths: how often the daemon died amid that work.
        not_before: when it may be tried again, Unix time.
        size, mtime_ns: of the original.
        model: asked for, then the one that was used.
        workplace: the folder of its temporary files while it is claimed.
        destination: where the result is.
        result_sha256, result_size: of the result; known before it takes its place.
        width, height, out_width, out_height: of the original and the result in pixels.
        kept: whether the original is in the store.
        seconds: how long the engine worked at it.
        created, changed: Unix time.
        sequence: larger than that of every row that changed before, whatever clocks were set to.
    """

    id: int
    folder: Path
    path: Path
    source_sha256: str
    target: str
    in_place: bool
    state: str
    reason: str
    attempts: int
    not_before: float
    size: int
    mtime_ns: int
    model: str
    workplace: Path | None
    destination: Path | None
    result_sha256: str | None
    result_size: int | None
    width: int
    height: int
    out_width: int
    out_height: int
    kept: bool
    seconds: float
    created: float
    changed: float
    begun: bool
    deaths: int
    sequence: int

    @property
    def is_suspect(self) -> bool:
        """Whether work at it has failed or ended the daemon before; it is then tried alone."""
        return self.attempts > 0 or self.deaths > 0


@dataclass(frozen=True)
class Glance:
    """What `stat` says of a file: if it is the same as before, so is the content."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int

    @classmethod
    def of(cls, path: Path) -> Glance:
        """A file's; a symbolic link's own."""
        found = path.lstat()
        return cls(found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)

    def under(self, path: Path) -> Glance | None:
        """The same file's as it is now, under the name that it was given; None if there is another one, or none."""
        try:
            now = Glance.of(path)
        except FileNotFoundError:
            return None
        same = (now.size, now.mtime_ns, now.inode) == (self.size, self.mtime_ns, self.inode)
        return now if same else None


@dataclass(frozen=True)
class Owner:
    """Who promises originals: a ledger's identity, which it keeps for ever, its file, and where originals of it lie."""

    identity: str
    ledger: Path
    stores: frozenset[Path] = frozenset()


def by_file(jobs: Iterable[Job]) -> list[list[Job]]:
    """Jobs as a list for each file, in the order of its first."""
    groups: dict[Path, list[Job]] = {}
    for job in jobs:
        groups.setdefault(job.path, []).append(job)
    return list(groups.values())


def reasons(jobs: list[Job]) -> str:
    """Why one file's jobs are in their state; names sizes where not all are meant."""
    targets: dict[str, list[str]] = {}
    for job in sorted(jobs, key=lambda job: job.id):
        targets.setdefault(job.reason, []).append(job.target)
    if len(targets) == 1 and any(job.in_place for job in jobs):
        return jobs[0].reason
    return "; ".join(f"at {' and '.join(names)}: {reason}" for reason, names in targets.items())


def raw(path: Path) -> bytes:
    """A path as the system has it: names need not be UTF-8."""
    return os.fsencode(path)


def path_of(raw: bytes) -> Path:
    """The opposite of `raw`."""
    return Path(os.fsdecode(raw))


def stored(row: dict[str, Any]) -> dict[str, Any]:
    """A new job as SQLite takes it."""
    return {**row, **{key: raw(row[key]) for key in ("folder", "path")}, "mtime_ns": to_sqlite(row["mtime_ns"])}


def stored_glance(glance: Glance) -> tuple[int, int | bytes, int | bytes, int]:
    """Size, mtime_ns, ctime_ns and inode as SQLite takes them."""
    # SQLite's integers have a sign; some file systems' inode numbers use all 64 bits.
    inode = glance.inode - (1 << 64) if glance.inode >= 1 << 63 else glance.inode
    return glance.size, to_sqlite(glance.mtime_ns), to_sqlite(glance.ctime_ns), inode


def glance_of(row: sqlite3.Row) -> Glance:
    """A row's."""
    inode = row["inode"]
    times = from_sqlite(row["mtime_ns"]), from_sqlite(row["ctime_ns"])
    return Glance(row["size"], *times, inode + (1 << 64) if inode < 0 else inode)


def job_of(row: sqlite3.Row) -> Job:
    """A row of jobs."""
    values = {key: row[key] for key in row.keys()}  # noqa: SIM118 - a Row iterates over its values
    for key in ("folder", "path", "workplace", "destination"):
        values[key] = None if values[key] is None else path_of(values[key])
    values["mtime_ns"] = from_sqlite(values["mtime_ns"])
    return Job(**{**values, **{key: bool(values[key]) for key in ("in_place", "kept", "begun")}})
