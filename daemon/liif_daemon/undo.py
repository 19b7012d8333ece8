"""The way back: an original returns to its place, by the same swap that took it away, and stays until `retry`."""

from __future__ import annotations

import dataclasses
import errno
import math
import os
import shutil
import stat
from collections.abc import Container, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from liif_daemon.carry import carry
from liif_daemon.free import rename_if_free
from liif_daemon.ledger import Glance, Job, Ledger, by_file
from liif_daemon.presence import look
from liif_daemon.store import Changed, Store, hash_of
from liif_daemon.swap import flush, swap
from liif_daemon.unknown import unknown
from liif_daemon.workplace import copy_in, is_workplace, remove_workplace, tidy, workplace_for
from liif_engine.errors import InputError, LiifError, OutputError, UsageError, printable
from liif_engine.picture.atomic import flush_folder
from liif_engine.words import counted


class ChangedSince(OutputError):  # noqa: N818 - somebody may have had good reason
    """The result was worked on; `force` brings the original back all the same."""

    remedy = "Use --force: the file as it is now goes into the store, then the original returns."


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
        undone = [dataclasses.replace(_moved(made), path=path)] if made else []
    elif path.is_dir():
        undone = _where_results_lie(path, undone, ledger)
    return [job for job in undone if job.changed >= since]


def undo(job: Job, ledger: Ledger, store: Store, *, force: bool = False, like: Path | None = None) -> None:
    """Brings one original back.

    Args:
        job: done, in place.
        ledger: open.
        store: of the originals.
        force: also if the file was changed since it was restored; the changed file goes into the store first.
        like: a file whose mode, owner and attributes the original gets if there is none in its place.

    Raises:
        ChangedSince: refused for want of `force`; nothing was changed.
        LiifError: refused; nothing was changed.
        OSError: the system refuses; the file is as it was.
    """
    job, here = check(job, ledger, store, force=force)
    path, original = job.path, store.path_of(job.source_sha256)
    if here == job.source_sha256:
        _note(job, ledger)
        return
    if here is not None and here != job.result_sha256:
        ledger.originals.promise(here, store.keep(path, here), store.folder, math.inf)
    workplace = workplace_for(path)
    ledger.set_workplace(job, workplace)
    workplace.mkdir(mode=0o700)
    try:
        copy = copy_in(workplace, job)
        _copy_whole(original, copy, job)
        if (whose := like if here is None else path) is not None:
            carry(whose, copy, mtime=False)
        os.utime(copy, ns=(job.mtime_ns, job.mtime_ns))
        flush(copy)
        ours = Glance.of(copy)
        # First the ledger: a kill in between must not leave an original that looks like a new picture.
        _note(job, ledger)
        try:
            if here is None:
                rename_if_free(copy, path)
                flush_folder(path.parent)
            else:
                _swap(copy, path, here)
        except BaseException:
            if _content(path) != job.source_sha256:  # Ctrl+C may come when it is back already
                ledger.finish(job, "done", job.reason, seconds=job.seconds)
            raise
        if (glance := ours.under(path)) is not None:
            ledger.looks.remember(path, glance, job.source_sha256, "")
    except FileNotFoundError as error:
        if workplace.is_dir():
            raise
        # A daemon took it for left behind: the clock was set forward. What was swapped already is back for good.
        if _content(path) != job.source_sha256:
            words = "the temporary copy of its original was removed meanwhile, and the file is as it was"
            raise OutputError(words, path=path, remedy="Try again.") from error
    finally:
        tidy([dataclasses.replace(job, workplace=workplace)], store, ledger)
        if workplace.is_dir():
            remove_workplace(workplace)


def check(job: Job, ledger: Ledger, store: Store, *, force: bool = False) -> tuple[Job, str | None]:
    """What `undo` would do, which changes nothing.

    Args:
        job, ledger, store, force: as `undo` takes them.

    Returns:
        The job to undo, which is another one where the file of another took this name; and the SHA-256 of what lies
        there, None for nothing.

    Raises:
        ChangedSince, LiifError, OSError: as `undo`.
    """
    path = job.path
    if ledger.jobs(path=path, state="claimed"):
        raise LiifError("is being restored right now", path=path, remedy="Try again in a moment.")
    if path.is_symlink():
        remedy = "Undo the file that it leads to, or remove the link."
        raise OutputError("is a symbolic link now, and those are not followed", path=path, remedy=remedy)
    here = hash_of(path) if path.is_file() else None
    if here is not None and here not in {job.source_sha256, job.result_sha256}:
        if made := [one for one in ledger.results(here) if one.in_place]:
            job = dataclasses.replace(_moved(made), path=path)
        elif not force:
            raise ChangedSince("was changed since it was restored", path=path)
    if here == job.source_sha256:
        return job, here
    if not store.holds(job.source_sha256):
        store.check()
        remedy = "It was let go when its time was over, or keep_originals was none."
        if ledger.originals.until(job.source_sha256) is not None:
            place = printable(store.path_of(job.source_sha256))
            remedy = f"It was to be kept, but somebody removed it: put {place} back, if there is a copy."
        raise InputError("its original is not in the store", path=path, remedy=remedy)
    if here is None and not path.parent.is_dir():
        original = printable(store.path_of(job.source_sha256))
        remedy = f"Make it again, or take the original from the store: {original}"
        raise OutputError("its folder is gone", path=path, remedy=remedy)
    if here is None and job.folder in path.parents and (away := look(job.folder, ledger).why):
        raise OutputError(away, path=job.folder, remedy="Mount it, then try again.")
    return job, here


def older(path: Path, ledger: Ledger) -> list[Job]:
    """Where a file is an original that came back: the job of what its path held before that, if any is left to undo."""
    here = _content(path)
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
        remedy = kept if store.holds(gone.source_sha256) else "Try `liif-daemon why`."
        return UsageError(f"{said}; there is no such file now", path=path, remedy=remedy)
    return UsageError("there is nothing of ours to undo", path=path, remedy="Try `liif-daemon why`.")


def _swap(copy: Path, path: Path, expected: str) -> None:
    """As `swap`, whose own words are of a daemon that tries again by itself."""
    try:
        swap(copy, path, expected)
    except Changed as error:
        words = "a program has it open for writing, or has changed it just now, so it stays as it is"
        raise OutputError(words, path=path, remedy="Close it there, then try again.") from error


def _copy_whole(original: Path, copy: Path, job: Job) -> None:
    """Copies a job's original; what is there only in part has another name until then, and is nobody's to put back.

    Raises:
        OutputError: the copy is not the original.
        OSError: the system refuses.
    """
    part = copy.with_name(f"part-of-{copy.name}")
    try:
        shutil.copyfile(original, part)
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:  # of the disk of the copy, whichever file it was said of
            raise OSError(error.errno, error.strerror, os.fspath(part)) from error
        raise
    if hash_of(part) != job.source_sha256:
        raise OutputError("its original could not be copied whole", path=job.path)
    part.rename(copy)


def _latest(jobs: Iterable[Job]) -> Job | None:
    """The one in an original's place that ended last."""
    return max(_in_place(jobs), key=lambda job: job.sequence, default=None)


def _in_place(jobs: Iterable[Job]) -> list[Job]:
    """Those whose results took an original's place."""
    return [job for job in jobs if job.in_place and job.state in {"done", "undone"}]


def _note(job: Job, ledger: Ledger) -> None:
    """Writes down that this content is not to be restored at this path, and that a result that moved here is undone."""
    row = {
        "folder": job.folder,
        "path": job.path,
        "source_sha256": job.source_sha256,
        "target": job.target,
        "in_place": True,
        "size": job.size,
        "mtime_ns": job.mtime_ns,
        "model": job.model,
        "width": job.width,
        "height": job.height,
    }
    with ledger.together():
        ledger.note(row, "undone", "undone")
        # Not where a copy lies here, and the result in its place. What only seems gone, on a share that is away, is
        # known again by its content.
        if job.destination not in {None, job.path} and not os.path.lexists(job.destination):
            ledger.finish(job, "undone", f"its result lay at {job.path}, and was undone there", seconds=job.seconds)


def _where_results_lie(folder: Path, jobs: list[Job], ledger: Ledger) -> list[Job]:
    """The jobs of a folder; where files or the folder were renamed since, each at the place of its result."""
    gone = {job.id for job in jobs if not os.path.lexists(job.path)}
    if (jobs and not gone) or folder == folder.parent:  # the root stands for all that is known, not for all files
        return jobs
    known, moved = {job.path for job in jobs}, list[Job]()
    for path in _maybe_results(folder, known, ledger):
        made = [job for job in ledger.results(_content(path) or "") if job.in_place]
        if made:
            found = _moved(made, gone, {job.id for job in moved})
            # A copy of a result that lies in its place stays, unless the folder holds nothing else of ours.
            if not (jobs and os.path.lexists(found.path)):
                moved.append(dataclasses.replace(found, path=path))
    back = {job.id for job in moved}
    return [job for job in jobs if job.id not in back or os.path.lexists(job.path)] + moved


def _moved(made: list[Job], missing: Container[int] = (), taken: Container[int] = ()) -> Job:
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
    here = _content(jobs[0].path) if len(jobs) > 1 else None
    return max(jobs, key=lambda job: (job.result_sha256 == here, job.sequence))


def _content(path: Path) -> str | None:
    try:
        return hash_of(path)
    except OSError:
        return None


def _half_undone(job: Job, ledger: Ledger) -> Job | None:
    """The job to undo where an `undo` was killed between the ledger and the swap; None where it came to its end.

    The result may have been made at another place: then its job there is the one, and this row has none.
    """
    here = _content(job.path)
    if here is None or here == job.source_sha256:
        return None
    if here == job.result_sha256:
        return job
    made = [one for one in ledger.results(here) if one.in_place and one.source_sha256 == job.source_sha256]
    return dataclasses.replace(_moved(made), path=job.path) if made else None
