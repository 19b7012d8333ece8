"""Two files change places in one step of the file system, where it can; and whether a file is open for writing."""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

from liif_daemon import mounts

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_AT_CWD, _RENAME_NOREPLACE, _RENAME_EXCHANGE = -100, 1, 2  # of <linux/fs.h>
_CANNOT = {errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP}


def exchange(one: Path, other: Path) -> bool:
    """Swaps the names of two files: at every instant each name holds one of the two, complete.

    Returns:
        False if the system or the file system cannot; then nothing was done.

    Raises:
        OSError: it can, but not these: one is missing, or there is no permission.
    """
    return _rename(one, other, _RENAME_EXCHANGE)


def rename_if_free(one: Path, other: Path) -> None:
    """Gives a file another name, unless something has it.

    Raises:
        FileExistsError: the name is taken.
        OSError: the system refuses.
    """
    if _rename(one, other, _RENAME_NOREPLACE):
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
    if fcntl is None or not hasattr(fcntl, "F_SETLEASE") or mounts.is_network(path):
        return None
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


def _rename(one: Path, other: Path, flags: int) -> bool:
    """renameat2; False if the system or the file system cannot."""
    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None) if sys.platform.startswith("linux") else None
    if call is None:
        return False
    if call(_AT_CWD, os.fsencode(one), _AT_CWD, os.fsencode(other), ctypes.c_uint(flags)) == 0:
        return True
    number = ctypes.get_errno()
    if number in _CANNOT:
        return False
    raise OSError(number, os.strerror(number), os.fspath(one), None, os.fspath(other))
