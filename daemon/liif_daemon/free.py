"""Whether a name is free to be taken, and whether a file is free of those who write."""

from __future__ import annotations

import errno
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

from liif_daemon import mounts
from liif_engine.picture.exchange import rename_no_replace


def rename_if_free(one: Path, other: Path) -> None:
    """Gives a file another name, unless something has it.

    Raises:
        FileExistsError: the name is taken.
        OSError: the system refuses.
    """
    if rename_no_replace(one, other):
        return
    try:
        os.link(one, other)
    except FileExistsError:
        raise
    except OSError:
        # Neither call: what remains is a check, with a window of microseconds until the rename.
        if os.path.lexists(other):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), os.fspath(other)) from None
        one.rename(other)
    else:
        one.unlink()


def is_open_for_writing(path: Path) -> bool | None:
    """Whether any process has the file open for writing, or mapped so; None if the system does not tell.

    Linux grants a read lease only on a file that nobody has open for writing. It is asked for and given back at once.
    Only the file's owner (or root) gets one. Network file systems say no to everyone, so they are not asked.

    Raises:
        OSError: the file cannot be opened.
    """
    if not sys.platform.startswith("linux") or mounts.is_network(path):
        return None
    import fcntl  # not on Windows

    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        # Who opens the file in this instant would send us SIGIO, which kills; SIGURG is ignored by default.
        with suppress(OSError):
            fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError as error:
        return True if error.errno == errno.EAGAIN else None
    finally:
        os.close(descriptor)
    return False
