"""What is typed after `liif-daemon` - folders, files, times - as the rest of the daemon takes it."""

from __future__ import annotations

import glob
import itertools
import os
import re
import time
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from liif_daemon import asking
from liif_daemon.ledger import Ledger
from liif_daemon.names import is_alike, spelled, why_not
from liif_daemon.settings import FolderSettings, Settings, folder
from liif_engine.errors import UsageError


def folders(paths: list[Path], given: dict[str, Any]) -> list[FolderSettings]:
    """Settings of folders from the command line; files of one folder are that folder with their names alone.

    Args:
        paths: folders and files.
        given: options, by the names of settings.

    Raises:
        UsageError: a path is not there, does not answer, or would never be looked at; an option has a wrong value.
    """
    for path in asking.silent(map(absolute, paths)):
        raise UsageError(asking.SILENT_WORDS, path=path, remedy="Try again when it answers.")
    names: dict[Path, list[str]] = {path: [] for path in map(absolute, paths) if path.is_dir()}
    whole = set(names)
    for path in map(absolute, paths):
        if path in whole:
            continue
        if not path.is_file():
            words = "is neither a file nor a folder" if path.exists() else "there is no such file or folder"
            raise UsageError(words, path=path)
        if path.is_symlink():
            raise UsageError(
                "is a symbolic link, and those are not followed", path=path, remedy="Name the file itself."
            )
        if reason := why_not(path, folder({"path": path.parent, "include": ("*",)})):
            raise UsageError(f"is never looked at: {reason}", path=path, remedy="Rename it, or use `liif restore`.")
        if path.parent not in whole:  # what lies in a folder that is named too is that folder's
            names.setdefault(path.parent, []).append(glob.escape(_spelled(path)))
    return [
        folder(
            {**given, "path": path, **({"include": tuple(found), "recursive": False} if found else {})},
            spelled=bool(found),
        )
        for path, found in names.items()
    ]


def _spelled(path: Path) -> str:
    """A file's name as its folder has it: some file systems find it under other spellings too."""
    with suppress(OSError), os.scandir(path.parent) as found:
        names = [entry.name for entry in found]
        if path.name not in names:
            alike = (name for name in names if is_alike(name, path.name))  # under FUSE each spelling has its own inode
            same = (name for name in names if path.samefile(path.with_name(name)))
            return next(itertools.chain(alike, same), path.name)
    return path.name


def absolute(path: Path) -> Path:
    """From where it was typed, ``~`` for the home folder; not resolved: a symbolic link to a folder keeps its name."""
    is_name = str(path).startswith("~") and os.path.lexists(path)  # as shells take it for a home folder or a name
    try:
        return Path(os.path.abspath(path if is_name else path.expanduser()))  # noqa: PTH100
    except RuntimeError as error:
        raise UsageError("this machine has no such user's home folder", path=path) from error


def as_watched(path: Path, settings: Settings, ledger: Ledger) -> Path:
    """A file or folder by the name under which it is watched: symbolic links may have led to it another way.

    Args:
        path: absolute; not resolved in its last part, for a link is no picture.
        settings: whose folders are watched.
        ledger: knows the folders that were watched.
    """
    is_folder = os.path.isdir(path)  # noqa: PTH112 - raises nothing where a share is dead

    def is_known(name: Path) -> bool:
        return bool(ledger.below(name) if is_folder else ledger.jobs(path=name))

    if is_known(path) or is_known(path := spelled(path)):  # no other folder is touched, which may not answer
        return path
    real = Path(os.path.realpath(path)) if is_folder else Path(os.path.realpath(path.parent)) / path.name
    names = {path: False}
    for top in dict.fromkeys([*(one.path for one in settings.folders), *ledger.folders.all()]):
        with suppress(ValueError):
            names.setdefault(top / real.relative_to(os.path.realpath(top)), True)
        names[path] |= top == path or top in path.parents
    return next(filter(is_known, names), next((name for name, watched in names.items() if watched), path))


def moment(text: str) -> float:
    """``2 hours`` ago, ``3 days`` ago or a date, as Unix time.

    Raises:
        UsageError: it is none of these.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(second|minute|hour|day|week)s?", text.strip())
    if match is not None:
        seconds = {"second": 1, "minute": 60, "hour": 3600, "day": 86400, "week": 604800}[match[2]]
        return time.time() - float(match[1]) * seconds
    try:
        return datetime.fromisoformat(text.strip()).timestamp()
    except (ValueError, OverflowError):
        message = f"write a time like `2 hours`, `3 days` or 2026-01-31, not {text!r}"
        raise UsageError(message) from None
