"""The installer, without a GIMP: where it looks, what it lays down, what it refuses; then with the real one."""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from liif_daemon import gimp as gimp_command

from gimp_plugin import aside, gimps, install
from gimp_plugin.gimps import Place, ask, places
from liif_engine.errors import ExitCode, InputError, LiifError, OutputError

from . import chroot
from .conftest import RealGimp


def profile(base: Path, *parts: str) -> Path:
    folder = base.joinpath(*parts)
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(profile(tmp_path, "GIMP", "3.0") / "plug-ins", "GIMP 3.0")


@pytest.mark.parametrize(
    ("platform", "variables", "parts", "name"),
    [
        ("linux", {}, (".config", "GIMP", "3.0"), "GIMP 3.0"),
        ("linux", {}, (".config", "GIMP", "3.2"), "GIMP 3.2"),
        ("linux", {}, (".config", "GIMP", "2.10"), "GIMP 2.10"),
        ("linux", {"XDG_CONFIG_HOME": "{home}/x"}, ("x", "GIMP", "3.0"), "GIMP 3.0"),
        ("linux", {"XDG_CONFIG_HOME": "x"}, (".config", "GIMP", "3.0"), "GIMP 3.0"),
        ("linux", {}, (".var", "app", "org.gimp.GIMP", "config", "GIMP", "3.2"), "GIMP 3.2 (Flatpak)"),
        ("linux", {}, ("snap", "gimp", "current", ".config", "GIMP", "3.0"), "GIMP 3.0 (Snap)"),
        ("win32", {"APPDATA": "{home}/r"}, ("r", "GIMP", "3.0"), "GIMP 3.0"),
        ("darwin", {}, ("Library", "Application Support", "GIMP", "3.0"), "GIMP 3.0"),
    ],
)
def test_every_kind_of_profile_is_found(
    tmp_path: Path, platform: str, variables: dict[str, str], parts: tuple[str, ...], name: str
) -> None:
    folder = profile(tmp_path, *parts)
    profile(folder.parent, "2.8")  # too old
    given = {key: value.format(home=tmp_path) for key, value in variables.items()}
    assert places(given, tmp_path, platform) == [Place(folder / "plug-ins", name)]


def test_the_users_own_folder_goes_before_all(tmp_path: Path) -> None:
    profile(tmp_path, ".config", "GIMP", "3.0")
    found = places({"GIMP3_DIRECTORY": str(tmp_path / "own")}, tmp_path, "linux")
    assert [one.folder for one in found] == [tmp_path / "own" / "plug-ins" / "liif_restore"]


def test_install_lays_down_what_gimp_wants(place: Place) -> None:
    (state,) = install.install([place])
    assert state == install.State(place, "installed", sys.executable)
    start = place.folder / "liif_restore.py"
    assert start.stat().st_mode & stat.S_IXUSR
    assert start.read_text().startswith("#!/usr/bin/env python3\n")
    assert json.loads((place.folder / "engine.json").read_text())["python"] == sys.executable
    assert list(place.plug_ins.iterdir()) == [place.folder]
    assert list(place.plug_ins.parent.iterdir()) == [place.plug_ins]


def test_the_copied_client_finds_the_recorded_interpreter(place: Place) -> None:
    install.install([place])
    code = "import client; print(client.find_interpreter())"
    clean = {key: value for key, value in os.environ.items() if key != "LIIF_PYTHON"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=place.folder, env=clean, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip() == sys.executable, done.stderr


def test_gimp_2_10_gets_its_own_python(tmp_path: Path) -> None:
    old = Place(profile(tmp_path, "2.10") / "plug-ins", "GIMP 2.10")
    install.install([old])
    assert (old.folder / "liif_restore.py").read_text().startswith("#!/usr/bin/env python2\n")
    assert install.state(old).state == "installed"


def test_states_are_told_apart(place: Place, tmp_path: Path) -> None:
    assert install.state(place).state == "missing"
    install.install([place])
    for content in (b"# older\n", b"\xff\x00 damaged"):
        (place.folder / "courier.py").write_bytes(content)
        assert install.state(place).state == "outdated"
    install.install([place])
    assert install.state(place).state == "installed"
    (place.folder / "liif_restore.py").chmod(0o644)
    assert install.state(place).state == "broken"
    gone = tmp_path / "python"
    gone.touch()
    install.install([place], python=str(gone))
    assert install.state(place).state == "installed"
    gone.unlink()
    assert install.state(place) == install.State(place, "broken", str(gone))


def test_uninstall_removes_it_and_nothing_else(place: Place) -> None:
    other = profile(place.plug_ins, "other")
    install.install([place])
    assert install.uninstall([place]) == [place]
    assert list(place.plug_ins.iterdir()) == [other]
    assert install.uninstall([place]) == []


def test_a_foreign_folder_is_left_alone(place: Place) -> None:
    mine = profile(place.plug_ins, "liif_restore") / "mine.txt"
    mine.touch()
    with pytest.raises(OutputError, match="not liif-restore's plug-in") as caught:
        install.install([place])
    assert caught.value.remedy
    assert install.uninstall([place]) == []
    assert mine.exists()


@pytest.mark.parametrize(
    ("at", "state"),
    [
        ("shutil, 'rmtree'", "installed"),  # the new one is there, the old one not yet gone
        ("install.Path, 'write_text'", "outdated"),
        ("install.Path, 'chmod'", "outdated"),
    ],
)
def test_an_install_that_is_killed_leaves_a_whole_plug_in_and_the_next_one_tidies(
    place: Place, at: str, state: str
) -> None:
    install.install([place])
    (place.folder / "courier.py").write_text("# older\n")
    _killed(place, at)
    assert install.state(place).state == state
    assert install.install([place])[0].state == "installed"
    assert list(place.plug_ins.parent.iterdir()) == [place.plug_ins]
    assert list(place.plug_ins.iterdir()) == [place.folder]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux exchanges folders in one step")
def test_a_kill_at_any_rename_leaves_a_plug_in(place: Place) -> None:
    install.install([place])
    (place.folder / "courier.py").write_text("# older\n")
    _killed(place, "install.Path, 'rename'", "install, 'exchange'")
    assert install.state(place).state == "outdated"


def test_what_a_kill_between_old_and_new_left_the_next_install_or_uninstall_tidies(place: Place) -> None:
    """Where folders cannot be exchanged."""
    for again, state in ((install.install, "installed"), (install.uninstall, "missing")):
        install.install([place])
        _killed(place, "install.Path, 'rename'", count=2, exchanges=False)
        assert install.state(place).state == "missing"
        again([place])
        assert install.state(place).state == state
        assert list(place.plug_ins.parent.iterdir()) == [place.plug_ins]


def _killed(place: Place, *at: str, count: int = 1, exchanges: bool = True) -> None:
    """Installs in a process that is killed at the `count`th call of one of the functions."""
    code = f"""
import os, pathlib, shutil
from gimp_plugin import install
from gimp_plugin.gimps import Place
if not {exchanges}:
    install.exchange = lambda *_: False
calls = []
def killing(usual):
    def kill(*arguments, **options):
        calls.append(1)
        return os._exit(9) if len(calls) == {count} else usual(*arguments, **options)
    return kill
for holder, name in [{", ".join(f"({one})" for one in at)}]:
    setattr(holder, name, killing(getattr(holder, name)))
install.install([Place(pathlib.Path({str(place.plug_ins)!r}), {place.gimp!r})])
"""
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 9


def test_the_old_plug_in_comes_back_where_the_new_one_cannot_take_its_place(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    install.install([place])
    rename = Path.rename

    def refuse(self: Path, target: Path) -> Path:
        if self.name == "new":
            raise PermissionError(13, "Permission denied", str(self))
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse)
    monkeypatch.setattr(install, "exchange", lambda *_: False)
    with pytest.raises(OutputError, match="cannot be written"):
        install.install([place])
    assert install.state(place).state == "installed"
    assert list(place.plug_ins.parent.iterdir()) == [place.plug_ins]


@pytest.mark.parametrize("again", [install.install, install.uninstall])
def test_who_installs_amid_another_install_leaves_its_folder_alone(
    place: Place, monkeypatch: pytest.MonkeyPatch, again: Callable[[list[Place]], object]
) -> None:
    """In one thread, where the second one cannot wait for the first to end."""
    install.install([place])
    refused, files = [], install._files

    def interrupted(where: Place) -> dict[str, str]:
        if not refused and list(place.plug_ins.parent.glob(".liif-restore-*")):
            refused.append("not yet")
            with pytest.raises(OutputError, match="another install or uninstall is at work") as caught:
                again([where])
            refused.append(caught.value.remedy)
        return files(where)

    monkeypatch.setattr(install, "_files", interrupted)
    monkeypatch.setattr(aside, "WAIT_SECONDS", 0)
    assert install.install([place])[0].state == "installed"
    assert refused == ["not yet", "Let it end, then run this again."]
    assert list(place.plug_ins.parent.iterdir()) == [place.plug_ins]


def test_who_waited_for_another_install_goes_on(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.plug_ins.mkdir()
    other = aside.alone(place)
    other.__enter__()
    waited = []

    def sleep(_: float) -> None:
        if not waited:
            other.__exit__(None, None, None)
        waited.append(1)

    monkeypatch.setattr(aside.time, "sleep", sleep)
    assert install.install([place])[0].state == "installed"
    assert waited == [1]
    assert list(place.plug_ins.parent.iterdir()) == [place.plug_ins]


def test_where_there_are_no_locks_it_is_installed_all_the_same(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(aside.locks, "take", refuse)
    assert install.install([place])[0].state == "installed"
    assert install.uninstall([place]) == [place]
    assert list(place.plug_ins.parent.iterdir()) == [place.plug_ins]


@pytest.mark.parametrize("exchanges", [True, False])
def test_a_link_is_replaced_and_what_it_leads_to_stays(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exchanges: bool
) -> None:
    if not exchanges:
        monkeypatch.setattr(install, "exchange", lambda *_: False)
    checkout = tmp_path / "checkout"
    shutil.copytree(install.SOURCE, checkout)
    place.plug_ins.mkdir()
    place.folder.symlink_to(checkout)
    assert install.state(place).state == "outdated"
    install.install([place])
    assert not place.folder.is_symlink()
    assert list(place.plug_ins.parent.iterdir()) == [place.plug_ins]
    assert (checkout / "liif_restore.py").exists()


def test_without_a_gimp_there_are_words() -> None:
    with pytest.raises(LiifError, match="no GIMP of this user") as caught:
        install.install([])
    assert "start it once" in caught.value.remedy


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "3.0").write_text("a file")
    with pytest.raises(OutputError, match="cannot be written"):
        install.install([Place(tmp_path / "3.0" / "plug-ins", "GIMP 3.0")])


def test_a_folder_of_profiles_that_cannot_be_looked_into_is_named(tmp_path: Path) -> None:
    folder = tmp_path / ".config" / "GIMP"
    folder.parent.mkdir()
    folder.symlink_to(folder)
    with pytest.raises(InputError, match="cannot be looked into") as caught:
        places({}, tmp_path, "linux")
    assert caught.value.path == folder


def test_an_install_that_does_not_read_as_it_was_written_says_what_to_do(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gimps, "places", lambda: [place])
    monkeypatch.setattr(gimps, "ask", lambda _: None)
    monkeypatch.setattr(install, "state", lambda place: install.State(place, "outdated"))
    assert gimp_command.install() == ExitCode.OUTPUT
    assert "run this again" in capsys.readouterr().out


def test_flatpak_needs_one_command_more(tmp_path: Path) -> None:
    profile(tmp_path, ".var", "app", "org.gimp.GIMP", "config", "GIMP", "3.0")
    (place,) = places({}, tmp_path, "linux")
    assert "flatpak override --user --filesystem=xdg-run/liif-restore" in place.note


def test_no_gimp_to_ask_is_no_answer(place: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert ask(place) is None


def test_the_real_gimp_is_asked(
    gimp: RealGimp, gimp_folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A stand-in for /usr/bin/gimp-console goes into the chroot; what answers is the real one.

    It has started with this profile before, as installing asks for. With an empty one it asks each of its own plug-ins
    what it is, which took 40 to 104 s at a load of 12 to 16, and longer than `ask` waits at a higher one.
    """
    place = Place(gimp.home / "profile" / "plug-ins", "GIMP 3.0")
    assert gimp.do("answer = 1") == 1, "it has started"
    script = tmp_path / "gimp-console"
    inside = chroot.command(gimp_folder, gimp.home, ["gimp-console"], {"HOME": str(gimp.home)})
    words = " ".join("'" + word.replace("'", "'\\''") + "'" for word in inside)
    words = words.replace("'gimp-console'", 'GIMP3_DIRECTORY="$GIMP3_DIRECTORY" gimp-console')
    script.write_text(f'#!/bin/sh\nexec {words} "$@"\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert ask(place) is True
    python = str(install.state(place).python)
    install.uninstall([place])
    try:
        assert ask(place) is False
    finally:
        install.install([place], python=python)
