"""The replacement, step by step: at every instant the path holds the complete original or the complete result.

The order is the promise: result verified and flushed, backup durable, what the file carried carried, the result's
SHA-256 in the ledger, then one swap of names.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import liif_engine
from liif_daemon import notes, steps
from liif_daemon.carry import carry, is_carried
from liif_daemon.free import rename_if_free
from liif_daemon.ledger import Glance, Job, Ledger
from liif_daemon.names import as_spelled, why_not_there
from liif_daemon.store import Changed, Store
from liif_daemon.swap import swap
from liif_daemon.workplace import content_of, gives_way
from liif_engine.errors import LiifError, OutputError, OutputExistsError
from liif_engine.picture import image_file
from liif_engine.picture.atomic import flush, flush_folder
from liif_engine.picture.image_file import Limits, Marker

#: Our own results were limited by the engine; here only their truth is checked.
_OUR_OWN = Limits(max_pixels=1 << 50, max_file_bytes=1 << 50)

_SECONDS_PER_DAY = 86400


@dataclass(frozen=True)
class Result:
    """A verified result, not yet in its place.

    Attributes:
        job: what it is of.
        path: the file, in the workplace.
        sha256, size: of the file.
        model: that made it.
        width, height: in pixels.
        seconds: of the engine's work.
        note: what its metadata does not say, as that of a BMP cannot; None where it does.
    """

    job: Job
    path: Path
    sha256: str
    size: int
    model: str
    width: int
    height: int
    seconds: float
    note: Marker | None = None


@dataclass(frozen=True)
class Policy:
    """What a folder's settings say of replacing.

    Attributes:
        keep_days: how long originals are kept: infinite for ever, 0 not at all.
        keep_mtime: whether the result has the original's modification time.
    """

    keep_days: float = math.inf
    keep_mtime: bool = True


def verify(
    job: Job, path: Path, *, of: tuple[int, int], size: tuple[int, int], frames: int, model: str, seconds: float
) -> Result:
    """Decodes a result again and compares it with what it should be.

    Args:
        job: which it is of.
        path: the result.
        of, size: of the original and of the result, in pixels.
        frames: how many it must have.
        model: that made it.
        seconds: of the engine's work.

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
    note = None
    if marker is None:
        scales = size[0] / of[0], size[1] / of[1]
        note = Marker("liif-restore", liif_engine.__version__, model, *scales, job.source_sha256)
    return Result(job, path, picture.sha256, path.stat().st_size, model, *size, seconds, note)


def replace(result: Result, ledger: Ledger, store: Store, policy: Policy) -> None:
    """Puts a verified result in its original's place and ends the job as done.

    Raises:
        Changed: the file is no longer the one that was read; it is in its place.
        LiifError, OSError: refused; call `workplace.recover`, which tells from the disk what is where.
    """
    job = result.job
    keeps = policy.keep_days > 0
    if keeps:
        size = store.keep(job.path, job.source_sha256)
        ledger.originals.promise(job.source_sha256, size, store.folder, policy.keep_days * _SECONDS_PER_DAY)
        if result.note is not None:
            notes.write(store, result.sha256, result.size, result.note)
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
    refuse_links(job)
    old = swap(result.path, as_spelled(job.path), job.source_sha256)
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
    refuse_links(job)
    try:
        rename_if_free(result.path, destination)
    except FileExistsError:
        there = content_of(destination)
        if there is None or (there != result.sha256 and not gives_way(ledger.results(there), destination)):
            message = f"the name of its result, {destination.name}, is taken by a file that is not ours"
            remedy = "Rename that file, then `liif-daemon retry FILE`."
            raise OutputExistsError(message, path=job.path, remedy=remedy) from None
        swap(result.path, destination, there)
    flush_folder(destination.parent)
    ledger.finish(job, "done", seconds=result.seconds)


def refuse_links(job: Job) -> None:
    """Returns unless a folder that the picture lies in has given way to a symbolic link, which leads to others' files.

    Raises:
        Changed: it has; what is there now is left alone.
    """
    if why_not_there(job.path, job.folder):
        raise Changed("has gone: its folder is a symbolic link now, and those are not followed", path=job.path)


def _carry(source: Path, target: Path, policy: Policy) -> None:
    try:
        carry(source, target, mtime=policy.keep_mtime)
    except LiifError as error:
        raise error.at(source) from error.__cause__
    except FileNotFoundError:
        raise Changed("has gone while it was being restored", path=source) from None
