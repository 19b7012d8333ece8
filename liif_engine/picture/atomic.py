"""Readers see the old file or the new one, never half a file: same-folder temporary, fsync, one rename."""

from __future__ import annotations

import contextlib
import errno
import filecmp
import os
import secrets
import stat
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from liif_engine.errors import LiifError, OutputError, OutputExistsError
from liif_engine.picture.exchange import rename_no_replace

#: Temporary files are named so that a watcher can skip them and a person can recognise and delete them.
TEMPORARY_PREFIX = ".liif-"
TEMPORARY_SUFFIX = ".tmp"

#: A temporary that was not written to for so long is nobody's any more: a file is encoded in minutes. [s]
LEFT_SECONDS = 3600

#: What the system's error numbers mean to a person.
_REASONS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EACCES: "no permission to write there",
    errno.EPERM: "the system does not permit writing there",
    errno.EROFS: "the disk is read-only",
    errno.ENOENT: "its folder does not exist",
    errno.ENOTDIR: "a part of its path is not a folder",
    errno.EISDIR: "it is a folder",
    errno.ENAMETOOLONG: "its name is too long for the file system",
    errno.EFBIG: "the file would be larger than the file system allows",
    errno.EIO: "the disk reports an input/output error",
    errno.ELOOP: "its path holds a circle of symbolic links",
}


@contextlib.contextmanager
def write_atomically(path: str | Path, *, overwrite: bool, resume: bool = False, mode: int = 0o666) -> Iterator[Path]:
    """Gives a temporary file to fill and check; it takes the name `path` when the block ends without an error.

    The temporary lies in the same folder, is flushed to the disk before it gets its name, and is removed if anything
    fails, also by Ctrl+C. The folder is flushed afterwards, so that the new name survives a power loss too. Not
    promised: that a kill -9 removes the temporary (it leaves ``.liif-*.tmp``, never a half-written `path`), which
    `remove_left` does later.

    A new file's mode is `mode` as the umask allows; a replaced file's mode is kept. A symbolic link at `path` is not
    written through: without `overwrite` it counts as taken, with it the link itself is replaced and its target stays as
    it is.

    Args:
        path: the file's final name.
        overwrite: whether an existing file may be replaced. Without it no file is ever lost, even if one appears
            under that name while the block runs.
        resume: whether a file that exists may be this very one, of a run that was killed: with the same bytes it
            stays and counts as written, with others it is somebody's and counts as taken.
        mode: who may read and write a new file, its temporary too, at the most.

    Yields:
        The temporary's path, an empty file.

    Raises:
        OutputExistsError: `path` is taken, `overwrite` is False, and `resume` is too or the bytes are others.
        OutputError: the system refuses; the message says why in words.
    """
    path = Path(path)
    kept_mode = check_name(path, overwrite=overwrite, resume=resume)
    temporary = _create(path, mode)
    try:
        with _in_words(path):
            yield temporary
            if kept_mode is not None:
                temporary.chmod(kept_mode)
            flush(temporary)
            if overwrite:
                temporary.replace(path)
            else:
                _take_name(temporary, path, resume=resume)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    flush_folder(path.parent)


def remove_left(folder: Path) -> int:
    """Removes temporaries of processes that were killed, and says how many; those of the last hour may be in use."""
    removed = 0
    with contextlib.suppress(OSError):
        for entry in os.scandir(folder):
            if not (entry.name.startswith(TEMPORARY_PREFIX) and entry.name.endswith(TEMPORARY_SUFFIX)):
                continue
            with contextlib.suppress(OSError):
                found = entry.stat(follow_symlinks=False)
                if stat.S_ISREG(found.st_mode) and abs(time.time() - found.st_mtime) > LEFT_SECONDS:
                    Path(entry.path).unlink()
                    removed += 1
    return removed


#: What a disk says that lost what it was given, or has no room for it.
_LOST = {errno.EIO, errno.ENOSPC, errno.EDQUOT}


def flush_folder(folder: Path, *, strict: bool = False) -> None:
    """Makes names in a folder durable, where the system can; a file system that cannot is not an error.

    Args:
        folder: any.
        strict: whether a disk that fails is one.

    Raises:
        OSError: the disk failed or is full, if `strict`.
    """
    if os.name != "posix":
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if strict and error.errno in _LOST:
            raise


def flush(path: Path) -> None:
    """Makes a file's bytes durable.

    Raises:
        OSError: the disk refuses.
    """
    try:
        _flush(path, os.O_RDWR)
    except PermissionError:
        # A file that nobody may write to; or rclone without a cache, which says so at the close. Where names are
        # POSIX's, it will do.
        _flush(path, os.O_RDONLY)


def _flush(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags | getattr(os, "O_BINARY", 0))
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def mode_like(source: Path) -> int:
    """Who may read what is made of a file: nobody but its owner who may not read that file."""
    try:
        return source.stat().st_mode & 0o666 | 0o600
    except OSError:  # it has gone since it was read
        return 0o600


def name_size(path: Path) -> tuple[int, int]:
    """How long a file's name is and how long it may be there, in bytes; on Windows in UTF-16's units.

    Raises:
        OSError: its folder cannot be asked.
    """
    if sys.platform == "win32":
        return len(path.name.encode("utf-16-le", "surrogatepass")) // 2, 255
    return len(os.fsencode(path.name)), os.pathconf(path.parent, "PC_NAME_MAX")


def check_name(path: Path, *, overwrite: bool, resume: bool = False) -> int | None:
    """Refuses a name that `write_atomically` could not use; gives the permission bits to keep, None for a new file.

    Raises:
        OutputExistsError, OutputError: as `write_atomically`.
    """
    with _in_words(path):
        try:
            old = path.lstat()
        except FileNotFoundError:
            return None
        if stat.S_ISDIR(old.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not overwrite:
            if resume:
                return None
            raise OutputExistsError("already exists", path=path)
        if not (stat.S_ISREG(old.st_mode) or stat.S_ISLNK(old.st_mode)):
            raise OutputError("is a device, pipe or socket, not a file", path=path)
        refuse_read_only(path, old.st_mode)
        return stat.S_IMODE(old.st_mode) if stat.S_ISREG(old.st_mode) else None


def refuse_read_only(path: Path, mode: int) -> None:
    """Refuses what Windows does not let anybody replace.

    Args:
        path: of a file.
        mode: its own.

    Raises:
        OutputError: it has the read-only attribute.
    """
    if sys.platform == "win32" and not mode & stat.S_IWUSR:
        remedy = "Clear the read-only attribute in its properties, or by attrib -r, and try again."
        raise OutputError("is read-only, and Windows replaces no such file", path=path, remedy=remedy)


def _create(path: Path, mode: int) -> Path:
    """A new empty file beside `path`, its mode as the umask allows."""
    temporary = path.with_name(f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}{TEMPORARY_SUFFIX}")
    with _in_words(path):
        # The final name is checked against the file system's limit now, not after minutes of work.
        size, most = name_size(path)
        if size > most:
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
        descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_CLOEXEC", 0), mode)
        try:
            os.close(descriptor)
        except OSError:  # so a share may say first that there is no room
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
    return temporary


def _take_name(temporary: Path, path: Path, *, resume: bool) -> None:
    """Gives the temporary its name if that is free or, with `resume`, if the same bytes have it.

    Raises:
        FileExistsError, OutputExistsError: taken.
    """
    try:
        _rename_if_free(temporary, path)
    except FileExistsError:
        if not resume:
            raise
        if not _is_same(temporary, path):
            raise OutputExistsError("already exists, and is not the result that was begun", path=path) from None
        temporary.unlink()


def _is_same(temporary: Path, path: Path) -> bool:
    return stat.S_ISREG(path.lstat().st_mode) and filecmp.cmp(temporary, path, shallow=False)


def _rename_if_free(temporary: Path, path: Path) -> None:
    """Renames unless the name is taken, in one step of the file system.

    Raises:
        FileExistsError: taken.
    """
    if os.name == "nt":
        temporary.rename(path)  # refuses an existing name there
        return
    if rename_no_replace(temporary, path):
        return
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:
        # A file system with neither call (some network shares), whichever error it has for that: rclone's is a failing
        # disk's. Claim the name by creating it, then replace our claim; what else is the matter is so then too.
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        try:
            temporary.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                if path.stat().st_size == 0:  # our claim, and nothing of somebody's
                    path.unlink()
            raise
    else:
        temporary.unlink()


@contextlib.contextmanager
def _in_words(path: Path) -> Iterator[None]:
    try:
        yield
    except LiifError:
        raise
    except OSError as error:
        _raise_in_words(error, path)


def _raise_in_words(error: OSError, path: Path) -> NoReturn:
    if error.errno == errno.EEXIST:
        raise OutputExistsError("already exists", path=path) from error
    reason = _REASONS.get(error.errno or 0, error.strerror or str(error))
    if error.errno == errno.ENOENT and os.path.isdir(path.parent):  # noqa: PTH112 - as in /proc; Path's may raise
        reason = "no file can be made or kept in its folder"
    raise OutputError(f"cannot be written: {reason}", path=path) from error
