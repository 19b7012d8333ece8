"""What runs that were killed have left: jobs that are still claimed, and folders of temporary files, maybe moved."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Collection
from pathlib import Path

from liif_daemon import presence
from liif_daemon.bench import Bench
from liif_daemon.ledger import Job
from liif_daemon.posts import Touching
from liif_daemon.work import recover_jobs
from liif_daemon.workplace import flush_removed, tidy
from liif_engine.picture.atomic import flush_folder

log = logging.getLogger(__name__)

#: A workplace of a job that is over has been left behind if nothing was made in it for so long. [s]
LEFT_SECONDS = 3600


def recover(jobs: list[Job], bench: Bench) -> bool:
    """Ends claimed jobs that nobody is at work on; those of a folder that is away stay claimed until it returns.

    Args:
        jobs: of one picture, as the ledger has them now.
        bench: what the work needs.

    Returns:
        Whether the file is to be looked at again.

    Raises:
        OutputError: the ledger cannot be written.
    """
    try:
        return _is_there(jobs[0].folder, bench) and recover_jobs(jobs, bench)
    except OSError as error:
        log.warning("%s: cannot be put in order yet (%s)", jobs[0].path, error.strerror)
        return False


def clear(bench: Bench, touching: Touching, silent: Collection[Path]) -> None:
    """Removes temporary files of jobs that were over when their run was killed; those in a folder that is away stay.

    Args:
        bench: what the work needs.
        touching: around what a folder may hold up.
        silent: folders that do not answer; what is in them stays too.

    Raises:
        OutputError: the ledger cannot be written.
    """
    is_there: dict[Path, bool] = dict.fromkeys(silent, False)
    cleared: list[int] = []
    gone: dict[Path, Path] = {}  # where workplaces were, and the watched folder
    for number, folder, workplace in bench.ledger.workplaces():
        try:
            with touching(folder, workplace):
                if folder not in is_there:
                    is_there[folder] = _is_there(folder, bench)
                if not is_there[folder]:
                    continue
                if workplace.is_dir():
                    jobs = [job for job in bench.ledger.left_in(workplace.name) if job.workplace == workplace]
                    tidy(jobs, bench.store, bench.ledger)
                # Where it was in a folder that has another name now, it is there still: `clear_found`.
                if workplace.parent.is_dir():
                    cleared.append(number)
                    gone[workplace.parent] = folder
        except OSError as error:
            log.warning("%s: cannot be removed yet (%s)", workplace, error.strerror)
    for around, folder in gone.items():
        with touching(folder, around):
            flush_folder(around)  # as `flush_removed`
    bench.ledger.no_workplace(cleared)


def clear_found(workplace: Path, bench: Bench) -> None:
    """Removes a folder of temporary files that is nobody's any more, where it lies now.

    As when the folder around it got another name while a picture there was at work, or its share was away for a while.

    Args:
        workplace: the folder, of whichever run; one that is in use, copied, or of another ledger is left alone.
        bench: what the work needs.

    Raises:
        OSError: it cannot be read or removed.
    """
    jobs = bench.ledger.left_in(workplace.name)
    if not jobs or not all(_is_left(job, workplace) for job in jobs):
        return
    here = [
        dataclasses.replace(
            job,
            workplace=workplace,
            path=workplace.with_name(job.path.name),
            destination=job.destination and workplace.with_name(job.destination.name),
        )
        for job in jobs
    ]
    tidy(here, bench.store, bench.ledger)
    flush_removed([workplace])
    bench.ledger.no_workplace(job.id for job in jobs)


def _is_left(job: Job, found: Path) -> bool:
    """Whether a job's workplace, found there, was left behind: `undo` has one for a moment, and folders are copied."""
    assert job.workplace is not None  # it was found by that
    if job.workplace == found:
        # One from so far in the future is of before the clock was set back, and would lie there until that time.
        return abs(time.time() - found.stat().st_mtime) > LEFT_SECONDS
    return not job.workplace.parent.exists()


def _is_there(folder: Path, bench: Bench) -> bool:
    return presence.look(folder, bench.ledger).identity is not None
