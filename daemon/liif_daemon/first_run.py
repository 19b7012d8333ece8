"""Before the first replacement in a folder: how many, how long, how much disk; and a question if it is much."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from liif_daemon import asking, mounts, presence
from liif_daemon.engine import EngineError, ServiceEngine
from liif_daemon.ledger import Glance, Ledger
from liif_daemon.names import names_files_alone, pictures
from liif_daemon.settings import FolderSettings, Settings, target_name
from liif_daemon.status import as_bytes, as_time
from liif_engine.errors import LiifError, UsageError, printable
from liif_engine.picture import image_file
from liif_engine.words import counted, rate

#: Headers that are read for the mean size of a picture.
SAMPLE = 20


@dataclass(frozen=True)
class Waiting:
    """What a folder's first run would look at.

    Attributes:
        count: of files whose names are pictures' and that were not looked at yet.
        size: of these files in bytes.
        sample: some of them, evenly spread.
    """

    count: int
    size: int
    sample: tuple[Path, ...]


def agree(
    settings: Settings,
    ledger: Ledger,
    engine: ServiceEngine | None = None,
    ask: Callable[[str], bool] | None = None,
    *,
    yes: bool = False,
) -> None:
    """Returns when the first run of every folder that is there is agreed to.

    Args:
        settings: the folders.
        ledger: remembers what was agreed to.
        engine: measures how fast it is, for the estimate; None for no estimate of time.
        ask: asks a person; None if there is nobody to ask.
        yes: it is agreed to, whatever there is, and also to what will be in folders that are not there now.

    Raises:
        UsageError: it is much, and nobody agreed.
    """
    new = [folder for folder in settings.folders if not ledger.folders.is_agreed(folder.path)]
    silent = asking.silent(folder.path for folder in new)
    if not yes:
        new = [one for one in new if one.path not in silent and presence.look(one.path, ledger).identity is not None]
    waiting = [] if yes else [(folder, count(folder, ledger)) for folder in new]
    total = sum(found.count for _, found in waiting)
    if total > settings.daemon.ask_above:
        lines = [_line(folder, found, settings, engine) for folder, found in waiting if found.count]
        lines.append(_disk(sum(found.size for folder, found in waiting if folder.keep_originals > 0), settings))
        if ask is None:
            raise UsageError(  # whose words are one line
                f"{counted(total, 'picture')} to be replaced for the first time: {'. '.join(lines)}",
                remedy="If that is meant, run it again with --yes; try a small folder first if in doubt.",
            )
        these = "this picture" if total == 1 else f"these {total:,} pictures"
        said = "".join(f"  {line}\n" for line in lines)
        if not ask(f"{said}Replace {these} in place, where content and settings allow?"):
            raise UsageError(
                "not agreed to; nothing was changed", remedy="Try `liif-daemon scan FOLDER --dry-run` first."
            )
    for folder in new:
        if not names_files_alone(folder):  # who agreed to some files has not agreed to the folder
            ledger.folders.agree(folder.path)


def why_not_begin(folder: FolderSettings, settings: Settings, ledger: Ledger) -> str:
    """Why nothing is replaced in a folder that was not there when the others were agreed to; empty if it may be.

    Args:
        folder: is there now.
        settings: how many pictures are many.
        ledger: remembers what was agreed to.

    Raises:
        OutputError: the ledger cannot be read or written.
    """
    if ledger.folders.is_agreed(folder.path) or names_files_alone(folder):
        return ""
    found = count(folder, ledger)
    if found.count > settings.daemon.ask_above:
        said = f"{counted(found.count, 'picture')} in it would be replaced for the first time, and nobody was asked"
        return f"{said}: stop the daemon, and start `liif-daemon run` anew in a terminal, or once with --yes"
    ledger.folders.agree(folder.path)
    return ""


def count(folder: FolderSettings, ledger: Ledger) -> Waiting:
    """Counts what was not looked at yet, by names and `stat` alone."""
    paths, size = [], 0
    for path in pictures(folder, folder.path):
        try:
            glance = Glance.of(path)
            if not ledger.looks.knows(path, glance, folder.rules):
                paths.append(path)
                size += glance.size
        except OSError:
            continue
    return Waiting(len(paths), size, tuple(paths[:: max(1, len(paths) // SAMPLE)][:SAMPLE]))


def _line(folder: FolderSettings, found: Waiting, settings: Settings, engine: ServiceEngine | None) -> str:
    sizes = " and ".join(target_name(target) for target in folder.targets)
    many = f"{printable(folder.path)}: {counted(found.count, 'picture')}, {as_bytes(found.size)}"
    return f"{many}, to be restored to {sizes}; {_time(folder, found, settings, engine)}"


def _time(folder: FolderSettings, found: Waiting, settings: Settings, engine: ServiceEngine | None) -> str:
    """An estimate from what is measured now: the engine on a small patch, the size of some of the pictures."""
    if engine is None:
        return "how long that takes was not measured"
    sizes = []
    for path in found.sample:
        try:
            probe = image_file.probe(path)
            sizes.append(probe.width * probe.height * probe.frames / 1e6)
        except LiifError:
            continue
    usable = [size for size in sizes if size <= folder.max_megapixels]
    if not usable:
        return "how long that takes is unknown: none of the files tried is a picture of a size to be restored"
    try:
        speed = engine.rate(folder.model or settings.engine.model, folder.targets, sum(usable) / len(usable))
    except EngineError as error:
        return f"how long that takes is unknown: {error.reason}"
    seconds = found.count * len(usable) / len(sizes) * sum(usable) / len(usable) / speed
    return f"about {as_time(seconds)} by the engine's speed now ({rate(speed)} megapixels/s of input)"


def _disk(size: int, settings: Settings) -> str:
    where = settings.daemon.originals_folder
    free = shutil.disk_usage(mounts.nearest(where)).free
    return f"The originals take up to {as_bytes(size)} in {where}; {as_bytes(free)} are free there"
