"""Results of ours that the ledger does not know, since it was lost.

Their metadata names the originals in the store, or a note there does.
"""

from __future__ import annotations

import math
import os
import re
import stat
from collections.abc import Container, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from liif_daemon import notes
from liif_daemon.asking import Question
from liif_daemon.ledger import Job, Ledger
from liif_daemon.store import Store, hash_of
from liif_daemon.workplace import is_workplace
from liif_engine.errors import LiifError
from liif_engine.picture import image_file
from liif_engine.picture.image_file import Marker
from liif_engine.picture.results import is_marked

#: What to do where a file is at work, or was when the daemon was killed.
AT_WORK = "Try again in a moment or, where no daemon runs, after its next run."

#: How long `count` waits for a store that may lie on a share. [s]
_PATIENCE = 2.0

_BESIDE = re.compile(r"(.+)@(?:\d+(?:\.\d+)?x|\d+x\d+)", re.DOTALL)


@dataclass(frozen=True)
class Unknown:
    """A result that the ledger does not know, and whose original seems to be in the store.

    Attributes:
        path: of the result.
        marker: in its metadata, or in a note.
    """

    path: Path
    marker: Marker


def count(ledger: Ledger, store: Store) -> int | None:
    """How many originals lie in the store that the ledger knows nothing of; None if the store does not answer."""
    found: list[int] = []

    def ask() -> None:
        with suppress(OSError):
            found.append(sum(1 for _ in store))

    question = Question(ask)
    question.put()
    question.wait(_PATIENCE)
    return max(0, found[0] - ledger.originals.total()[0]) if found else None


def unknown(path: Path, ledger: Ledger, store: Store, known: Container[Path] = ()) -> list[Unknown]:
    """What `adopt` can make known again, of a file or of all below a folder.

    Left out is what was never an original's place: results in a folder that `liif restore` wrote into, those beside
    the file that they were made of, and those of another format than their original's.

    Args:
        path: the file or folder.
        ledger: open.
        store: of the originals.
        known: files that the ledger knows by their path, whatever they hold now; they are not read.
    """
    marked = cache(lambda folder: any(map(is_marked, (folder, *folder.parents))))
    noted = notes.sizes(store.folder)
    found = []
    for file in _files(path):
        if file in known:
            continue
        marker = _marker(file, store, noted)
        if marker is None or marked(file.parent) or not store.path_of(marker.source_sha256).is_file():
            continue
        with suppress(OSError):
            if ledger.results(hash_of(file)) or _lies_beside(file, marker, store, noted):
                continue
            if _is_of_the_format_of(store.path_of(marker.source_sha256), file):
                found.append(Unknown(file, marker))
    return found


def adopt(found: Unknown, folder: Path, ledger: Ledger, store: Store) -> Job:
    """Writes a result into the ledger as if that had not been lost, so that it can be undone as any other.

    The file goes into the store first: whether it was changed since it was restored, only the lost ledger knew.

    Args:
        found: the result.
        folder: the watched folder that it lies in.
        ledger: open.
        store: of the originals.

    Raises:
        LiifError: it is no picture any more, is at work, or is being changed.
        OSError: the system refuses.
    """
    path, marker = found.path, found.marker
    if ledger.jobs(path=path, state="claimed"):
        raise LiifError("is being restored right now", path=path, remedy=AT_WORK)
    probe, sha256, said = image_file.probe(path), hash_of(path), path.stat()
    ledger.originals.promise(sha256, store.keep(path, sha256), store.folder, math.inf)
    row = {
        "folder": folder,
        "path": path,
        "source_sha256": marker.source_sha256,
        "target": f"{marker.scale_x:g}x",
        "in_place": True,
        "size": store.path_of(marker.source_sha256).stat().st_size,
        "mtime_ns": said.st_mtime_ns,  # a result has its original's, unless `mtime: now` was set
        "model": marker.model,
        "width": round(probe.width / marker.scale_x),
        "height": round(probe.height / marker.scale_y),
    }
    with ledger.together():
        ledger.note(row, "done", "known again by its metadata")
        (job,) = (one for one in ledger.jobs(path=path, sha256=marker.source_sha256) if one.target == row["target"])
        ledger.promise(
            job,
            result_sha256=sha256,
            result_size=said.st_size,
            destination=path,
            model=marker.model,
            out=(probe.width, probe.height),
            kept=True,
        )
        (job,) = (one for one in ledger.jobs(path=path, sha256=marker.source_sha256) if one.id == job.id)
    return job


def _files(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield path
    for place, folders, names in os.walk(path):
        folders[:] = sorted(name for name in folders if not is_workplace(Path(name)))
        yield from (Path(place, name) for name in sorted(names))


def _marker(path: Path, store: Store, noted: Container[int]) -> Marker | None:
    """The marker of a regular file that names an original as ours do; `noted` are sizes of those that have a note."""
    with suppress(LiifError, OSError):
        said = path.lstat()
        marker = image_file.read_marker(path) if stat.S_ISREG(said.st_mode) else None
        if marker is None and stat.S_ISREG(said.st_mode) and said.st_size in noted:
            marker = notes.read(store.folder, hash_of(path))
        if marker is not None and re.fullmatch("[0-9a-f]{64}", marker.source_sha256):
            # Anybody writes a marker; ours have such scales alone.
            is_ours = all(1 <= scale < math.inf for scale in (marker.scale_x, marker.scale_y))
            return marker if is_ours else None
    return None


def _is_of_the_format_of(original: Path, result: Path) -> bool:
    with suppress(LiifError):
        return image_file.probe(original).format == image_file.probe(result).format
    return True  # one that cannot be told is for `adopt` to refuse in words


def _lies_beside(path: Path, marker: Marker, store: Store, noted: Container[int]) -> bool:
    """Whether a result lies beside what it was made of, or beside another result of the same original."""
    match = _BESIDE.fullmatch(path.stem)
    if match is None:
        return False
    base = path.with_name(f"{match[1]}{path.suffix}")
    if not base.is_file():
        return False
    other = _marker(base, store, noted)
    return (other.source_sha256 if other else hash_of(base)) == marker.source_sha256
