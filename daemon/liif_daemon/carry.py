"""What a file is besides its bytes - mode, owner, times, extended attributes, ACL - carried to its result."""

from __future__ import annotations

import errno
import os
import shlex
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from liif_engine.errors import UnsupportedError

if sys.platform != "win32":
    import grp

#: Set by the system itself, or by nobody but root; their loss is not the user's.
_SYSTEMS_OWN = ("security.", "trusted.", "system.nfs4_acl", "btrfs.")

_NOT_THERE = {errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}

#: What a system says to an attribute that it will not take; all else, as of a full disk, is not the attribute's fault.
_REFUSED = _NOT_THERE | {errno.EPERM, errno.EACCES, errno.EINVAL, errno.E2BIG, errno.ERANGE}


def carry(source: Path, target: Path, *, mtime: bool) -> None:
    """Gives `target` the owner, extended attributes (ACLs are among them), mode and, if asked, times of `source`.

    Raises:
        UnsupportedError: something cannot be given to it, so it would be lost.
        OSError: one of the two cannot be read or written at all, or `target` is a symbolic link.
    """
    found = source.stat()
    with _file(target) as file:
        if sys.platform != "win32":
            now = os.stat(file)  # noqa: PTH116 - a descriptor has no method
            if (found.st_uid, found.st_gid) != (now.st_uid, now.st_gid):
                _own(source, file, found, now)
            _copy_attributes(source, file)
        # After the owner, whose change clears set-user-id bits; an ACL in the attributes has set the group's already.
        _set_mode(source, file, found)
        if mtime:
            os.utime(file, ns=(found.st_atime_ns, found.st_mtime_ns))


def is_carried(source: Path, target: Path) -> bool:
    """Whether `target` has the mode, owner and extended attributes of `source`."""
    a, b = source.stat(), target.stat()
    same = (a.st_mode, a.st_uid, a.st_gid) == (b.st_mode, b.st_uid, b.st_gid)
    if not same:
        return False
    wanted, there = _both_attributes(source, target)
    return wanted == there


@contextmanager
def _file(path: Path) -> Iterator[int | Path]:
    """A file itself: in a folder where others may write, its name may lead elsewhere the next moment."""
    if sys.platform == "win32":
        yield path
        return
    file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        yield file
    finally:
        os.close(file)


def _own(source: Path, target: int | Path, found: os.stat_result, now: os.stat_result) -> None:
    if sys.platform == "win32":  # where files have no such owners
        return
    try:
        os.chown(target, found.st_uid, found.st_gid)
    except PermissionError as error:
        if found.st_uid == now.st_uid:
            # The owner may give it a group of theirs at any time, but no other.
            ours = f"chgrp {_group(now.st_gid)} {shlex.quote(str(source))}"
            raise UnsupportedError(
                f"its group is {_group(found.st_gid)}, to which you do not belong, so the result's could not be",
                path=source,
                remedy=f"Give it a group of yours ({ours}), or join that one, log in and start the daemon anew.",
            ) from error
        raise UnsupportedError(
            f"belongs to another user or group ({found.st_uid}:{found.st_gid}), which the result could not",
            path=source,
            remedy="Let the file's owner run the daemon, or make the file your own with chown.",
        ) from error


def _group(number: int) -> str:
    if sys.platform != "win32":
        with suppress(KeyError):
            return grp.getgrgid(number).gr_name
    return str(number)


def _set_mode(source: Path, target: int | Path, found: os.stat_result) -> None:
    # Some file systems give all files one mode, and refuse to be asked for any; some take what they do not do.
    if os.stat(target).st_mode == found.st_mode:  # noqa: PTH116
        return
    os.chmod(target, stat.S_IMODE(found.st_mode))  # noqa: PTH101
    if sys.platform != "win32" and os.stat(target).st_mode != found.st_mode:  # noqa: PTH116
        raise UnsupportedError(
            f"has the mode {stat.S_IMODE(found.st_mode):o}, which the system does not give to the result",
            path=source,
            remedy="Change its mode with chmod, or let somebody run the daemon who belongs to its group.",
        )


def _copy_attributes(source: Path, target: int | Path) -> None:
    wanted, there = _both_attributes(source, target)
    for name in there.keys() - wanted.keys():
        os.removexattr(target, name)  # type: ignore[attr-defined, unused-ignore]
    for name, value in wanted.items():
        if there.get(name) == value:
            continue
        try:
            os.setxattr(target, name, value)  # type: ignore[attr-defined, unused-ignore]
        except OSError as error:
            if error.errno not in _REFUSED:
                raise
            raise UnsupportedError(
                f"its extended attribute {name} cannot be given to the result ({error.strerror})",
                path=source,
                remedy="Remove the attribute with setfattr -x or setfacl -b, or restore the file to another place.",
            ) from error


def _both_attributes(source: Path, target: int | Path) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """`_attributes` of an original and of its result."""
    try:
        wanted = _attributes(source)
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        try:
            _attributes(target)
        except OSError as same:
            if same.errno == errno.EIO:  # rclone's word for what it does not have; a failing disk has written this one
                return {}, {}
        raise
    return wanted, _attributes(target)


def _attributes(path: int | Path) -> dict[str, bytes]:
    """Extended attributes that are the user's; empty where Python cannot ask for them, as on macOS."""
    if not sys.platform.startswith("linux"):
        return {}
    try:
        names = [name for name in os.listxattr(path) if not name.startswith(_SYSTEMS_OWN)]
    except OSError as error:
        if error.errno in _NOT_THERE:
            return {}
        raise
    found = {}
    for name in names:
        try:
            found[name] = os.getxattr(path, name)
        except OSError as error:
            if error.errno != errno.ENODATA:  # else somebody has removed it just now
                raise
    return found
