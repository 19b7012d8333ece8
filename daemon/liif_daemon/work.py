"""One picture from claimed to done, or to a state that says why not; whatever happens, the disk is put in order."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from pathlib import Path

from liif_daemon import steps
from liif_daemon.bench import Bench
from liif_daemon.engine import EngineError, Order, Stopped
from liif_daemon.examine import model_of
from liif_daemon.failures import after_disk_error, after_engine_error, after_interruption, in_words, is_in_use
from liif_daemon.free import is_open_for_writing
from liif_daemon.ledger import Glance, Job
from liif_daemon.replace import Policy, Result, put_beside, refuse_links, replace, verify
from liif_daemon.settings import FolderSettings, Settings, target_of
from liif_daemon.store import Changed, hash_of
from liif_daemon.told import AT_THE_END
from liif_daemon.workplace import (
    content_of,
    flush_removed,
    make_workplace,
    recover,
    remove_workplace,
    result_in,
    tidy,
    workplace_for,
)
from liif_engine import log as logs
from liif_engine.errors import LiifError, OutputExistsError, UnsupportedError
from liif_engine.picture import image_file
from liif_engine.picture.atomic import name_size

log = logging.getLogger(__name__)

#: Progress of the picture at work: the job, the share done.
OnProgress = Callable[[Job, float], None]


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
        if jobs[-1].in_place and _policy(jobs[-1], bench).keep_days:
            bench.store.make_ready(jobs[-1].source_sha256, jobs[-1].size)  # not first after minutes of work
        flush_removed(job.workplace for job in jobs)
        bench.ledger.begin(jobs, workplace)  # forgets earlier results, so only where there is to be a new one
        make_workplace(workplace)
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
        return _give_up(jobs, bench, lambda job: after_engine_error(job, caught, bench))
    except OSError as error:
        reason, passing = in_words(error, bench.store)
        if is_in_use(error, jobs[0].path):  # each try is the whole work anew, so there are not too many
            held = EngineError(reason, "again", type(error).__name__)
            return _give_up(jobs, bench, lambda job: after_engine_error(job, held, bench))
        return _give_up(jobs, bench, lambda job: after_disk_error(job, reason, passing, bench))
    except LiifError as error:
        if error.path == bench.ledger.path:
            raise
        reason = f"{error.message}. {error.remedy}".removesuffix(". ")
        final = isinstance(error, UnsupportedError | OutputExistsError)
        failed = EngineError(reason, "refused" if final else "again", type(error).__name__)
        return _give_up(jobs, bench, lambda job: after_engine_error(job, failed, bench))
    except Exception as error:
        log.exception("%s: unexpected", jobs[0].path)
        failed = EngineError(f"unexpected {type(error).__name__}: {error}. Please report this.", "again")
        return _give_up(jobs, bench, lambda job: after_engine_error(job, failed, bench))
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
        elif job.result_sha256 is not None and not job.in_place and _is_beside(job):
            ledger.finish(job, "done", "finished after an interruption")
        elif here == job.source_sha256 or (not job.in_place and here is not None and ledger.results(here)):
            otherwise(job) if otherwise else after_interruption(job, bench)
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
        reason, passing = in_words(error, bench.store)
        for job in left:
            after_disk_error(job, reason, passing, bench)
        return False


def _source_of(jobs: list[Job], bench: Bench) -> Path:
    """The original: in its place or, where only results beside it are missing, in the store.

    Raises:
        Changed: it is in neither, or its place is behind a symbolic link now.
        OSError: it cannot be read.
    """
    job = jobs[0]
    refuse_links(job)
    found = content_of(job.path)
    if found == job.source_sha256:
        if is_open_for_writing(job.path):
            raise Changed("is open for writing", path=job.path)  # to be found out before the work, not after it
        return job.path
    if not any(one.in_place for one in jobs) and found is not None and bench.ledger.results(found):
        kept = bench.store.path_of(job.source_sha256)
        try:
            if hash_of(kept) == job.source_sha256:
                return kept
        except FileNotFoundError:
            bench.store.check()
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
        job.source_sha256,
    )
    bench.tally.took("look", time.monotonic() - started)
    size = target.size_of_result(probe.width, probe.height)
    if not job.in_place and (reason := _too_long(_beside(job, size))):
        log.warning("%s: failed: %s", job.path, reason, extra=AT_THE_END)
        bench.ledger.finish(job, "failed", reason)
        bench.tally.failed("OutputError")
        return None
    try:
        made = bench.engine.restore(order, lambda share: on_progress(job, share))
    except EngineError as error:
        if error.kind != "refused" or job.in_place:
            raise
        log.warning("%s: failed: %s", job.path, error.reason, extra=AT_THE_END)
        bench.ledger.finish(job, "failed", error.reason, counts=True)
        bench.tally.failed(error.cause)
        return None
    waited = time.monotonic() - started  # also for an engine that had to be started, and at a folder that was away
    bench.tally.took("engine", waited)
    result = verify(
        job,
        order.destination,
        of=(probe.width, probe.height),
        size=size,
        frames=probe.frames,
        model=made.model,
        seconds=made.seconds,
    )
    bench.tally.took("verify", time.monotonic() - started - waited)
    return result


def _put_in_place(result: Result, bench: Bench) -> None:
    started, job = time.monotonic(), result.job
    _put(result, bench)
    bench.tally.took("replace", time.monotonic() - started)
    bench.tally.restored(job.width * job.height, result.width * result.height)


def _policy(job: Job, bench: Bench) -> Policy:
    folder = _folder_of(job, bench.settings)
    return Policy(folder.keep_originals, folder.mtime == "keep") if folder else Policy()


def _put(result: Result, bench: Bench) -> None:
    job, policy = result.job, _policy(result.job, bench)
    if job.in_place:
        replace(result, bench.ledger, bench.store, policy)
        log.info("%s: restored to %dx%d by %s in %.1f s", job.path, *_facts(result))
        return
    destination = _beside(job, (result.width, result.height))
    try:
        put_beside(result, destination, bench.ledger, policy)
    except OutputExistsError as error:
        bench.ledger.finish(job, "failed", f"{error.message}. {error.remedy}", counts=True)
        log.warning("%s", error.explain(), extra=AT_THE_END)
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
        size, most = name_size(path)
    except OSError:  # not told
        return None
    if size <= most:
        return None
    remedy = "`liif-daemon undo` it and give it a shorter name to get this size too."
    unit = "bytes" if sys.platform != "win32" else "characters"
    return f"the name of its result, {path.name}, would be too long ({size} {unit} of {most}). {remedy}"


def _facts(result: Result) -> tuple[int, int, str, float]:
    return result.width, result.height, result.model, result.seconds


def _folder_of(job: Job, settings: Settings) -> FolderSettings | None:
    return settings.folder_of(job.path)


def _glance(path: Path) -> Glance | None:
    try:
        return Glance.of(path)
    except FileNotFoundError:
        return None


def _is_beside(job: Job) -> bool:
    """Whether a job's result lies beside its original."""
    return job.destination is not None and content_of(job.destination) == job.result_sha256
