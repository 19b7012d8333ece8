"""Results that somebody gave other names: where an original returns under the old one, its result goes.

Only the very file that was put in the original's place goes, and only with the very bytes that it had there: its inode
tells it from copies, which stay, as does what was changed. In a snapshot of btrfs copies have that too, but another
device, to which nothing is renamed.
"""

from __future__ import annotations

import dataclasses
import errno
import os
import stat
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from liif_daemon import mounts
from liif_daemon.free import is_open_for_writing, rename_if_free
from liif_daemon.ledger import Job, Ledger
from liif_daemon.store import Store, hash_of
from liif_daemon.undo import undo
from liif_daemon.undoable import content_or_none
from liif_daemon.workplace import is_workplace, make_workplace, remove_workplace, result_in, tidy, workplace_for
from liif_engine.errors import OutputError, printable
from liif_engine.picture.atomic import flush_folder


@dataclass
class Elsewhere:
    """What lies in the watched folder of a result that is not in its place.

    Attributes:
        result: the file itself, under another name.
        changed: a file that has its inode, but other bytes; it may be another one, which was given the inode since.
        copies: files with its bytes that are not it, or of which nothing tells that they are.
        unread: where else it may lie, in words that say why that could not be looked at.
    """

    result: Path | None = None
    changed: Path | None = None
    copies: list[Path] = dataclasses.field(default_factory=list)
    unread: str = ""


def elsewhere(jobs: Iterable[Job], ledger: Ledger) -> dict[int, Elsewhere]:
    """Where results lie that are not in their places, by the ids of their jobs; each folder is walked once at most.

    Args:
        jobs: as `undoable` gives them.
        ledger: open.
    """
    gone = defaultdict[Path, list[Job]](list)
    for job in jobs:
        if job.destination == job.path and not os.path.lexists(job.path):
            gone[job.folder].append(job)
    found = {job.id: Elsewhere() for some in gone.values() for job in some}
    for folder, some in gone.items():
        unread: list[OSError] = []
        for job, path, is_it in _candidates(folder, some, ledger, unread.append):
            try:
                _sort(path, found[job.id], job, ledger, is_it=is_it)
            except OSError as error:
                unread.append(OSError(error.errno, error.strerror, path))  # a read names none
        there = [error for error in unread if error.errno != errno.ENOENT]  # and none that has gone meanwhile
        for job in some if there else ():
            found[job.id].unread = f"{printable(there[0].filename)} cannot be read ({there[0].strerror})"
    results = {one.result for one in found.values()}
    for one in found.values():  # where originals were the same, each result has the other's bytes
        one.copies = [path for path in one.copies if path not in results]
    return found


def bring_back(job: Job, found: Elsewhere | None, ledger: Ledger, store: Store, *, force: bool = False) -> str:
    """Undoes a job, and takes its result away where that lies under another name.

    Args:
        job, ledger, store, force: as `undo` takes them.
        found: of this job, if its result is not in its place.

    Returns:
        What became of the result, in words to go on with; empty if it was in its place, or nowhere.

    Raises:
        LiifError, OSError: as `undo`; or the original is back, but something could not be taken away.
    """
    try:
        undo(job, ledger, store, force=force, like=found.result if found else None)
    except OSError as error:
        if content_or_none(job.path) != job.source_sha256:
            raise
        words = f"the original is back, but what came after that failed ({error.strerror or error})"
        remedy = "The next `liif-daemon run` clears away what is left."
        raise OutputError(words, path=job.path, remedy=remedy) from error
    if found is None or found.result is None:
        return told(found)
    try:
        is_gone = _take_away(job, found.result, ledger, store)
    except OSError as error:
        words = f"the original is back at {job.path}, but its result here could not be taken away ({error.strerror})"
        raise OutputError(words, path=found.result, remedy="Delete it, if nobody needs it.") from error
    return told(found if is_gone else Elsewhere(changed=found.result, copies=found.copies))


def told(found: Elsewhere | None, *, dry_run: bool = False) -> str:
    """What became, or with `dry_run` would become, of a result, in words to go on with."""
    words = ""
    if found and found.result:
        place = printable(found.result)
        words += f"; its result, {place}, would go" if dry_run else f"; its result, {place}, was taken away"
    if found and found.changed:
        words += f"; {printable(found.changed)}, which may be its result, was changed and stays"
    if found and found.copies:
        more = f" and {len(found.copies) - 1} more" if len(found.copies) > 1 else ""
        words += f"; what has its result's bytes stays: {printable(found.copies[0])}{more}"
    if found and found.unread and not (found.result or found.changed):
        words += f"; {found.unread}, so that its result stays if it lies there"
    return words


def _candidates(
    folder: Path, jobs: list[Job], ledger: Ledger, on_error: Callable[[OSError], object]
) -> Iterator[tuple[Job, Path, bool]]:
    """Files below a folder that may be results of jobs, and whether by their inodes; no file is read for that."""
    sizes, inodes = defaultdict[int | None, list[Job]](list), dict[tuple[int, int], Job]()
    for job in jobs:
        sizes[job.result_size].append(job)
        glance, content = ledger.looks.last(job.path)
        if glance is not None and content == job.result_sha256:
            try:
                inodes[mounts.nearest(job.path.parent).stat().st_dev, glance.inode] = job
            except OSError as error:
                on_error(error)
    for place, folders, names in os.walk(folder, onerror=on_error):
        folders[:] = sorted(name for name in folders if not is_workplace(Path(name)))
        try:
            # Of the folder: a file's own is another one in some layers of overlayfs.
            device = os.stat(place).st_dev  # noqa: PTH116 - as walk names it
        except OSError as error:
            on_error(error)
            continue
        for path in (Path(place, name) for name in sorted(names)):
            try:
                said = path.lstat()
            except OSError as error:
                on_error(error)
                continue
            if not stat.S_ISREG(said.st_mode):
                continue
            owner = inodes.get((device, said.st_ino))
            if owner is not None:
                yield owner, path, True
            for job in sizes.get(said.st_size, ()):
                if job is not owner:
                    yield job, path, False


def _sort(path: Path, found: Elsewhere, job: Job, ledger: Ledger, *, is_it: bool) -> None:
    """Writes down what a file is to a job."""
    content = hash_of(path)
    if content != job.result_sha256:
        # What the ledger knows there, or as another result, was given the inode since.
        if is_it and not ledger.results(content) and not ledger.jobs(path=path, sha256=content):
            found.changed = path
    elif ledger.maker(path, content) is not None:
        return  # in its own place: the originals were the same
    elif is_it and found.result is None:
        found.result = path
    else:
        found.copies.append(path)


def _take_away(job: Job, path: Path, ledger: Ledger, store: Store) -> bool:
    """Removes a result that lies elsewhere; False, and it stays, if it is not what was written any more.

    It is looked at when nobody finds it under its name any more, so that no change comes between the look and the end.
    A kill leaves a workplace, whose result the next start removes.

    Raises:
        OSError: the system refuses; it stays.
    """
    workplace = workplace_for(path)
    flush_folder(job.path.parent)  # where the ledger knows that of `undo`, which is gone
    ledger.set_workplace(job, workplace)
    make_workplace(workplace)
    held = result_in(workplace, job)
    try:
        if is_open_for_writing(path):
            return False
        path.rename(held)
        if hash_of(held) == job.result_sha256 and not is_open_for_writing(held):
            return True
        rename_if_free(held, path)
        return False
    except FileNotFoundError:  # somebody was faster
        return not os.path.lexists(path)
    finally:
        tidy([dataclasses.replace(job, workplace=workplace)], store, ledger)
        if workplace.is_dir():
            remove_workplace(workplace)
        flush_folder(path.parent)
