"""The replacement, step by step: at every instant the path holds the complete original or the complete result.

The order is the promise: result verified and flushed, backup durable, what the file carried carried, the result's
SHA-256 in the ledger, then one swap of names. `recover` tells from the disk alone how far a killed one had come.
"""

from __future__ import annotations

import logging
import math
import os
import secrets
import shutil
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from liif_daemon import steps
from liif_daemon.carry import carry, is_carried
from liif_daemon.exchange import exchange, is_open_for_writing, rename_if_free
from liif_daemon.ledger import Glance, Job, Ledger
from liif_daemon.store import Changed, Store, hash_of
from liif_engine.errors import LiifError, OutputError, OutputExistsError
from liif_engine.picture import image_file
from liif_engine.picture.atomic import TEMPORARY_PREFIX, TEMPORARY_SUFFIX, flush_folder
from liif_engine.picture.image_file import Limits

log = logging.getLogger(__name__)

#: Our own results were limited by the engine; here only their truth is checked.
_OUR_OWN = Limits(max_pixels=1 << 50, max_file_bytes=1 << 50)

_SECONDS_PER_DAY = 86400

#: Before the name of a file in a workplace: what that one took the place of, where names cannot be exchanged.
_ASIDE = "instead-of-"


@dataclass(frozen=True)
class Result:
    """A verified result, not yet in its place.

    Attributes:
        job: what it is of.
        path: the file, in the workplace.
        sha256, size: of the file.
        model: that made it.
        width, height: in pixels.
        seconds: of work.
    """

    job: Job
    path: Path
    sha256: str
    size: int
    model: str
    width: int
    height: int
    seconds: float


@dataclass(frozen=True)
class Policy:
    """What a folder's settings say of replacing.

    Attributes:
        keep_days: how long originals are kept: infinite for ever, 0 not at all.
        keep_mtime: whether the result has the original's modification time.
    """

    keep_days: float = math.inf
    keep_mtime: bool = True


def workplace_for(path: Path) -> Path:
    """A name for a folder of temporary files beside a file, on the same file system.

    It is that of a temporary of ours, so that watchers skip it, and recovery may remove it whole: what a killed engine
    leaves lies inside.
    """
    return path.with_name(f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}{TEMPORARY_SUFFIX}")


def verify(job: Job, path: Path, *, size: tuple[int, int], frames: int, model: str, seconds: float) -> Result:
    """Decodes a result again and compares it with what it should be.

    Raises:
        LiifError: it is no picture, or one of another size; it is not put in place.
    """
    picture = image_file.read(path, limits=_OUR_OWN)
    marker = image_file.read_marker(path)
    if marker is not None and marker.source_sha256 != job.source_sha256:
        raise Changed("changed while it was being read", path=job.path)
    found = (picture.width, picture.height), len(picture.frames)
    if found != (size, frames):
        message = f"the result has {picture.width}x{picture.height} pixels and {len(picture.frames)} frames"
        raise OutputError(f"{message} instead of {size[0]}x{size[1]} and {frames}", path=job.path, remedy="")
    steps.reached("result verified")
    return Result(job, path, picture.sha256, path.stat().st_size, model, *size, seconds)


def replace(result: Result, ledger: Ledger, store: Store, policy: Policy) -> None:
    """Puts a verified result in its original's place and ends the job as done.

    Raises:
        Changed: the file is no longer the one that was read; it is in its place.
        LiifError, OSError: refused; call `recover`, which tells from the disk what is where.
    """
    job = result.job
    keeps = policy.keep_days > 0
    if keeps:
        size = store.keep(job.path, job.source_sha256)
        ledger.originals.promise(job.source_sha256, size, time.time() + policy.keep_days * _SECONDS_PER_DAY)
    steps.reached("backup durable")
    _carry(job.path, result.path, policy)
    flush(result.path)
    flush_folder(result.path.parent)
    steps.reached("metadata carried")
    ledger.promise(
        job,
        result_sha256=result.sha256,
        result_size=result.size,
        destination=job.path,
        model=result.model,
        out=(result.width, result.height),
        kept=keeps,
    )
    steps.reached("result promised")
    ours = Glance.of(result.path)
    old = swap(result.path, job.path, job.source_sha256)
    if old is not None and not is_carried(old, job.path):
        _carry(old, job.path, policy)
    ledger.finish(job, "done", seconds=result.seconds, glance=ours.under(job.path))
    steps.reached("ledger done")


def put_beside(result: Result, destination: Path, ledger: Ledger, policy: Policy) -> None:
    """Gives a verified result its own name beside the original and ends the job as done.

    An older result of ours under that name is replaced; anything else there is left alone.

    Raises:
        OutputExistsError: the name is taken by something that is not ours.
        LiifError, OSError: refused; nothing was overwritten.
    """
    job = result.job
    _carry(job.path, result.path, policy)
    flush(result.path)
    ledger.promise(
        job,
        result_sha256=result.sha256,
        result_size=result.size,
        destination=destination,
        model=result.model,
        out=(result.width, result.height),
        kept=False,
    )
    try:
        rename_if_free(result.path, destination)
    except FileExistsError:
        there = _hash(destination)
        if there is None or (there != result.sha256 and not _gives_way(ledger.results(there), destination)):
            message = f"the name of its result, {destination.name}, is taken by a file that is not ours"
            remedy = "Rename that file, then `liif-daemon retry`."
            raise OutputExistsError(message, path=job.path, remedy=remedy) from None
        swap(result.path, destination, there)
    flush_folder(destination.parent)
    ledger.finish(job, "done", seconds=result.seconds)


def swap(new: Path, path: Path, expected: str) -> Path | None:
    """A complete and durable file takes a path's place, if the path holds the content expected until the very swap.

    On Linux the two exchange their names, the file that came out is looked at, and they exchange again if it is not the
    one expected. Elsewhere the path is looked at and then replaced: a file that another program renames onto the path
    in the microseconds between is lost; one that it writes into is put back.

    Args:
        new: in a workplace of ours beside `path`.
        path: a regular file.
        expected: the SHA-256 of its content.

    Returns:
        Where the file that came out lies; None if it is gone.

    Raises:
        Changed: the path holds something else, and keeps it.
        OSError: the system refuses; the path is as it was.
    """
    _check(path, expected)
    steps.reached("about to swap")
    ours = new.lstat()
    if not exchange(new, path):
        return _swap_by_replace(new, path, expected)
    steps.reached("swapped")
    flush_folder(path.parent)
    flush_folder(new.parent)
    steps.reached("folders flushed")
    try:
        _check(new, expected)
    except (Changed, OSError) as error:
        exchange(new, path)
        came = new.lstat()
        if (came.st_ino, came.st_dev) != (ours.st_ino, ours.st_dev):
            # Somebody put a third file there in between: the newest belongs in the place; the workplace keeps the
            # other, and `recover` saves it.
            exchange(new, path)
        flush_folder(path.parent)
        raise Changed("changed while it was being restored", path=path) from error
    steps.reached("swap verified")
    return new


def recover(jobs: Sequence[Job], store: Store, ledger: Ledger) -> str | None:
    """Finds out from the disk what became of one picture's jobs, and tidies up as `tidy` does.

    Returns:
        SHA-256 of what the path holds now; None if there is no regular file.

    Raises:
        OSError: as `tidy`.
    """
    tidy(jobs, store, ledger)
    return _hash(jobs[0].path)


def tidy(jobs: Sequence[Job], store: Store, ledger: Ledger) -> None:
    """Clears the workplaces of one picture's jobs without losing anything.

    Args:
        jobs: as the ledger has them now; all that share a workplace.
        store: takes what somebody would miss.
        ledger: tells which files are results of ours.

    Raises:
        OSError: the disk cannot be read or written; nothing was removed that could be needed.
    """
    workplaces = {job.workplace for job in jobs if job.workplace is not None and job.workplace.is_dir()}
    for job in jobs:
        if job.workplace in workplaces and job.result_sha256 is not None:
            for left in _left_of(job):
                _clear(left, job, store, ledger)
    for workplace in workplaces:
        remove_workplace(workplace)


def remove_workplace(folder: Path) -> None:
    """Removes a workplace; an engine that has not yet heard may still be writing into it.

    Raises:
        OSError: it cannot be removed.
    """
    for attempt in range(10):
        with suppress(FileNotFoundError):
            try:
                shutil.rmtree(folder)
            except OSError:
                if attempt == 9:
                    raise
                time.sleep(0.02)  # [s]
                continue
        break
    steps.reached("workplace removed")


def flush(path: Path) -> None:
    """Makes a file's bytes durable.

    Raises:
        OSError: the disk refuses.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | getattr(os, "O_BINARY", 0))
    except PermissionError:
        descriptor = os.open(path, os.O_RDONLY)  # a file that nobody may write to; where names are POSIX's, it will do
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _clear(left: Path, job: Job, store: Store, ledger: Ledger) -> None:
    """Makes a file that a job has left in its workplace safe to remove."""
    place = job.path if job.in_place else job.destination
    assert place is not None  # the job has a result, and so a place for it
    content, here = _hash(left), _hash(place)
    if content is not None and content in {job.result_sha256, here}:
        return
    if job.in_place and content == job.source_sha256:
        # Its backup was durable before the swap, unless the user wants none; a look costs little.
        if job.kept and not store.holds(content):
            store.keep(left, content)
        return
    if not job.in_place and content is not None and _gives_way(ledger.results(content), place):
        return  # an older result, whose name this one's has taken
    # Neither the original nor ours: somebody changed the file in the instant of the swap, and theirs is the truth.
    if not os.path.lexists(place):
        left.rename(place)
    elif here == job.result_sha256 and exchange(left, place):
        flush_folder(place.parent)
    elif content is not None:
        store.keep(left, content)
        log.warning("%s: what lay there, which no other place holds, is kept as %s", place, store.path_of(content))


def _gives_way(makers: list[Job], destination: Path) -> bool:
    """Whether a result of ours beside an original may be replaced: not a picture that was restored in its own right."""
    if any(job.destination == destination and not job.in_place for job in makers):
        return True
    return bool(makers) and not any(job.in_place for job in makers)


def _swap_by_replace(new: Path, path: Path, expected: str) -> Path | None:
    """`swap` where names cannot be exchanged."""
    aside: Path | None = new.with_name(f"{_ASIDE}{new.name}")
    assert aside is not None
    try:
        os.link(path, aside)
    except OSError:
        aside = None  # no hard links there either: what is written into the file from now on is lost
    _check(path, expected)
    new.replace(path)
    steps.reached("swapped")
    flush_folder(path.parent)
    steps.reached("folders flushed")
    if aside is not None:
        try:
            _check(aside, expected)
        except (Changed, OSError) as error:
            aside.replace(path)
            flush_folder(path.parent)
            raise Changed("changed while it was being restored", path=path) from error
    steps.reached("swap verified")
    return aside


def _check(path: Path, expected: str) -> None:
    """Raises Changed unless the path is a regular file of this content that nobody has open for writing."""
    try:
        regular = stat.S_ISREG(path.lstat().st_mode)
    except FileNotFoundError:
        raise Changed("has gone while it was being restored", path=path) from None
    if not regular or is_open_for_writing(path) or hash_of(path) != expected:
        raise Changed("changed while it was being restored", path=path)


def _carry(source: Path, target: Path, policy: Policy) -> None:
    try:
        carry(source, target, mtime=policy.keep_mtime)
    except LiifError as error:
        raise error.at(source) from error.__cause__
    except FileNotFoundError:
        raise Changed("has gone while it was being restored", path=source) from None


def result_in(workplace: Path, job: Job) -> Path:
    """Where a job's result is made; what lies there after a swap is what it took the place of."""
    return workplace / f"result{job.id}{job.path.suffix}"


def _left_of(job: Job) -> Iterator[Path]:
    """What a job, or its undoing, has left in its workplace, besides an engine's half-written files."""
    assert job.workplace is not None
    for name in (result_in(job.workplace, job).name, copy_in(job.workplace, job).name):
        for path in (job.workplace / name, job.workplace / f"{_ASIDE}{name}"):
            if os.path.lexists(path):
                yield path


def copy_in(workplace: Path, job: Job) -> Path:
    """Where `undo` copies a job's original to; what lies there after a swap is what it took the place of."""
    return workplace / f"original{job.path.suffix}"


def _hash(path: Path) -> str | None:
    try:
        return hash_of(path) if stat.S_ISREG(path.lstat().st_mode) else None
    except FileNotFoundError:
        return None
