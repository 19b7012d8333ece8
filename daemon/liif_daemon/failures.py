"""What a failure means for a job: it waits, is tried again, or has failed for good; and in which words."""

from __future__ import annotations

import errno
import logging
import os
from pathlib import Path

from liif_daemon import mounts
from liif_daemon.bench import Bench
from liif_daemon.engine import EngineError, NoEngineError
from liif_daemon.ledger import LONGEST_WAIT, Job
from liif_daemon.store import Store
from liif_daemon.told import AT_THE_END
from liif_daemon.workplace import is_workplace
from liif_engine.errors import printable

log = logging.getLogger(__name__)

#: Errors of the disk that pass: the job waits.
_PASSING = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.EHOSTDOWN}
_PASSING |= {errno.ENOENT, errno.ETIMEDOUT, errno.EMFILE, errno.ENFILE, errno.EINTR, errno.ENODEV}
_PASSING |= {errno.EBUSY, errno.ETXTBSY, errno.EALREADY}

#: What waits for a disk, a share or an engine is tried so often, all of it together: each try reads a picture and
#: writes to the ledger, which for thousands of them every few seconds would wear out a disk, for days. [1/s]
MOST_TRIES = 10

#: What the figures call the end of a daemon amid its work.
DEATH = "Death"

#: What Windows says of a file that somebody has open, which nobody may replace then. The first stands for a lack of
#: permission too.
_IN_USE = {5, 32, 33}

#: What Linux says of such a file on a share of Windows' kind.
_IN_USE_THERE = {errno.EBUSY, errno.ETXTBSY}

_OPEN = "another program has it open"

_WORDS = {
    errno.EBUSY: _OPEN,
    errno.ETXTBSY: _OPEN,
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the disk is read-only",
    errno.EACCES: "no permission to read or replace it; check the folder's permissions",
    errno.EPERM: "the system does not permit replacing it; check its attributes, and its folder's, with lsattr",
    errno.EIO: "the disk reports an input/output error",
}


def after_engine_error(job: Job, error: EngineError, bench: Bench) -> None:
    """The engine, or a look at its result, says no: for good, for this time, or because of its surroundings."""
    settings, tries = bench.settings.daemon, job.attempts + 1
    counts = error.kind == "again"
    if error.kind == "refused" or (counts and tries >= settings.max_attempts):
        after = f" (given up after {tries} tries)" if counts else ""
        log.warning("%s: failed: %s%s", job.path, error.reason, after, extra=AT_THE_END)
        bench.ledger.finish(job, "failed", error.reason + after, counts=True)
        bench.tally.failed(error.cause)
        return
    seconds = settings.retry_seconds * 4**job.attempts if counts else _pause(bench)
    # Or later: when something else is at work, or by the next run.
    words = "%s: %s. Tried again in %.0f s or later."
    wait = min(seconds, LONGEST_WAIT)
    if _is_news(error.reason, job, bench) or counts:
        # With `once`, only what counts is tried again before the end.
        log.warning(words, job.path, error.reason.removesuffix("."), wait, extra=None if counts else AT_THE_END)
    bench.ledger.wait(job, error.reason, seconds, counts=counts)
    bench.tally.again(error.cause)
    if isinstance(error, NoEngineError):
        bench.on_no_engine(error.reason)


def after_interruption(job: Job, bench: Bench) -> None:
    """The daemon ended amid the job: by chance, or because of it, which only more deaths can tell."""
    settings = bench.settings.daemon
    if job.deaths >= settings.max_attempts:
        reason = died_of(job.deaths, "while it was at work on it")
        log.warning("%s: failed: %s", job.path, reason, extra=AT_THE_END)
        bench.ledger.finish(job, "failed", reason)
        bench.tally.failed(DEATH)
        return
    seconds = settings.retry_seconds * 4 ** (job.deaths - 2) if job.deaths > 1 else 0
    bench.ledger.wait(job, "interrupted", seconds, counts=False)


def died_of(deaths: int, when: str) -> str:
    """Why a picture is given up that the daemon dies of."""
    return f"the daemon died {deaths} times {when}, so it is left alone; `liif-daemon retry FILE` tries it again"


def after_disk_error(job: Job, reason: str, passing: bool, bench: Bench) -> None:
    """The system refuses, as `in_words` told; for good where a container's file, say, is a mount point."""
    if passing and mounts.is_mount(job.path):
        reason, passing = "something is mounted on the file itself, so it cannot be replaced", False
    if not passing or _is_news(reason, job, bench):
        log.warning("%s: %s", job.path, reason, extra=AT_THE_END)
    if passing:
        bench.ledger.wait(job, reason, _pause(bench), counts=False)
        bench.tally.again("OSError")
    else:
        bench.ledger.finish(job, "failed", reason, counts=True)
        bench.tally.failed("OSError")


def _pause(bench: Bench) -> float:
    """How long what waits for no fault of its own waits until the next try, in seconds."""
    return max(bench.settings.daemon.retry_seconds, bench.ledger.waiting() / MOST_TRIES)


def _is_news(reason: str, job: Job, bench: Bench) -> bool:
    """Whether a job waits for another reason than before: thousands of them may wait for the same, for days.

    What an earlier run said is said again: whoever starts a daemon looks at what this one says.
    """
    is_first = job.id not in bench.told
    bench.told.add(job.id)
    return is_first or printable(reason) != job.reason


def in_words(error: OSError, store: Store) -> tuple[str, bool]:
    """What happened, and whether it may pass."""
    number = error.errno or 0
    name = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else ""
    passing_by = any(map(is_workplace, (Path(name), *Path(name).parents)))  # gone when somebody reads of it, and new
    where = f" ({name})" if name and not passing_by else ""  # with each try, so that the same reason would seem another
    if number in {errno.EACCES, errno.EPERM} and name and _concerns(Path(name), store):
        return f"its original cannot be kept: no permission{where}", True  # no picture's fault
    if getattr(error, "winerror", None) in _IN_USE:
        return f"{_OPEN}, or there is no permission{where}", True
    return _WORDS.get(number, error.strerror or str(error)) + where, number in _PASSING


def is_in_use(error: OSError, path: Path) -> bool:
    """Whether a file could not be replaced since another program may have it open, as on Windows and its shares.

    Args:
        error: what the system said.
        path: of the file.
    """
    if getattr(error, "winerror", None) in _IN_USE:
        return True
    # At a rename onto it, after all the work: what is busy otherwise is found out before that, and can be waited for.
    return error.errno in _IN_USE_THERE and error.filename2 == os.fspath(path) and not mounts.is_mount(path)


def _concerns(path: Path, store: Store) -> bool:
    return path in (store.folder, *store.folder.parents) or store.folder in path.parents
