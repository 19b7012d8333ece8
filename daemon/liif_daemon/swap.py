"""Two files change places: at every instant a path holds the old one or the new one, complete, and no third is lost."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from liif_daemon import steps
from liif_daemon.free import is_open_for_writing
from liif_daemon.store import Changed, hash_of
from liif_engine.picture.atomic import flush_folder
from liif_engine.picture.exchange import exchange

#: Before the name of a file in a workplace: what that one took the place of, where names cannot be exchanged.
ASIDE = "instead-of-"


def swap(new: Path, path: Path, expected: str) -> Path | None:
    """A complete and durable file takes a path's place, if the path holds the content expected until the very swap.

    On Linux the two exchange their names, the file that came out is looked at, and they exchange again if it is not the
    one expected. Elsewhere the path is looked at and then replaced: a file that another program renames onto the path
    in the microseconds between is lost; one that it writes into is put back.

    Args:
        new: in a workplace of ours beside `path`.
        path: a regular file.
        expected: the SHA-256 of its content.

    Returns:
        Where the file that came out lies; None if it is gone.

    Raises:
        Changed: the path holds something else, and keeps it.
        OSError: the system refuses; the path is as it was.
    """
    _check(path, expected)
    steps.reached("about to swap")
    ours = new.lstat()
    if not exchange(new, path):
        return _swap_by_replace(new, path, expected)
    steps.reached("swapped")
    flush_folder(path.parent)
    flush_folder(new.parent)
    steps.reached("folders flushed")
    try:
        _check(new, expected)
    except (Changed, OSError) as error:
        if _is_gone(new):  # a FUSE file system that knows no exchange, but not that it does not, and has replaced
            return None
        exchange(new, path)
        came = new.lstat()
        if (came.st_ino, came.st_dev) != (ours.st_ino, ours.st_dev):
            # Somebody put a third file there in between: the newest belongs in the place; the workplace keeps the
            # other, and `recover` saves it.
            exchange(new, path)
        flush_folder(path.parent)
        raise Changed("changed while it was being restored", path=path) from error
    steps.reached("swap verified")
    return new


def _swap_by_replace(new: Path, path: Path, expected: str) -> Path | None:
    """`swap` where names cannot be exchanged."""
    aside: Path | None = new.with_name(f"{ASIDE}{new.name}")
    assert aside is not None
    try:
        os.link(path, aside)
    except OSError:
        aside = None  # no hard links there either: what is written into the file from now on is lost
    _check(path, expected)
    new.replace(path)
    steps.reached("swapped")
    flush_folder(path.parent)
    steps.reached("folders flushed")
    if aside is not None:
        try:
            _check(aside, expected)
        except (Changed, OSError) as error:
            aside.replace(path)
            flush_folder(path.parent)
            raise Changed("changed while it was being restored", path=path) from error
    steps.reached("swap verified")
    return aside


def _is_gone(path: Path) -> bool:
    """Whether there is no such file, though the system may still know its name."""
    try:
        os.close(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)))
    except FileNotFoundError:
        return True
    except OSError:
        pass
    return False


def _check(path: Path, expected: str) -> None:
    """Raises Changed unless the path is a regular file of this content that nobody has open for writing."""
    try:
        regular = stat.S_ISREG(path.lstat().st_mode)
    except FileNotFoundError:
        raise Changed("has gone while it was being restored", path=path) from None
    if not regular or is_open_for_writing(path) or hash_of(path) != expected:
        raise Changed("changed while it was being restored", path=path)
