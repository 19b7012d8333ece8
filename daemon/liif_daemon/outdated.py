"""What was queued under other settings than the present ones: it is taken back, and looked at again under these."""

from __future__ import annotations

import os
from pathlib import Path

from liif_daemon.ledger import Job, Ledger
from liif_daemon.names import why_not
from liif_daemon.settings import Settings, target_name


def withdraw(settings: Settings, ledger: Ledger) -> None:
    """Takes back what is queued and is not asked for any more, or not like this; a scan is to look at it again.

    Args:
        settings: the present ones.
        ledger: open.

    Raises:
        OutputError: the ledger cannot be written.
    """
    old = [job for job in ledger.each("queued") if _is_outdated(job, settings, ledger)]
    ledger.withdraw(old, "queued under other settings, and looked at again under these")
    for job in old:
        if (name := _present_name(job.path, settings)) is not None:
            ledger.looks.forget(name)


def _is_outdated(job: Job, settings: Settings, ledger: Ledger) -> bool:
    folder = settings.folder_of(job.path)
    if folder is None:  # nothing of ours, unless its folder is, by whichever name, or was with its subfolders
        ours = any(job.folder == one.path for one in settings.folders)
        return ours or _present_name(job.path, settings) is not None
    asked = {(target_name(target), number == 0) for number, target in enumerate(folder.targets)}
    same = job.folder == folder.path and (job.target, job.in_place) in asked
    if not same or why_not(job.path, folder) is not None:
        return True
    if len(asked) == 1:
        return False
    known = ledger.jobs(path=job.path, sha256=job.source_sha256)
    return not asked <= {(one.target, one.in_place) for one in known}


def _present_name(path: Path, settings: Settings) -> Path | None:
    """The name under which a file is watched now, if its folder is, and has another name than it had."""
    real = Path(os.path.realpath(path.parent), path.name)
    for folder in settings.folders:
        top = os.path.realpath(folder.path)
        if real.is_relative_to(top) and (name := folder.path / real.relative_to(top)) != path:
            return name
    return None
