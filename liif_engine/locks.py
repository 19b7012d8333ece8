"""A file's lock for one process at a time, which the system lets go of however that process ends."""

from __future__ import annotations

import sys
from typing import IO, Any


def take(file: IO[Any], *, shared: bool = False) -> None:
    """Takes the lock of an open file, which is held until the file is closed.

    Args:
        file: open in any way; its position may change.
        shared: whether others may take it so too; on Windows nobody may.

    Raises:
        BlockingIOError: another one has it.
        OSError: the file system has no locks.
    """
    if sys.platform == "win32":
        import msvcrt

        # A byte far behind the text, since Windows forbids others to read a locked one.
        file.seek(1 << 20)
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except PermissionError as error:
            raise BlockingIOError(*error.args) from error
    else:
        import fcntl

        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
