"""Which files of a folder are pictures to look at, by their names alone, and why the others are not."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import suppress
from fnmatch import fnmatchcase
from pathlib import Path

from liif_daemon.settings import FolderSettings
from liif_engine.picture.atomic import TEMPORARY_PREFIX, TEMPORARY_SUFFIX
from liif_engine.picture.foreign import PROGRAMS_OWN

#: Endings of files that somebody has not finished.
UNFINISHED = (".part", ".partial", ".crdownload", ".download", ".opdownload", ".tmp", ".temp", ".filepart", "~")


def why_not(path: Path, folder: FolderSettings) -> str | None:
    """Why a file in a folder is never looked at; None if it is."""
    relative = path.relative_to(folder.path)
    above = relative.parts[:-1]
    if above and not folder.recursive:
        return "it lies in a subfolder, and recursive is false"
    for part in above:
        if reason := why_not_below(part):
            return reason
    name = relative.name
    if name.startswith("."):
        return "it is hidden: its name begins with a dot"
    if name.lower().endswith(UNFINISHED):
        return "its name is that of an unfinished file"
    if not _matches(relative, folder.include, spelled=folder.is_spelled):
        return "its name matches none of the patterns of include"
    if _matches(relative, folder.exclude):
        return "its name matches a pattern of exclude"
    return None


def why_not_below(name: str) -> str | None:
    """Why nothing in a folder of that name is looked at; None if it is."""
    if name in PROGRAMS_OWN:
        return f"it lies in {name}, which belongs to another program"
    return f"it lies in a hidden folder, {name}" if name.startswith(".") else None


def why_not_there(path: Path, top: Path) -> str | None:
    """Why a path is not looked at that a link below a watched folder leads to; None if there is no such link now."""
    above = list(path.parents)
    is_behind = any(one.is_symlink() for one in above[: above.index(top)]) if top in above else False
    return "symbolic links are not followed" if is_behind else None


def is_alike(one: str, other: str) -> bool:
    """Whether two names differ at most in upper and lower case, or in how accents are written: é is one letter or two.

    Where that is no matter, as on exFAT and HFS+, they are the same name.
    """
    return _plain(one) == _plain(other)


def as_spelled(path: Path) -> Path:
    """A path by the name that its folder shows, which may be another one that `is_alike`.

    Where that is no matter, the other spelling leads to the file too, and a rename onto it would return it.

    Raises:
        OSError: the folder cannot be read.
    """
    others = {path.name.swapcase(), *(unicodedata.normalize(form, path.name) for form in ("NFC", "NFD"))}
    if not any(os.path.lexists(path.with_name(name)) for name in others - {path.name}):
        return path  # it is a matter, and a folder need not be read
    names = os.listdir(path.parent)  # noqa: PTH208 - names are what is wanted
    alike = [name for name in names if is_alike(name, path.name)]
    return path.with_name(alike[0]) if len(alike) == 1 else path


def spelled(path: Path) -> Path:
    """`as_spelled` of a path and of all folders above it, as far as they can be read."""
    found = Path(path.anchor)
    for part in path.parts[1:]:
        found /= part
        with suppress(OSError):
            found = as_spelled(found)
    return found


def pictures(
    folder: FolderSettings,
    top: Path,
    is_stopped: Callable[[Path], bool] = lambda _: False,
    on_closed: Callable[[Path, OSError], None] = lambda _, __: None,
    on_workplace: Callable[[Path], None] = lambda _: None,
) -> Iterator[Path]:
    """The files below `top`, in this folder, whose names may be pictures'; symbolic links are not followed.

    Args:
        folder: whose settings say what to look at.
        top: the folder itself or one below it.
        is_stopped: told of each folder before it is read, and asked whether to end early.
        on_closed: told of each folder that cannot be read, and why.
        on_workplace: told of each folder of temporary files.
    """
    waiting = [top]
    while waiting and not is_stopped(here := waiting.pop()):
        try:
            with os.scandir(here) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except FileNotFoundError:
            continue  # it has gone
        except OSError as error:
            on_closed(here, error)
            continue
        for entry in entries:
            try:
                if entry.is_dir(follow_symlinks=False):
                    if folder.recursive and why_not_below(entry.name) is None:
                        waiting.append(Path(entry.path))
                    elif entry.name.startswith(TEMPORARY_PREFIX) and entry.name.endswith(TEMPORARY_SUFFIX):
                        on_workplace(Path(entry.path))
                elif entry.is_file(follow_symlinks=False) and why_not(Path(entry.path), folder) is None:
                    yield Path(entry.path)
            except OSError:
                continue


def names_files_alone(folder: FolderSettings) -> bool:
    """Whether nothing but files of certain names is looked at, as with `liif-daemon run FILE`."""
    return not any(re.search(r"[*?[]", re.sub(r"\[[*?[]\]", "", pattern)) for pattern in folder.include)


def _plain(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _matches(relative: Path, patterns: tuple[str, ...], *, spelled: bool = False) -> bool:
    """Whether the name, or the path below the watched folder, matches a pattern.

    Upper or lower case is no matter, unless the patterns are names as they are `spelled`.
    """
    name, whole = relative.name, relative.as_posix()
    if not spelled:
        name, whole, patterns = name.lower(), whole.lower(), tuple(one.lower() for one in patterns)
    return any(fnmatchcase(name, one) or fnmatchcase(whole, one) for one in patterns)
