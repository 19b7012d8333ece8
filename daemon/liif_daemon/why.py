"""Why a file was restored, or was not: the names' rules, the ledger's rows, and what a fresh look would decide."""

from __future__ import annotations

import os
from collections import Counter
from datetime import datetime
from pathlib import Path

from liif_daemon import places
from liif_daemon.examine import examine
from liif_daemon.ledger import Job, Ledger
from liif_daemon.names import why_not, why_not_there
from liif_daemon.settings import FolderSettings, Settings, target_name
from liif_daemon.store import Store

#: The states of jobs, in words.
_WORDS = {
    "queued": "waiting",
    "claimed": "being restored",
    "done": "restored",
    "failed": "failed",
    "skipped": "left as it was",
    "undone": "undone",
}


def why(path: Path, settings: Settings, ledger: Ledger, store: Store) -> list[str]:
    """Sentences about a file, the most telling first; or about a folder.

    Args:
        path: absolute; the file need not be there.
        settings: whose folders and rules count.
        ledger: open.
        store: of the originals.
    """
    try:
        now, is_there = _of_now(path, settings, ledger), path.exists()
    except OSError as error:  # which the ledger knows nothing of: a row needs the content
        now, is_there = f"It cannot be read ({error.strerror}).", True
    running = places.is_running(settings)
    lines = [now, *(_of_job(job, store, running) for job in ledger.jobs(path=path))]
    if not is_there:
        lines.append("There is no such file now.")
    return [line for line in lines if line]


def _of_now(path: Path, settings: Settings, ledger: Ledger) -> str:
    if path.is_symlink():
        return "It is a symbolic link, and those are not followed."
    if path.is_dir():
        return _of_folder(path, settings, ledger)
    if not path.is_file():
        return ""
    folder = settings.folder_of(path)
    if folder is None:
        return _of_other_folders(path, settings, ledger)
    if reason := why_not(path, folder) or why_not_there(path, folder.path):
        return f"It is not looked at: {reason}."
    verdict = examine(path, folder, settings, ledger)
    if verdict.kind == "job":
        sizes = " and ".join(target_name(target) for target in folder.targets)
        return f"It is to be restored ({sizes}), but the daemon has not got to it yet."
    words = {"failed": "It cannot be restored", "skipped": "It is left as it is", "ours": "It is left as it is"}
    return f"{words.get(verdict.kind, 'It is known')}: {verdict.reason.removesuffix('.')}."


def _of_folder(path: Path, settings: Settings, ledger: Ledger) -> str:
    """Whether a folder is watched, and how it went there: of each file it can be asked why."""
    folder = next((one for one in settings.folders if one.path == path), None) or settings.folder_of(path / "any")
    if folder is not None and (reason := why_not_there(path, folder.path)):
        said = f"It is not watched, since {reason}"
    elif folder is not None:
        where = "" if folder.path == path else f", as a part of {folder.path}"
        said = f"It is watched{where}"
    elif above := _flat_above(path, settings):
        said = f"It is not watched, since it is a subfolder of {above}, where recursive is false"
    elif any(map(ledger.folders.is_agreed, (path, *path.parents))):
        said = "The settings do not name it, but it is, or was, watched"
    else:
        return "It is a folder that nobody watches."
    try:
        os.scandir(path).close()
    except OSError as error:
        said += f", but cannot be read ({error.strerror})"
    words = _WORDS if places.is_running(settings) else _WORDS | {"claimed": "interrupted"}
    counts = Counter(words.get(job.state, job.state) for job in ledger.below(path))
    done = ", ".join(f"{count} {state}" for state, count in counts.items())
    return f"{said}: {done or 'nothing was done there yet'}."


def _flat_above(path: Path, settings: Settings) -> Path | None:
    """The folder of the settings above a path that is watched without its subfolders."""
    return next((one.path for one in settings.folders if one.path in path.parents and not one.recursive), None)


def _of_other_folders(path: Path, settings: Settings, ledger: Ledger) -> str:
    """Of a file in a folder that the settings do not name; `liif-daemon run FOLDER` may have watched it."""
    if above := _flat_above(path, settings):
        return f"It is not looked at: it lies in a subfolder of {above}, where recursive is false."
    known = ledger.jobs(path=path)
    watched = known[-1].folder if known else next((one for one in path.parents if ledger.folders.is_agreed(one)), None)
    if watched is None:
        return "It lies in none of the watched folders."
    was = f"It lies in none of the folders of the settings, but in {watched}, which is, or was, watched"
    if known:
        return f"{was}."
    folder = FolderSettings(path=watched)
    reason = why_not(path, folder)
    if reason is None and (found := examine(path, folder, settings, ledger)).kind == "ours":
        return f"{was}. It is left as it is: {found.reason}."
    reason = reason or why_not_there(path, watched) or "it was not there, or other options left it out"
    return f"{was}; there it was not looked at: {reason}."


def _kept(job: Job, store: Store) -> str:
    if store.holds(job.source_sha256):
        return "is kept"
    try:
        store.check()
    except OSError as error:
        return f"is out of reach ({store.folder}: {error.strerror})"
    return "is no longer kept"


def _of_job(job: Job, store: Store, running: bool) -> str:
    when = datetime.fromtimestamp(job.changed).astimezone().strftime("%Y-%m-%d %H:%M")
    size = f"{job.width}x{job.height}"
    because = f": {job.reason.removesuffix('.')}" if job.reason and job.reason != job.state else ""
    if job.state == "done":
        kept = ""
        if job.in_place:
            kept = f"; its original {_kept(job, store)}"
        result = f"{size} to {job.out_width}x{job.out_height} by {job.model}"
        where = "" if job.in_place else f" as {job.destination}"
        return f"{when}: restored from {result}{where} in {job.seconds:.1f} s{kept}{because}."
    if job.state == "queued":
        return f"{when}: waits for its turn ({job.target}, {job.attempts + job.deaths} failed tries){because}."
    state = _WORDS[job.state]
    if job.state == "claimed":
        state = f"is {state}" if running else f"was {state} when the daemon ended; its next run takes it up again"
    return f"{when}: {state} (at {job.target}){because}."
