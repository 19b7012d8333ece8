"""Whether a watched folder is there, and which one: a share that is not mounted leaves an empty folder behind."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from liif_daemon import mounts
from liif_daemon.ledger import Ledger
from liif_engine.errors import LiifError

#: In the top of a folder that something is mounted on: tells the share from the empty folder beneath it.
MARKER = ".liif-folder"


@dataclass(frozen=True)
class Presence:
    """What was found at a folder's path.

    Attributes:
        identity: device and inode of the folder that is meant, 0 where that is no matter; None if it is not there.
        why: it is not there.
        marker: the name of its share, as the ledger has it.
        is_marked: whether it has a marker.
    """

    identity: tuple[int, int] | None
    why: str = ""
    marker: str | None = None
    is_marked: bool = False


def look(path: Path, ledger: Ledger) -> Presence:
    """Looks at a folder now.

    Args:
        path: of the folder.
        ledger: knows whether it is a share.
    """
    try:
        found = path.stat()
        os.scandir(path).close()
        again = path.stat()
        is_marked = (path / MARKER).is_file()
        known = ledger.folders.marker(path)
    except OSError as error:
        return Presence(None, f"the folder is not there ({error.strerror}); it is watched again when it returns")
    except LiifError as error:
        return Presence(None, f"it is not known which folder this is: {error.message}")
    if known is not None and not is_marked and not mounts.is_mount(path):
        words = f"its share seems to be unmounted: {MARKER} is missing; it is watched again when it returns"
        return Presence(None, f"{words}. If no share belongs there any more, make an empty file {path / MARKER}")
    # Some of FUSE make inodes up anew with each answer, which would seem another folder each time, to be scanned.
    inode = found.st_ino if again.st_ino == found.st_ino else 0
    return Presence((found.st_dev, inode), "", known, is_marked)
