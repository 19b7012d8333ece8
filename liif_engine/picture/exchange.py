"""Renames that `os` does not have, each one step of the file system: two files change places; a taken name stays."""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from pathlib import Path

_AT_CWD, _RENAME_NOREPLACE, _RENAME_EXCHANGE = -100, 1, 2  # of <linux/fs.h>

#: A sandbox may say EPERM to a call that it does not know; where a rename is not permitted, the next try says so too.
#: ext4 and f2fs say EXDEV to an exchange where one of the two belongs to another project of quotas than the folder.
_CANNOT = {errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EPERM, errno.EXDEV}


def exchange(one: Path, other: Path) -> bool:
    """Swaps the names of two files or folders: at every instant each name holds one of the two, complete.

    Returns:
        False if the system or the file system cannot; then nothing was done.

    Raises:
        OSError: it can, but not these: one is missing, or there is no permission.
    """
    return _rename(one, other, _RENAME_EXCHANGE)


def rename_no_replace(one: Path, other: Path) -> bool:
    """Gives a file another name, unless something has it.

    Returns:
        False if the system or the file system cannot tell in the same step; then nothing was done.

    Raises:
        FileExistsError: the name is taken.
        OSError: the system refuses.
    """
    return _rename(one, other, _RENAME_NOREPLACE)


def _rename(one: Path, other: Path, flags: int) -> bool:
    """Linux's renameat2; False if the system or the file system cannot."""
    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None) if sys.platform.startswith("linux") else None
    if call is None:
        return False
    if call(_AT_CWD, os.fsencode(one), _AT_CWD, os.fsencode(other), ctypes.c_uint(flags)) == 0:
        return True
    number = ctypes.get_errno()
    if number in _CANNOT:
        return False
    raise OSError(number, os.strerror(number), os.fspath(one), None, os.fspath(other))
