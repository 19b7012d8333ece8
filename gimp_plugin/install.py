"""Puts the plug-in where each GIMP of this user looks for it, tells which have it, and takes it away again.

`liif-daemon gimp install | status | uninstall` calls this; it needs no GIMP, but asks one that is there.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import liif_engine
from gimp_plugin.aside import alone, folder_beside, left, tidy
from gimp_plugin.gimps import NAME, Place
from liif_engine.errors import LiifError, OutputError
from liif_engine.picture.exchange import exchange
from liif_engine.service import client

SOURCE = Path(__file__).parent / NAME


@dataclass(frozen=True)
class State:
    """What there is in one place.

    Attributes:
        place: where.
        state: ``installed``, ``outdated`` (other files than this version's), ``broken`` (incomplete, or its engine's
            interpreter has gone), ``foreign`` (something else has the name) or ``missing``.
        python: the interpreter that it starts the engine with, if it is recorded.
    """

    place: Place
    state: str
    python: str | None = None


def install(where: list[Place], *, python: str = sys.executable) -> list[State]:
    """Copies the plug-in to each place, over an older one, and records the interpreter that has the engine.

    Args:
        where: as `gimps.places` finds them.
        python: the interpreter.

    Raises:
        LiifError: there is no place.
        OutputError: a folder cannot be written, something else has the plug-in's name, or another one who installs
            there does not come to an end.
    """
    if not where:
        raise LiifError(
            "no GIMP of this user was found",
            remedy="Install GIMP 3, start it once so that it makes its profile, and run this again.",
        )
    for place in where:
        try:
            place.plug_ins.mkdir(parents=True, exist_ok=True)
            with alone(place):
                if state(place).state == "foreign":
                    remedy = "Move it away first."
                    raise OutputError("this is not liif-restore's plug-in", path=place.folder, remedy=remedy)
                _install(place, python)
        except OSError as error:
            raise OutputError(f"cannot be written ({error.strerror})", path=error.filename or place.folder) from error
    return [state(place) for place in where]


def state(place: Place) -> State:
    """What there is in one place now."""
    folder = place.folder
    if not (folder.exists() or folder.is_symlink()):
        return State(place, "missing")
    if not (folder / f"{NAME}.py").is_file():
        return State(place, "foreign")
    try:
        python = str(json.loads((folder / "engine.json").read_text("utf-8"))["python"])
    except (OSError, ValueError, KeyError, TypeError):
        # A folder linked to a checkout has none, nor needs one.
        return State(place, "broken" if not folder.is_symlink() else "outdated")
    if not Path(python).exists() or not os.access(folder / f"{NAME}.py", os.X_OK):
        return State(place, "broken", python)
    try:
        same = all((folder / name).read_text("utf-8") == text for name, text in _files(place).items())
    except (OSError, UnicodeDecodeError):  # one is missing, or is damaged
        same = False
    return State(place, "installed" if same else "outdated", python)


def uninstall(where: list[Place]) -> list[Place]:
    """Removes the plug-in, and returns where it was.

    Raises:
        OutputError: a folder cannot be removed, or another one who installs there does not come to an end.
    """
    found = []
    for place in where:
        if not (_is_ours(place) or left(place)):
            continue
        try:
            with alone(place):
                if _is_ours(place):  # still so, or put there by the one who was waited for
                    found.append(place)
                    with folder_beside(place) as aside:
                        _take_away(place, aside)
                else:
                    tidy(place)
        except OSError as error:
            raise OutputError(f"cannot be removed ({error.strerror})", path=place.folder) from error
    return found


def _files(place: Place) -> dict[str, str]:
    """What is laid into the folder, by name."""
    files = {path.name: path.read_text("utf-8") for path in sorted(SOURCE.glob("*.py"))}
    home = Path(client.__file__).parent
    files |= {f"{home.name}/{path.name}": path.read_text("utf-8") for path in sorted(home.glob("*.py"))}
    if place.is_old:
        start = f"{NAME}.py"
        files[start] = files[start].replace("#!/usr/bin/env python3", "#!/usr/bin/env python2", 1)
    return files


def _install(place: Place, python: str) -> None:
    """A whole folder beside the old one first, so that GIMP never meets half of it."""
    with folder_beside(place) as aside:
        new = aside / "new"
        for name, text in _files(place).items():
            (new / name).parent.mkdir(parents=True, exist_ok=True)
            (new / name).write_text(text, "utf-8")
        record = {"python": python, "version": liif_engine.__version__}
        (new / "engine.json").write_text(json.dumps(record) + "\n", "utf-8")
        new.chmod(0o755)
        # GIMP passes over a file that it may not run, without a word.
        (new / f"{NAME}.py").chmod(0o755)
        if not _exchanged(new, place):
            old = _take_away(place, aside)
            try:
                new.rename(place.folder)
            except BaseException:
                if old is not None:
                    old.rename(place.folder)
                raise


def _exchanged(new: Path, place: Place) -> bool:
    """Old and new change places in one step, so that a kill leaves one of them; False if that cannot be."""
    try:
        return exchange(new, place.folder)
    except FileNotFoundError:  # there is no old one
        return False


def _is_ours(place: Place) -> bool:
    return state(place).state not in ("missing", "foreign")


def _take_away(place: Place, aside: Path) -> Path | None:
    """Moves the folder, or a link to one, away in one step: half of it would be nobody's. None if there is none."""
    old = aside / "old"
    try:
        place.folder.rename(old)
    except FileNotFoundError:
        return None
    return old
