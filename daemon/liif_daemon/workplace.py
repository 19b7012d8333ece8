"""The folder of temporary files beside a picture at work, and what a killed run may have left in it.

`recover` tells from the disk alone how far that run had come; what somebody would miss is put in its place or stored.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import secrets
import stat
import struct
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from liif_daemon import steps
from liif_daemon.free import rename_if_free
from liif_daemon.ledger import Job, Ledger
from liif_daemon.names import why_not_there
from liif_daemon.store import Changed, Store, hash_of
from liif_daemon.swap import ASIDE, swap
from liif_engine.picture.atomic import TEMPORARY_PREFIX, TEMPORARY_SUFFIX, flush_folder

log = logging.getLogger(__name__)

#: Names that the functions below, `undo`, `check` and a killed engine give to what they put into a workplace; that
#: macOS gives to their attributes on a share that has none; and that NFS and FUSE give to what is removed while open.
_OURS = re.compile(
    rf"(?:\._)?(?:(?:{ASIDE}|part-of-)?(?:result\d+|original)(?:\..*)?|one|other"
    rf"|{re.escape(TEMPORARY_PREFIX)}[0-9a-f]+{re.escape(TEMPORARY_SUFFIX)})"
    r"|\.(?:nfs|fuse_hidden)[0-9a-f]+",
    re.DOTALL,
)

#: How often a workplace is tried to be removed, in 2.5 s: some shares show for a second nothing of what was made.
REMOVALS = 8

#: Of <linux/fs.h>, as most machines have it; the others refuse, and so do not tell: FS_IOC_GETFLAGS and FS_APPEND_FL.
_GET_FLAGS, _APPEND_ONLY = 2 << 30 | struct.calcsize("l") << 16 | ord("f") << 8 | 1, 0x20


def workplace_for(path: Path) -> Path:
    """A name for a folder of temporary files beside a file, on the same file system.

    It is that of a temporary of ours, so that watchers skip it, and recovery may remove it: what a killed engine leaves
    lies inside.
    """
    return path.with_name(f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}{TEMPORARY_SUFFIX}")


def make_workplace(folder: Path) -> None:
    """Makes a workplace, unless it could not be removed again.

    Raises:
        OSError: the system refuses, or would: in a folder that only grows (`chattr +a`) nothing can be replaced, and
            each try would leave a workplace behind.
    """
    if _only_grows(folder.parent):
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), os.fspath(folder))
    folder.mkdir(mode=0o700)


def flush_removed(workplaces: Iterable[Path | None]) -> None:
    """Makes durable that workplaces are gone, before the ledger forgets them: one that came back would stay for ever.

    Args:
        workplaces: of which the ledger knows; None stands for none.
    """
    for folder in {workplace.parent for workplace in workplaces if workplace is not None}:
        flush_folder(folder)


def is_workplace(path: Path) -> bool:
    """Whether a name is that of a folder of temporary files."""
    return path.name.startswith(TEMPORARY_PREFIX) and path.name.endswith(TEMPORARY_SUFFIX)


def result_in(workplace: Path, job: Job) -> Path:
    """Where a job's result is made; what lies there after a swap is what it took the place of."""
    return workplace / f"result{job.id}{job.path.suffix}"


def copy_in(workplace: Path, job: Job) -> Path:
    """Where `undo` copies a job's original to; what lies there after a swap is what it took the place of."""
    return workplace / f"original{job.path.suffix}"


def recover(jobs: Sequence[Job], store: Store, ledger: Ledger) -> str | None:
    """Finds out from the disk what became of one picture's jobs, and tidies up as `tidy` does.

    Returns:
        SHA-256 of what the path holds now; None if there is no regular file, or it is behind a symbolic link.

    Raises:
        OSError: as `tidy`.
    """
    tidy(jobs, store, ledger)
    return None if why_not_there(jobs[0].path, jobs[0].folder) else content_of(jobs[0].path)


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


def is_on_its_way_back(job: Job) -> bool:
    """Whether an `undo` was killed when its last step was to come: to give the original a name that nothing has."""
    if job.state != "undone" or job.workplace is None or os.path.lexists(job.path):
        return False
    if job.reason != job.state:  # it says at which other place the original came back
        return False
    return os.path.lexists(copy_in(job.workplace, job))


def remove_workplace(folder: Path) -> None:
    """Removes a workplace; an engine that has not yet heard may still be writing into it.

    Where others may write, its name may be that of somebody's folder by now: what is not named as ours are, stays.

    Raises:
        OSError: it cannot be removed.
    """
    for attempt in range(REMOVALS):
        with suppress(FileNotFoundError):
            try:
                if folder.is_symlink() or not _remove_ours(folder):
                    log.warning("%s: holds what is not ours, and so stays where it is", folder)
            except OSError:
                if attempt == REMOVALS - 1:
                    raise
                time.sleep(0.02 * 2**attempt)  # [s]
                continue
        break
    steps.reached("workplace removed")


def _remove_ours(folder: Path) -> bool:
    """Removes what is ours in a folder and, if that is all, the folder; whether it was."""
    with os.scandir(folder) as found:
        entries = list(found)
    ours = [one.path for one in entries if _OURS.fullmatch(one.name) and not one.is_dir(follow_symlinks=False)]
    for path in ours:
        with suppress(FileNotFoundError):
            os.unlink(path)  # noqa: PTH108 - as scandir names it
    if len(ours) == len(entries):
        folder.rmdir()
    return len(ours) == len(entries)


def _only_grows(folder: Path) -> bool:
    """Whether a folder takes files and gives none away, as far as the system tells."""
    if not sys.platform.startswith("linux"):
        return False
    import fcntl  # not on Windows

    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False  # what is done next in it says why
    try:
        said = fcntl.ioctl(descriptor, _GET_FLAGS, bytes(struct.calcsize("l")))
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return bool(int.from_bytes(said[:4], sys.byteorder) & _APPEND_ONLY)  # an int is written, whatever the call's name


def _clear(left: Path, job: Job, store: Store, ledger: Ledger) -> None:
    """Makes a file that a job has left in its workplace safe to remove."""
    place = job.path if job.in_place else job.destination
    assert place is not None  # the job has a result, and so a place for it
    content, here = content_of(left), content_of(place)
    if content is not None and content in {job.result_sha256, here}:
        return
    if job.in_place and content == job.source_sha256:
        if is_on_its_way_back(job) and left == copy_in(left.parent, job):
            with suppress(FileExistsError):  # somebody was faster
                rename_if_free(left, place)
            return
        # Its backup was durable before the swap, unless the user wants none; a look costs little.
        if job.kept and not store.holds(content):
            store.keep(left, content)
        return
    if not job.in_place and content is not None and gives_way(ledger.results(content), place):
        return  # an older result, whose name this one's has taken
    # Neither the original nor ours: somebody changed the file in the instant of the swap, and theirs is the truth.
    if not os.path.lexists(place):
        rename_if_free(left, place)
    elif not _puts_back(left, place, job.result_sha256) and content is not None:
        store.keep(left, content)
        log.warning("%s: what lay there, which no other place holds, is kept as %s", place, store.path_of(content))


def _puts_back(left: Path, place: Path, result_sha256: str | None) -> bool:
    """Whether a file takes the place of our result, which is there still."""
    try:
        if result_sha256 is not None:
            swap(left, place, result_sha256)
            return True
    except Changed:
        pass
    return False


def gives_way(makers: list[Job], destination: Path) -> bool:
    """Whether a result of ours beside an original may be replaced: not a picture that was restored in its own right."""
    if any(job.destination == destination and not job.in_place for job in makers):
        return True
    return bool(makers) and not any(job.in_place for job in makers)


def _left_of(job: Job) -> Iterator[Path]:
    """What a job, or its undoing, has left in its workplace, besides an engine's half-written files."""
    assert job.workplace is not None
    for name in (result_in(job.workplace, job).name, copy_in(job.workplace, job).name):
        for path in (job.workplace / name, job.workplace / f"{ASIDE}{name}"):
            if os.path.lexists(path):
                yield path


def content_of(path: Path) -> str | None:
    """SHA-256 of what a path holds; None if there is no regular file.

    Raises:
        OSError: it cannot be read.
    """
    try:
        return hash_of(path) if stat.S_ISREG(path.lstat().st_mode) else None
    except FileNotFoundError:
        return None
