"""One who installs at a time, and a folder beside GIMP's own, so that a kill leaves a whole plug-in."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gimp_plugin.gimps import Place
from liif_engine import locks
from liif_engine.errors import OutputError

#: How folders begin in which a new plug-in is made and an old one goes.
_ASIDE = ".liif-restore-"

#: Beside them while somebody installs or uninstalls; not named like them, or it would be tidied too.
_LOCK = ".liif-restore.lock"

#: How long to wait for another one who installs, which takes a fraction of a second. [s]
WAIT_SECONDS = 10


@contextmanager
def alone(place: Place) -> Iterator[None]:
    """Waits for whoever installs or uninstalls there, who would take our new folder for one that was left.

    Raises:
        OutputError: that one does not end.
        OSError: no file can be made beside GIMP's folder for plug-ins.
    """
    path, deadline = place.plug_ins.parent / _LOCK, time.monotonic() + WAIT_SECONDS
    while True:
        with path.open("ab") as file:
            try:
                locks.take(file)
                is_held = _has_name(file.fileno(), path)
            except BlockingIOError:
                is_held = False
            except OSError:  # a share without locks
                is_held = True
            if is_held:
                try:
                    yield
                finally:
                    # While it is held: who waits with the same file sees that it has no name. Windows keeps it.
                    with suppress(OSError):
                        path.unlink()
                return
        if time.monotonic() > deadline:
            remedy = "Let it end, then run this again."
            raise OutputError("another install or uninstall is at work there", path=place.folder, remedy=remedy)
        time.sleep(0.05)


def _has_name(descriptor: int, path: Path) -> bool:
    """Whether an open file still is the one of that name: the one who had its lock before has removed it."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


@contextmanager
def folder_beside(place: Place) -> Iterator[Path]:
    """A folder beside those that GIMP searches; when the block ends it goes, with those that somebody killed left.

    Raises:
        OSError: it cannot be made.
    """
    folder = Path(tempfile.mkdtemp(prefix=_ASIDE, dir=place.plug_ins.parent))
    try:
        yield folder
    finally:
        tidy(place)


def tidy(place: Place) -> None:
    """Removes what was left; for who holds the lock."""
    for folder in left(place):
        shutil.rmtree(folder, ignore_errors=True)


def left(place: Place) -> list[Path]:
    """Folders of those who were killed; without the lock, also of those who are at work."""
    return list(place.plug_ins.parent.glob(f"{_ASIDE}*"))
