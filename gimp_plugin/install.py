"""Puts the plug-in where each GIMP of this user looks for it, tells which have it, and takes it away again.

`liif-daemon gimp install | status | uninstall` calls this; it needs no GIMP, but asks one that is there.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import liif_engine
from liif_engine import base_folder, locks
from liif_engine.errors import LiifError, OutputError
from liif_engine.picture.exchange import exchange
from liif_engine.service import client

#: GIMP wants the folder to be called as the file in it that it starts.
NAME = "liif_restore"

SOURCE = Path(__file__).parent / NAME

#: How folders begin in which a new plug-in is made and an old one goes.
_ASIDE = ".liif-restore-"

#: Beside them while somebody installs or uninstalls; not named like them, or it would be tidied too.
_LOCK = ".liif-restore.lock"

#: How long to wait for another one who installs, which takes a fraction of a second. [s]
WAIT_SECONDS = 10

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
        for profile in sorted(base.glob("*"))
        if VERSION.fullmatch(profile.name) and profile.is_dir()
    ]


def install(where: list[Place], *, python: str = sys.executable) -> list[State]:
    """Copies the plug-in to each place, over an older one, and records the interpreter that has the engine.

    Args:
        where: as `places` finds them.
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
            with _alone(place):
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
        if not (_is_ours(place) or _left(place)):
            continue
        try:
            with _alone(place):
                if _is_ours(place):  # still so, or put there by the one who was waited for
                    found.append(place)
                    with _aside(place) as aside:
                        _take_away(place, aside)
                else:
                    _tidy(place)
        except OSError as error:
            raise OutputError(f"cannot be removed ({error.strerror})", path=place.folder) from error
    return found


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
    with _aside(place) as aside:
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


@contextmanager
def _alone(place: Place) -> Iterator[None]:
    """Waits for whoever installs or uninstalls there, who would take our new folder for one that was left."""
    path, deadline = place.plug_ins.parent / _LOCK, time.monotonic() + WAIT_SECONDS
    while True:
        with path.open("ab") as file:
            try:
                locks.take(file)
                is_held = _has_name(file.fileno(), path)
            except BlockingIOError:
                is_held = False
            except OSError:  # a share without locks
                is_held = True
            if is_held:
                try:
                    yield
                finally:
                    # While it is held: who waits with the same file sees that it has no name. Windows keeps it.
                    with suppress(OSError):
                        path.unlink()
                return
        if time.monotonic() > deadline:
            remedy = "Let it end, then run this again."
            raise OutputError("another install or uninstall is at work there", path=place.folder, remedy=remedy)
        time.sleep(0.05)


def _has_name(descriptor: int, path: Path) -> bool:
    """Whether an open file still is the one of that name: the one who had its lock before has removed it."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


@contextmanager
def _aside(place: Place) -> Iterator[Path]:
    """A folder beside those that GIMP searches; when the block ends it goes, with those that somebody killed left."""
    aside = Path(tempfile.mkdtemp(prefix=_ASIDE, dir=place.plug_ins.parent))
    try:
        yield aside
    finally:
        _tidy(place)


def _tidy(place: Place) -> None:
    for left in _left(place):
        shutil.rmtree(left, ignore_errors=True)


def _left(place: Place) -> list[Path]:
    """Folders of those who were killed; without the lock, also of those who are at work."""
    return list(place.plug_ins.parent.glob(f"{_ASIDE}*"))
