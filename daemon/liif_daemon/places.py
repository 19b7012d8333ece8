"""The daemon's own files, and which layouts of them are refused because they could lose or loop something."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import combinations
from pathlib import Path
from typing import IO, Any

from liif_daemon import asking, mounts
from liif_daemon.settings import FolderSettings, Settings
from liif_engine import locks
from liif_engine.config_file import ConfigFile, several
from liif_engine.errors import ConfigError, LiifError
from liif_engine.picture.new_folder import make

#: A command that only asks whether a daemon runs holds the lock for an instant; who wants it for longer tries again.
LOCK_TRIES, LOCK_WAIT = 5, 0.05


def ledger_path(settings: Settings) -> Path:
    """The ledger."""
    return settings.daemon.state_folder / "ledger.sqlite3"


def looking_path(settings: Settings) -> Path:
    """What the daemon is looking at."""
    return settings.daemon.state_folder / "looking"


def status_path(settings: Settings) -> Path:
    """What the running daemon says of itself."""
    return settings.daemon.state_folder / "daemon.json"


def log_path(settings: Settings) -> Path:
    """The running daemon's log."""
    return settings.daemon.state_folder / "daemon.log"


def check_layout(settings: Settings) -> None:
    """Refuses a layout that is not safe; of folders that do not answer, only their names are compared.

    Raises:
        ConfigError: naming each place that is not, its line where there is one, and what to do.
    """
    if problems := list(_problems(settings)):
        path = None if settings.are_named else settings.path
        file = None if path is None else ConfigFile(path)
        messages = [
            message if file is None else f"line {file.line_of(('folders', number, 'path'))}: {message}"
            for number, message, _ in problems
        ]
        remedies = dict.fromkeys(remedy for *_, remedy in problems if remedy)
        raise several(messages, path, " ".join(remedies) or None)
    if mounts.is_network(settings.daemon.state_folder):
        raise ConfigError(
            f"the ledger would lie on a network share ({settings.daemon.state_folder}), where SQLite keeps no promises",
            path=settings.path,
            remedy="Set daemon.state to a folder on a local disk; daemon.originals may lie on the share.",
        )


def _problems(settings: Settings) -> Iterator[tuple[int, str, str]]:
    """For each place that is not safe the number of a folder, what is wrong with it, and what to do."""
    own = {"the backup store": settings.daemon.originals_folder, "the ledger": settings.daemon.state_folder}
    silent = asking.silent([*own.values(), *(folder.path for folder in settings.folders)])
    for number, folder in enumerate(settings.folders):
        if folder.path not in silent and _is_something_else(folder.path):
            yield number, f"{folder.path} is not a folder", "Name the folder that it lies in."
    for (first, one), (second, other) in combinations(enumerate(settings.folders), 2):
        if _inside(one.path, other, silent) or _inside(other.path, one, silent):
            message = f"{other.path} overlaps {one.path}, which is watched too"
            inner = second if one.path in other.path.parents or one.path == other.path else first
            yield inner, message, "Remove one of them, or set recursive: false on the outer one."
    for name, place in own.items():
        for number, folder in enumerate(settings.folders):
            if _inside(place, folder, silent):
                message = f"{name}, {place}, lies inside the watched folder {folder.path}"
                yield number, message, "Watch another folder, or move it: daemon.state, daemon.originals."


@contextmanager
def only_one(settings: Settings) -> Iterator[None]:
    """Holds the ledger's lock: one daemon per ledger.

    Raises:
        LiifError: another one holds it, or the file system has no locks.
    """
    folder = settings.daemon.state_folder
    try:
        make(folder, 0o700)
        file: IO[str] = (folder / "daemon.lock").open("a+", encoding="ascii")
    except OSError as error:
        raise LiifError(f"cannot be used ({error.strerror})", path=folder, remedy="Set daemon.state.") from error
    with file:
        try:
            is_ours = _locked(file, tries=LOCK_TRIES)
        except OSError as error:
            words = f"its file system has no locks ({error.strerror}), by which two daemons know of each other"
            raise LiifError(words, path=folder, remedy="Set daemon.state to a folder on a local disk.") from error
        if not is_ours:
            file.seek(0)
            pid = file.read().strip() or "unknown"
            raise LiifError(
                f"another liif-daemon works with this ledger (process {pid})",
                path=folder,
                remedy="Use `liif-daemon status` to see it, or stop it first; or give daemon.state another folder.",
            )
        with suppress(OSError):  # a full or failing disk; what needs room will say so
            file.truncate(0)
            os.write(file.fileno(), f"{os.getpid()}\n".encode("ascii"))
        yield


def is_running(settings: Settings) -> bool:
    """Whether a daemon holds the ledger's lock now; where the file system has no locks, it may be so."""
    try:
        with (settings.daemon.state_folder / "daemon.lock").open("rb") as file:
            return not _locked(file, shared=True)
    except FileNotFoundError:
        return False
    except OSError:
        return True


@contextmanager
def held(path: Path) -> Iterator[bool]:
    """Holds a file's lock, if it is free; whether it is. Who ends, however that may be, gives it back.

    Raises:
        OSError: the file cannot be opened, or its file system has no locks.
    """
    with path.open("ab") as file:
        yield _locked(file)


def _locked(file: IO[Any], *, shared: bool = False, tries: int = 1) -> bool:
    """Takes a file's lock, if it is free.

    Raises:
        OSError: the file system has no locks.
    """
    for left in reversed(range(tries)):
        try:
            locks.take(file, shared=shared)
        except BlockingIOError:
            if left:
                time.sleep(LOCK_WAIT)
        else:
            return True
    return False


def _is_something_else(path: Path) -> bool:
    """Whether there is something that is no folder; of a share that is away nothing is known."""
    try:
        return not stat.S_ISDIR(path.stat().st_mode)
    except OSError:
        return False


def _inside(place: Path, folder: FolderSettings, silent: set[Path]) -> bool:
    """Whether a place is a folder or, if that is watched with its subfolders, lies in it, whatever its names are."""
    has_answered = silent.isdisjoint({place, folder.path})
    real, top = (Path(os.path.realpath(one)) if has_answered else one for one in (place, folder.path))
    around = [real, *real.parents] if folder.recursive else [real]
    if top in around or not has_answered:
        return top in around
    # Upper and lower case may be no matter there, or one folder be mounted at two places.
    meant = _identity(top)
    return meant is not None and meant in map(_identity, around)


def _identity(path: Path) -> tuple[int, int] | None:
    """Device and inode; None where there is nothing, or it does not answer."""
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_dev, found.st_ino) if found.st_ino else None
