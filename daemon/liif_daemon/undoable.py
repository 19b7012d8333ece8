"""What there is to undo: which original belongs to what lies at a path, also where it was renamed since."""

from __future__ import annotations

import dataclasses
import os
import stat
from collections.abc import Container, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from liif_daemon.ledger import Job, Ledger, by_file
from liif_daemon.store import Store, hash_of
from liif_daemon.unknown import unknown
from liif_daemon.workplace import is_on_its_way_back, is_workplace
from liif_engine.errors import UsageError, printable
from liif_engine.words import counted


def undoable(path: Path, ledger: Ledger, *, since: float = 0) -> list[Job]:
    """The jobs whose originals `undo` would bring back.

    Args:
        path: a file or a folder, also one that was renamed since.
        ledger: open.
        since: only what was restored after this Unix time.
    """
    found = ledger.below(path) if path.is_dir() else ledger.jobs(path=path)
    latest = [_of_what_lies_there(jobs) for jobs in by_file(_in_place(found))]
    undone = [one for job in latest if (one := job if job.state == "done" else _half_undone(job, ledger))]
    if not undone and path.is_file():
        # Renamed or copied since, maybe amid the work: its content tells which original it came from.
        made = [job for job in ledger.results(hash_of(path)) if job.in_place]
        undone = [dataclasses.replace(moved_job(made), path=path)] if made else []
    elif path.is_dir():
        undone = _where_results_lie(path, undone, ledger)
    return [job for job in undone if job.changed >= since]


def older(path: Path, ledger: Ledger) -> list[Job]:
    """Where a file is an original that came back: the job of what its path held before that, if any is left to undo."""
    here = content_or_none(path)
    rows = ledger.jobs(path=path, state="done")
    found = [job for job in rows if here is not None and job.source_sha256 != here]
    return [latest] if (latest := _latest(found)) else []


def why_nothing(path: Path, ledger: Ledger, store: Store) -> UsageError:
    """Why there is nothing to undo at a path, and what can be done instead."""
    for job in ledger.jobs(path=path):
        if job.state in {"queued", "claimed"}:
            said = "waits for its turn" if job.state == "queued" else "is being restored right now"
            return UsageError(
                f"{said}: there is no result to undo yet", path=path, remedy="Try again when it is restored."
            )
    if path.is_file():
        if any(store.holds(job.source_sha256) for job in older(path, ledger)):
            return UsageError(
                "its original is back; what was restored under this name before is kept too",
                path=path,
                remedy="--force brings that back, and puts the file as it is now into the store.",
            )
        for found in unknown(path, ledger, store):
            if store.holds(found.marker.source_sha256):
                return UsageError(
                    "the ledger does not know it, but its original is kept",
                    path=path,
                    remedy="--force puts the file as it is now into the store and brings the original back, which lies"
                    f" there: {printable(store.path_of(found.marker.source_sha256))}",
                )
    elif path.is_dir() and (lost := unknown(path, ledger, store)):
        many = counted(len(lost), "result")
        return UsageError(
            f"the ledger does not know {many} there whose originals are in the store",
            path=path,
            remedy="--force puts the files as they are now into the store and brings the originals back; --dry-run"
            " lists them.",
        )
    elif not os.path.lexists(path) and (gone := _latest(ledger.jobs(path=path, state="undone"))):
        said = "was undone already" if gone.reason == gone.state else gone.reason
        kept = f"Its original is kept: {printable(store.path_of(gone.source_sha256))}"
        remedy = kept if store.holds(gone.source_sha256) else "Try `liif-daemon why FILE`."
        return UsageError(f"{said}; there is no such file now", path=path, remedy=remedy)
    return UsageError("there is nothing of ours to undo", path=path, remedy="Try `liif-daemon why FILE`.")


def _latest(jobs: Iterable[Job]) -> Job | None:
    """The one in an original's place that ended last."""
    return max(_in_place(jobs), key=lambda job: job.sequence, default=None)


def _in_place(jobs: Iterable[Job]) -> list[Job]:
    """Those whose results took an original's place."""
    return [job for job in jobs if job.in_place and job.state in {"done", "undone"}]


def _where_results_lie(folder: Path, jobs: list[Job], ledger: Ledger) -> list[Job]:
    """The jobs of a folder; where files or the folder were renamed since, each at the place of its result."""
    gone = {job.id for job in jobs if not os.path.lexists(job.path)}
    if (jobs and not gone) or folder == folder.parent:  # the root stands for all that is known, not for all files
        return jobs
    known, moved, back = {job.path for job in jobs}, list[Job](), set[int]()
    for path in _maybe_results(folder, known, ledger):
        made = [job for job in ledger.results(content_or_none(path) or "") if job.in_place]
        if made:
            found = moved_job(made, gone, back)
            # A copy of a result that lies in its place stays, unless the folder holds nothing else of ours.
            if not (jobs and os.path.lexists(found.path)):
                moved.append(dataclasses.replace(found, path=path))
                back.add(found.id)
    return [job for job in jobs if job.id not in back or os.path.lexists(job.path)] + moved


def moved_job(made: list[Job], missing: Container[int] = (), taken: Container[int] = ()) -> Job:
    """Which of the jobs with one result it is that made the one which lies elsewhere now.

    Args:
        made: the jobs; originals that are the same have the same result.
        missing: those, by their ids, whose results are looked for.
        taken: those whose results were found.
    """

    def rank(job: Job) -> tuple[bool, bool, int]:
        is_gone = job.state == "done" and job.id not in taken and not os.path.lexists(job.path)
        return job.id in missing and job.id not in taken, is_gone, job.sequence

    return max(made, key=rank)


def _maybe_results(folder: Path, known: Container[Path], ledger: Ledger) -> Iterator[Path]:
    """The files below a folder, other than those known, that are as large as a result; no file is read for that."""
    sizes = ledger.result_sizes()
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not is_workplace(Path(name))]  # what a killed undo left is no result
        for path in (Path(place, name) for name in sorted(names)):
            if path in known:
                continue
            with suppress(OSError):
                found = path.lstat()
                if stat.S_ISREG(found.st_mode) and found.st_size in sizes:
                    yield path


def _of_what_lies_there(jobs: list[Job]) -> Job:
    """The job of one path whose result lies there now; if none does, the one that ended last.

    Ids tell nothing of it: an older content that was put back, and restored again, has its old row.
    """
    here = content_or_none(jobs[0].path) if len(jobs) > 1 else None
    # A row without a result is of an original that came back here, in the place of a result from elsewhere.
    return max(jobs, key=lambda job: (here is not None and job.result_sha256 == here, job.sequence))


def content_or_none(path: Path) -> str | None:
    """SHA-256 of a file; None if it cannot be read."""
    try:
        return hash_of(path)
    except OSError:
        return None


def _half_undone(job: Job, ledger: Ledger) -> Job | None:
    """The job to undo where an `undo` was killed between the ledger and the disk; None where it came to its end.

    The result may have been made at another place: then its job there is the one, and this row has none.
    """
    here = content_or_none(job.path)
    if here == job.source_sha256 or (here is None and not is_on_its_way_back(job)):
        return None
    if here in {None, job.result_sha256}:
        return job
    made = [one for one in ledger.results(here) if one.in_place and one.source_sha256 == job.source_sha256]
    return dataclasses.replace(moved_job(made), path=job.path) if made else None
