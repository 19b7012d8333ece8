"""One picture from claimed to done, or to a state that says why not; whatever happens, the disk is put in order."""

from __future__ import annotations

import errno
import logging
import os
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from liif_daemon import steps
from liif_daemon.engine import Engine, EngineError, Order, Stopped
from liif_daemon.examine import model_of
from liif_daemon.exchange import is_open_for_writing
from liif_daemon.figures import Tally
from liif_daemon.ledger import LONGEST_WAIT, Glance, Job, Ledger
from liif_daemon.replace import (
    Policy,
    Result,
    put_beside,
    recover,
    remove_workplace,
    replace,
    result_in,
    tidy,
    verify,
    workplace_for,
)
from liif_daemon.settings import FolderSettings, Settings, target_of
from liif_daemon.store import Changed, Store, hash_of
from liif_engine import log as logs
from liif_engine.errors import LiifError, OutputExistsError, UnsupportedError
from liif_engine.picture import image_file

log = logging.getLogger(__name__)

#: Errors of the disk that pass: the job waits.
_PASSING = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.EHOSTDOWN}
_PASSING |= {errno.ENOENT, errno.ETIMEDOUT, errno.EMFILE, errno.ENFILE, errno.EBUSY, errno.EINTR, errno.ENODEV}

_WORDS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the disk is read-only",
    errno.EACCES: "no permission to read or replace it; check the folder's permissions",
    errno.EPERM: "the system does not permit replacing it; check its attributes with lsattr",
    errno.EIO: "the disk reports an input/output error",
}

#: Progress of the picture at work: the job, the share done.
OnProgress = Callable[[Job, float], None]


@dataclass(frozen=True)
class Bench:
    """What the work needs."""

    settings: Settings
    ledger: Ledger
    store: Store
    engine: Engine
    tally: Tally = field(default_factory=Tally)


def restore_picture(jobs: list[Job], bench: Bench, on_progress: OnProgress) -> bool:
    """Restores one picture to all the sizes claimed together.

    Args:
        jobs: as `Ledger.claim` gives them.
        bench: what the work needs.
        on_progress: what it raises ends the work; the jobs wait for the next start.

    Returns:
        Whether the file is to be looked at again, since something else lies there now.

    Raises:
        OutputError: the ledger cannot be written; the jobs stay claimed until `recover_jobs`.
    """
    with logs.about(name_of(jobs[0])):
        return _restore_picture(jobs, bench, on_progress)


def name_of(job: Job) -> str:
    """By which every log, the service's too, knows a job."""
    return f"daemon-{job.id}"


def _restore_picture(jobs: list[Job], bench: Bench, on_progress: OnProgress) -> bool:
    steps.reached("claimed")
    workplace = workplace_for(jobs[0].path)
    try:
        tidy(jobs, bench.store, bench.ledger)  # of an earlier try, when the folder was out of reach
        source = _source_of(jobs, bench)
        bench.ledger.begin(jobs, workplace)  # forgets earlier results, so only where there is to be a new one
        workplace.mkdir(mode=0o700)
        steps.reached("workplace made")
        results = [result for job in jobs if (result := _result(job, source, workplace, bench, on_progress))]
        steps.reached("engine done")
        for result in results:
            _put_in_place(result, bench)
        remove_workplace(workplace)
    except Stopped:
        return _give_up(jobs, bench, lambda job: bench.ledger.wait(job, "stopped before it was done", 0, counts=False))
    except Changed as error:
        log.info("%s", error)
        message, seconds = error.message, bench.settings.daemon.retry_seconds
        return _give_up(jobs, bench, lambda job: bench.ledger.wait(job, message, seconds, counts=False))
    except EngineError as error:
        caught = error  # Python forgets `error` where the block ends
        return _give_up(jobs, bench, lambda job: _after_engine_error(job, caught, bench))
    except OSError as error:
        reason, passing = _in_words(error, bench.store)
        return _give_up(jobs, bench, lambda job: _after_disk_error(job, reason, passing, bench))
    except LiifError as error:
        if error.path == bench.ledger.path:
            raise
        reason = f"{error.message}. {error.remedy}".removesuffix(". ")
        final = isinstance(error, UnsupportedError | OutputExistsError)
        failed = EngineError(reason, "refused" if final else "again", type(error).__name__)
        return _give_up(jobs, bench, lambda job: _after_engine_error(job, failed, bench))
    except Exception as error:
        log.exception("%s: unexpected", jobs[0].path)
        failed = EngineError(f"unexpected {type(error).__name__}: {error}. Please report this.", "again")
        return _give_up(jobs, bench, lambda job: _after_engine_error(job, failed, bench))
    return False


def recover_jobs(jobs: list[Job], bench: Bench, otherwise: Callable[[Job], None] | None = None) -> bool:
    """Finds out what became of one picture's claimed jobs and writes it down.

    Args:
        jobs: all claimed jobs of one path and content, as the ledger has them now.
        bench: what is needed.
        otherwise: what to do with a job that is not done though its original is in place; by default it waits.

    Returns:
        Whether something else lies there now, so that the file is to be looked at again.
    """
    ledger, again = bench.ledger, False
    glance = _glance(jobs[0].path)  # before it is read: what comes in between is looked at
    here = recover(jobs, bench.store, ledger)
    for job in jobs:
        if job.result_sha256 is not None and job.in_place and here == job.result_sha256:
            ledger.finish(job, "done", "finished after an interruption", glance=glance)
        elif job.result_sha256 is not None and not job.in_place and _content(job.destination) == job.result_sha256:
            ledger.finish(job, "done", "finished after an interruption")
        elif here == job.source_sha256 or (not job.in_place and here is not None and ledger.results(here)):
            otherwise(job) if otherwise else _after_interruption(job, bench)
        else:
            ledger.finish(job, "skipped", "the file has gone" if here is None else "the file has changed since")
            ledger.looks.forget(job.path)
            again = True
    return again


def _give_up(jobs: list[Job], bench: Bench, otherwise: Callable[[Job], None]) -> bool:
    """Puts the disk in order and the jobs that are not over into their next state."""
    ids = {job.id for job in jobs}
    path, sha256 = jobs[0].path, jobs[0].source_sha256
    left = [job for job in bench.ledger.jobs(path=path, sha256=sha256, state="claimed") if job.id in ids]
    if not left:
        return False
    try:
        return recover_jobs(left, bench, otherwise)
    except OSError as error:
        # The folder may be out of reach: the workplaces stay written down, and the start or the next try clears them.
        reason, passing = _in_words(error, bench.store)
        for job in left:
            _after_disk_error(job, reason, passing, bench)
        return False


def _source_of(jobs: list[Job], bench: Bench) -> Path:
    """The original: in its place or, where only results beside it are missing, in the store.

    Raises:
        Changed: it is in neither.
        OSError: it cannot be read.
    """
    job = jobs[0]
    found = _content(job.path)
    if found == job.source_sha256:
        if is_open_for_writing(job.path):
            raise Changed("is open for writing", path=job.path)  # to be found out before the work, not after it
        return job.path
    if not any(one.in_place for one in jobs) and found is not None and bench.ledger.results(found):
        if bench.store.holds(job.source_sha256):
            return bench.store.path_of(job.source_sha256)
        raise EngineError("its original is no longer in the store", "refused")
    raise Changed("has gone" if found is None else "has changed since", path=job.path)


def _probe(source: Path) -> image_file.Probe:
    """What is to be restored; a file that is no picture will not become one by trying again.

    Raises:
        EngineError: no picture, or one that is refused.
        OSError: it cannot be read now.
    """
    try:
        return image_file.probe(source)
    except LiifError as error:
        if isinstance(error.__cause__, OSError):
            raise error.__cause__ from error
        reason = f"{error.message}. {error.remedy}".removesuffix(". ")
        raise EngineError(reason, "refused", type(error).__name__) from error


def _result(job: Job, source: Path, workplace: Path, bench: Bench, on_progress: OnProgress) -> Result | None:
    """The verified result of one job in the workplace; None if the engine refuses this size for good.

    Raises:
        EngineError, LiifError, OSError: all jobs of the picture end or wait.
    """
    settings = bench.settings
    folder = _folder_of(job, settings)
    target = target_of(job.target)
    started = time.monotonic()
    probe = _probe(source)
    order = Order(
        source,
        result_in(workplace, job),
        target,
        model_of(folder, settings),
        (folder.quality if folder else None) or settings.engine.quality,
        settings.engine.precision,
        settings.daemon.job_minutes * 60,
        name_of(job),
    )
    bench.tally.took("look", time.monotonic() - started)
    size = target.size_of_result(probe.width, probe.height)
    if not job.in_place and (reason := _too_long(_beside(job, size))):
        log.warning("%s: failed: %s", job.path, reason)
        bench.ledger.finish(job, "failed", reason)
        bench.tally.failed("OutputError")
        return None
    try:
        model = bench.engine.restore(order, lambda share: on_progress(job, share))
    except EngineError as error:
        if error.kind != "refused" or job.in_place:
            raise
        log.warning("%s: failed: %s", job.path, error.reason)
        bench.ledger.finish(job, "failed", error.reason)
        bench.tally.failed(error.cause)
        return None
    seconds = time.monotonic() - started
    bench.tally.took("engine", seconds)
    result = verify(job, order.destination, size=size, frames=probe.frames, model=model, seconds=seconds)
    bench.tally.took("verify", time.monotonic() - started - seconds)
    return result


def _put_in_place(result: Result, bench: Bench) -> None:
    started, job = time.monotonic(), result.job
    _put(result, bench)
    bench.tally.took("replace", time.monotonic() - started)
    bench.tally.restored(job.width * job.height, result.width * result.height)


def _put(result: Result, bench: Bench) -> None:
    job = result.job
    folder = _folder_of(job, bench.settings)
    policy = Policy(folder.keep_originals, folder.mtime == "keep") if folder else Policy()
    if job.in_place:
        replace(result, bench.ledger, bench.store, policy)
        log.info("%s: restored to %dx%d by %s in %.1f s", job.path, *_facts(result))
        return
    destination = _beside(job, (result.width, result.height))
    try:
        put_beside(result, destination, bench.ledger, policy)
    except OutputExistsError as error:
        bench.ledger.finish(job, "failed", f"{error.message}. {error.remedy}")
        log.warning("%s", error.explain())
        bench.tally.failed(type(error).__name__)
    else:
        log.info("%s: restored to %dx%d by %s in %.1f s", destination, *_facts(result))


def _beside(job: Job, size: tuple[int, int]) -> Path:
    """Where a result of that size belongs that does not take its original's place."""
    label = target_of(job.target).label(size)
    return job.path.with_name(f"{job.path.stem}@{label}{job.path.suffix}")


def _too_long(path: Path) -> str | None:
    """Why a file cannot have this name, where it is too long for the file system."""
    try:
        most, size = os.pathconf(path.parent, "PC_NAME_MAX"), len(os.fsencode(path.name))
    except (OSError, AttributeError):  # not told, or Windows
        return None
    if size <= most:
        return None
    remedy = "`liif-daemon undo` it and give it a shorter name to get this size too."
    return f"the name of its result, {path.name}, would be too long ({size} bytes of {most}). {remedy}"


def _facts(result: Result) -> tuple[int, int, str, float]:
    return result.width, result.height, result.model, result.seconds


def _after_engine_error(job: Job, error: EngineError, bench: Bench) -> None:
    settings, tries = bench.settings.daemon, job.attempts + 1
    counts = error.kind == "again"
    if error.kind == "refused" or (counts and tries >= settings.max_attempts):
        after = f" (given up after {tries} tries)" if counts else ""
        log.warning("%s: failed: %s%s", job.path, error.reason, after)
        bench.ledger.finish(job, "failed", error.reason + after)
        bench.tally.failed(error.cause)
        return
    seconds = settings.retry_seconds * 4 ** (job.attempts if counts else 0)
    log.warning("%s: %s Tried again in %.0f s.", job.path, error.reason, min(seconds, LONGEST_WAIT))
    bench.ledger.wait(job, error.reason, seconds, counts=counts)
    bench.tally.again(error.cause)


def _after_interruption(job: Job, bench: Bench) -> None:
    """The daemon ended amid the job: by chance, or because of it, which only more deaths can tell."""
    settings = bench.settings.daemon
    if job.deaths >= settings.max_attempts:
        reason = died_of(job.deaths, "while it was at work on it")
        log.warning("%s: failed: %s", job.path, reason)
        bench.ledger.finish(job, "failed", reason)
        bench.tally.failed("Death")
        return
    seconds = settings.retry_seconds * 4 ** (job.deaths - 2) if job.deaths > 1 else 0
    bench.ledger.wait(job, "interrupted", seconds, counts=False)


def died_of(deaths: int, when: str) -> str:
    """Why a picture is given up that the daemon dies of."""
    return f"the daemon died {deaths} times {when}, so it is left alone; `liif-daemon retry` tries it again"


def _after_disk_error(job: Job, reason: str, passing: bool, bench: Bench) -> None:
    log.warning("%s: %s", job.path, reason)
    if passing:
        bench.ledger.wait(job, reason, bench.settings.daemon.retry_seconds, counts=False)
        bench.tally.again("OSError")
    else:
        bench.ledger.finish(job, "failed", reason)
        bench.tally.failed("OSError")


def _in_words(error: OSError, store: Store) -> tuple[str, bool]:
    """What happened, and whether it may pass."""
    number = error.errno or 0
    name = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else ""
    where = f" ({name})" if name else ""
    if number in {errno.EACCES, errno.EPERM} and name and _concerns(Path(name), store):
        return f"its original cannot be kept: no permission{where}", True  # no picture's fault
    return _WORDS.get(number, error.strerror or str(error)) + where, number in _PASSING


def _concerns(path: Path, store: Store) -> bool:
    return path in (store.folder, *store.folder.parents) or store.folder in path.parents


def _folder_of(job: Job, settings: Settings) -> FolderSettings | None:
    return settings.folder_of(job.path)


def _glance(path: Path) -> Glance | None:
    try:
        return Glance.of(path)
    except FileNotFoundError:
        return None


def _content(path: Path | None) -> str | None:
    try:
        return hash_of(path) if path is not None and stat.S_ISREG(path.lstat().st_mode) else None
    except FileNotFoundError:
        return None
