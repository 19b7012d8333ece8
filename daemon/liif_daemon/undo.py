"""The way back: an original returns to its place, by the same swap that took it away, and stays until `retry`."""

from __future__ import annotations

import dataclasses
import errno
import math
import os
import shutil
from pathlib import Path

from liif_daemon.carry import carry
from liif_daemon.free import rename_if_free
from liif_daemon.ledger import Glance, Job, Ledger
from liif_daemon.names import why_not_there
from liif_daemon.presence import look
from liif_daemon.store import Changed, Store, hash_of
from liif_daemon.swap import swap
from liif_daemon.undoable import content_or_none, moved_job
from liif_daemon.unknown import AT_WORK
from liif_daemon.workplace import copy_in, flush_removed, make_workplace, remove_workplace, tidy, workplace_for
from liif_engine.errors import InputError, LiifError, OutputError, printable
from liif_engine.picture.atomic import flush, flush_folder


class ChangedSince(OutputError):  # noqa: N818 - somebody may have had good reason
    """The result was worked on; `force` brings the original back all the same."""

    remedy = "Use --force: the file as it is now goes into the store, then the original returns."


def undo(job: Job, ledger: Ledger, store: Store, *, force: bool = False, like: Path | None = None) -> None:
    """Brings one original back.

    Args:
        job: done, in place; or undone, by an `undo` that was killed before its end.
        ledger: open.
        store: of the originals.
        force: also if the file was changed since it was restored; the changed file goes into the store first.
        like: a file whose mode, owner and attributes the original gets if there is none in its place.

    Raises:
        ChangedSince: refused for want of `force`; nothing was changed.
        LiifError: refused; nothing was changed.
        OSError: the system refuses; the file is as it was.
    """
    _refuse_links(job)
    if job.workplace is not None:  # of an `undo` that was killed: soon the ledger names ours alone
        if not job.workplace.parent.exists():  # the folder may have another name now
            job = dataclasses.replace(job, workplace=job.path.with_name(job.workplace.name))
        tidy([job], store, ledger)
    job, here = check(job, ledger, store, force=force)
    path, original = job.path, store.path_of(job.source_sha256)
    if here == job.source_sha256:
        _note(job, ledger)
        return
    if here is not None and here != job.result_sha256:
        ledger.originals.promise(here, store.keep(path, here), store.folder, math.inf)
    workplace = workplace_for(path)
    flush_removed([job.workplace])
    ledger.set_workplace(job, workplace)
    make_workplace(workplace)
    try:
        copy = copy_in(workplace, job)
        # Until it is complete and durable it has another name, and is nobody's to put back.
        part = copy.with_name(f"part-of-{copy.name}")
        _copy_whole(original, part, job)
        if (whose := like if here is None else path) is not None:
            carry(whose, part, mtime=False)
        os.utime(part, ns=(job.mtime_ns, job.mtime_ns))
        flush(part)
        part.rename(copy)
        ours = Glance.of(copy)
        if here is None:  # by this copy alone it is known, from now on, that the original is on its way
            flush_folder(workplace)
            flush_folder(path.parent)
        # First the ledger: a kill in between must not leave an original that looks like a new picture.
        _note(job, ledger)
        try:
            if here is None:
                rename_if_free(copy, path)
                flush_folder(path.parent)
            else:
                _swap(copy, path, here)
        except BaseException:
            if content_or_none(path) != job.source_sha256:  # Ctrl+C may come when it is back already
                ledger.finish(job, "done", job.reason, seconds=job.seconds)
            raise
        if (glance := ours.under(path)) is not None:
            ledger.looks.remember(path, glance, job.source_sha256, "")
    except FileNotFoundError as error:
        if workplace.is_dir():
            raise
        # A daemon took it for left behind: the clock was set forward. What was swapped already is back for good.
        if content_or_none(path) != job.source_sha256:
            words = "the temporary copy of its original was removed meanwhile, and the file is as it was"
            raise OutputError(words, path=path, remedy="Try again.") from error
    finally:
        # The original is back by now or, as the ledger says too, the job is done: nothing is on its way any more.
        tidy([dataclasses.replace(job, state="done", workplace=workplace)], store, ledger)
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
        raise LiifError("is being restored right now", path=path, remedy=AT_WORK)
    _refuse_links(job)
    if path.is_symlink():
        remedy = "Undo the file that it leads to, or remove the link."
        raise OutputError("is a symbolic link now, and those are not followed", path=path, remedy=remedy)
    here = hash_of(path) if path.is_file() else None
    if here is not None and here not in {job.source_sha256, job.result_sha256}:
        if made := [one for one in ledger.results(here) if one.in_place]:
            job = dataclasses.replace(moved_job(made), path=path)
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


def _refuse_links(job: Job) -> None:
    """Raises if a folder that the file lies in has given way to a symbolic link: others' files are not for us."""
    if why_not_there(job.path, job.folder):
        remedy = "Undo the folder that it leads to, or remove the link."
        raise OutputError("its folder is a symbolic link now, and those are not followed", path=job.path, remedy=remedy)


def _swap(copy: Path, path: Path, expected: str) -> None:
    """As `swap`, whose own words are of a daemon that tries again by itself."""
    try:
        swap(copy, path, expected)
    except Changed as error:
        words = "a program has it open for writing, or has changed it just now, so it stays as it is"
        raise OutputError(words, path=path, remedy="Close it there, then try again.") from error


def _copy_whole(original: Path, copy: Path, job: Job) -> None:
    """Copies a job's original.

    Raises:
        OutputError: the copy is not the original.
        OSError: the system refuses.
    """
    try:
        shutil.copyfile(original, copy)
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:  # of the disk of the copy, whichever file it was said of
            raise OSError(error.errno, error.strerror, os.fspath(copy)) from error
        raise
    if hash_of(copy) != job.source_sha256:
        raise OutputError("its original could not be copied whole", path=job.path)


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
