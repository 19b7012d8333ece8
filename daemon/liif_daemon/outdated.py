"""What was queued under other settings than the present ones: it is taken back, and looked at again under these."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

from liif_daemon.ledger import Job, Ledger
from liif_daemon.names import why_not
from liif_daemon.posts import Touching
from liif_daemon.settings import Settings, target_name


def withdraw(settings: Settings, ledger: Ledger, touching: Touching, silent: Collection[Path] = ()) -> None:
    """Takes back what is queued and is not asked for any more, or not like this; a scan is to look at it again.

    Args:
        settings: the present ones.
        ledger: open.
        touching: around what a folder may hold up.
        silent: folders that do not answer; what was queued in them under other names stays queued.

    Raises:
        OutputError: the ledger cannot be written.
    """
    old = [job for job in ledger.each("queued") if _is_outdated(job, settings, ledger, touching, silent)]
    ledger.withdraw(old, "queued under other settings, and looked at again under these")
    for job in old:
        with touching(job.folder, job.path):
            if job.folder not in silent and (name := _present_name(job.path, settings, silent)) is not None:
                ledger.looks.forget(name)


def _is_outdated(job: Job, settings: Settings, ledger: Ledger, touching: Touching, silent: Collection[Path]) -> bool:
    folder = settings.folder_of(job.path)
    if folder is None:  # nothing of ours, unless its folder is, by whichever name, or was with its subfolders
        if any(job.folder == one.path for one in settings.folders):
            return True
        with touching(job.folder, job.path):
            return job.folder not in silent and _present_name(job.path, settings, silent) is not None
    asked = {(target_name(target), number == 0) for number, target in enumerate(folder.targets)}
    same = job.folder == folder.path and (job.target, job.in_place) in asked
    if not same or why_not(job.path, folder) is not None:
        return True
    if len(asked) == 1:
        return False
    known = ledger.jobs(path=job.path, sha256=job.source_sha256)
    return not asked <= {(one.target, one.in_place) for one in known}


def _present_name(path: Path, settings: Settings, silent: Collection[Path]) -> Path | None:
    """The name under which a file is watched now, if its folder is, and has another name than it had."""
    real = Path(os.path.realpath(path.parent), path.name)
    for folder in settings.folders:
        if folder.path in silent:
            continue
        top = os.path.realpath(folder.path)
        if real.is_relative_to(top) and (name := folder.path / real.relative_to(top)) != path:
            return name
    return None
