"""What runs that were killed have left: jobs that are still claimed, and folders of temporary files, maybe moved."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable
from pathlib import Path

from liif_daemon import presence
from liif_daemon.bench import Bench
from liif_daemon.ledger import Job
from liif_daemon.work import recover_jobs
from liif_daemon.workplace import tidy

log = logging.getLogger(__name__)


def recover(claimed: Iterable[Job], bench: Bench) -> list[Path]:
    """Ends jobs that nobody is at work on; those of a folder that is away stay claimed until it returns.

    Args:
        claimed: the jobs, as the ledger has them now.
        bench: what the work needs.

    Returns:
        The files that are to be looked at again.

    Raises:
        OutputError: the ledger cannot be written.
    """
    groups: dict[tuple[Path, str], list[Job]] = {}
    for job in claimed:
        groups.setdefault((job.path, job.source_sha256), []).append(job)
    again = []
    for jobs in groups.values():
        try:
            if _is_there(jobs[0].folder, bench) and recover_jobs(jobs, bench):
                again.append(jobs[0].path)
        except OSError as error:
            log.warning("%s: cannot be put in order yet (%s)", jobs[0].path, error.strerror)
    return again


def clear(bench: Bench) -> None:
    """Removes temporary files of jobs that were over when their run was killed; those in a folder that is away stay.

    Raises:
        OutputError: the ledger cannot be written.
    """
    is_there: dict[Path, bool] = {}
    cleared = []
    for number, folder, workplace in bench.ledger.workplaces():
        if folder not in is_there:
            is_there[folder] = _is_there(folder, bench)
        try:
            if not is_there[folder]:
                continue
            if workplace.is_dir():
                jobs = [job for job in bench.ledger.left_in(workplace.name) if job.workplace == workplace]
                tidy(jobs, bench.store, bench.ledger)
            # Where it was in a folder that has another name now, it is there still: `clear_moved`.
            if workplace.parent.is_dir():
                cleared.append(number)
        except OSError as error:
            log.warning("%s: cannot be removed yet (%s)", workplace, error.strerror)
    bench.ledger.no_workplace(cleared)


def clear_moved(workplace: Path, bench: Bench) -> None:
    """Removes temporary files in a folder that got another name while a picture in it was at work.

    Args:
        workplace: a folder of temporary files, of whichever run.
        bench: what the work needs.

    Raises:
        OSError: it cannot be read or removed.
    """
    jobs = bench.ledger.left_in(workplace.name)
    if not jobs or any(job.workplace is not None and job.workplace.parent.exists() for job in jobs):
        return  # of another ledger, in use, or copied
    moved = [
        dataclasses.replace(
            job,
            workplace=workplace,
            path=workplace.with_name(job.path.name),
            destination=job.destination and workplace.with_name(job.destination.name),
        )
        for job in jobs
    ]
    tidy(moved, bench.store, bench.ledger)
    bench.ledger.no_workplace(job.id for job in jobs)


def _is_there(folder: Path, bench: Bench) -> bool:
    return presence.look(folder, bench.ledger).identity is not None
