"""Where each GIMP of this user looks for plug-ins, and what it finds there; asks a GIMP itself, where one can be."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from liif_engine import base_folder
from liif_engine.errors import InputError
from liif_engine.service import client

#: GIMP wants the folder to be called as the file in it that it starts.
NAME = "liif_restore"

#: Profiles of these GIMPs are looked for; 2.10 takes the same plug-in through gimpfu where it has Python 2.7.
VERSION = re.compile(r"3\.\d+|2\.10")

#: How long GIMP may take to answer; its first start sets up a profile. [s]
ASK_SECONDS = 120

#: Prints one line, by which the answer is told from what GIMP itself says.
QUESTION = (
    "from gi.repository import Gimp; "
    "print('liif-restore:', Gimp.get_pdb().lookup_procedure('plug-in-liif-restore') is not None)"
)

#: The socket of the engine lies outside what Flatpak shows a program.
FLATPAK_WORDS = "Once: flatpak override --user --filesystem=xdg-run/liif-restore:create org.gimp.GIMP"


@dataclass(frozen=True)
class Place:
    """One GIMP's folder for plug-ins.

    Attributes:
        plug_ins: the folder, which need not be there yet.
        gimp: which GIMP, for people: ``GIMP 3.0``, ``GIMP 3.2 (Flatpak)``.
    """

    plug_ins: Path
    gimp: str

    @property
    def folder(self) -> Path:
        """The plug-in's own folder."""
        return self.plug_ins / NAME

    @property
    def is_old(self) -> bool:
        """Whether it is a GIMP with gimpfu."""
        return "2.10" in self.gimp

    @property
    def note(self) -> str:
        """What else the user must do, or nothing."""
        return FLATPAK_WORDS if "Flatpak" in self.gimp else ""


def places(
    environment: Mapping[str, str] = os.environ, home: Path | None = None, platform: str = sys.platform
) -> list[Place]:
    """The plug-in folders of every GIMP that this user has started once; its profile is made then.

    Args:
        environment: where GIMP3_DIRECTORY, XDG_CONFIG_HOME and APPDATA are looked up.
        home: the user's home folder.
        platform: as `sys.platform`.

    Raises:
        ConfigError: this user has no home folder.
        InputError: a folder of profiles cannot be looked into.
    """
    home = home or base_folder.home()
    if given := environment.get("GIMP3_DIRECTORY"):
        return [Place(Path(given) / "plug-ins", "GIMP 3 (GIMP3_DIRECTORY)")]
    named = Path(environment.get("XDG_CONFIG_HOME", ""))
    bases = {"": (named if named.is_absolute() else home / ".config") / "GIMP"}
    if platform == "win32":
        bases = {"": Path(environment.get("APPDATA") or home / "AppData" / "Roaming") / "GIMP"}
    elif platform == "darwin":
        bases = {"": home / "Library" / "Application Support" / "GIMP"}
    else:
        bases[" (Flatpak)"] = home / ".var" / "app" / "org.gimp.GIMP" / "config" / "GIMP"
        bases[" (Snap)"] = home / "snap" / "gimp" / "current" / ".config" / "GIMP"
    return [
        Place(profile / "plug-ins", f"GIMP {profile.name}{kind}")
        for kind, base in bases.items()
        for profile in _profiles(base)
    ]


def _profiles(base: Path) -> list[Path]:
    """The profiles of the GIMPs that can take the plug-in.

    Raises:
        InputError: the folder cannot be looked into.
    """
    try:
        return sorted(one for one in base.iterdir() if VERSION.fullmatch(one.name) and one.is_dir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        remedy = "GIMP's profiles are there: see that it can be read."
        raise InputError(f"cannot be looked into ({error.strerror})", path=base, remedy=remedy) from error


def ask(place: Place, environment: Mapping[str, str] = os.environ) -> bool | None:
    """Whether the real GIMP finds the plug-in in its folder; None where no GIMP can be asked.

    Starts GIMP without a window, which takes seconds.
    """
    command = _console(place)
    if command is None:
        return None
    given = client.clean_environment(environment)
    # With a virtual environment first on the path, GIMP's Python plug-ins would run in it, without gi.
    given["PATH"] = os.pathsep.join(["/usr/bin", "/bin"]) if os.name == "posix" else given.get("PATH", "")
    given["GIMP3_DIRECTORY"] = str(place.plug_ins.parent)
    arguments = ["-n", "-i", "--batch-interpreter=python-fu-eval", "-b", QUESTION, "--quit"]
    try:
        done = subprocess.run(
            [*command, *arguments], env=given, capture_output=True, text=True, errors="replace", timeout=ASK_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    answer = re.search(r"liif-restore: (True|False)", done.stdout)
    return answer[1] == "True" if answer else None


def _console(place: Place) -> list[str] | None:
    """The command of the GIMP that uses this place, without a window."""
    if place.is_old:
        return None
    if "Flatpak" in place.gimp:
        return ["flatpak", "run", "--command=gimp-console", "org.gimp.GIMP"] if shutil.which("flatpak") else None
    names = (f"gimp-console-{place.plug_ins.parent.name}", "gimp-console-3", "gimp-console")
    found = next(filter(None, map(shutil.which, names)), None)
    return None if found is None else [found]
