"""What `check`, `why` and the systemd unit say to a person."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from liif_daemon import check

from .test_cli import Shell, shell
from .test_kills import checkpoint, service
from .workshop import Workshop, draw

__all__ = ["checkpoint", "service", "shell"]  # fixtures


def test_check_and_the_systemd_unit(shell: Shell) -> None:
    (shell.state()).mkdir()
    settings = shell.state() / "config.yaml"
    settings.write_text(f"engine:\n  model: {shell.model}\nfolders:\n  - path: {shell.folder}\n", "utf-8")
    said = shell("check")
    assert "files can be replaced safely" in said
    assert "engine: version" in said
    assert f"model {shell.model}: restores, in " in said
    assert "device: cpu" in said
    assert list(shell.folder.iterdir()) == []
    assert "wrote" in shell("service", "install", "--no-start")
    unit = (shell.base / "systemd" / "user" / "liif-daemon.service").read_text()
    assert f'ExecStart="{sys.executable}" -m liif_daemon run' in unit
    assert "removed" in shell("service", "uninstall")
    assert "no such unit" in shell("service", "uninstall", code=10)


def test_check_says_what_of_the_settings_cannot_work(shell: Shell) -> None:
    (shell.state()).mkdir()
    other = shell.base / "other"
    other.mkdir()
    lines = ["engine: {device: cuda}", "daemon: {originals: /proc/originals}", "folders:"]
    lines += [f"  - {{path: {shell.folder}, model: {shell.model}}}", f"  - {{path: {other}, model: wbe}}"]
    (shell.state() / "config.yaml").write_text("\n".join(lines), "utf-8")
    said = shell("check", code=1)
    assert "originals: /proc/originals cannot be written to" in said
    assert f"ok      model {shell.model}: restores" in said
    assert "error   model wbe: there is no model 'wbe'" in said
    assert "warning device: the engine that runs uses cpu, but config.yaml says cuda" in said


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="needs root, to become uid 65534")
def test_check_names_subfolders_that_cannot_be_written_to() -> None:
    code = (
        "import os, sys, liif_daemon.check as check; from liif_daemon.settings import FolderSettings; os.setuid(65534);"
        "found = check._folder(FolderSettings(path=sys.argv[1]));"
        "print([finding.words for finding in found if finding.level == 'error'])"
    )
    with tempfile.TemporaryDirectory(prefix="liif-nobody-") as base:
        top = Path(base)
        (top / "open" / "closed" / "deep").mkdir(parents=True)
        (top / ".hidden").mkdir()
        for one in (top, top / "open", top / "open" / "closed" / "deep"):
            one.chmod(0o777)
        done = subprocess.run(
            [sys.executable, "-c", code, base], capture_output=True, text=True, timeout=60, check=False
        )
        words = f"nothing can be replaced in 1 of its subfolders, such as {top / 'open' / 'closed'} (no permission)"
        assert done.stdout.strip() == str([f"{base}: {words}"]), done.stderr


def test_check_says_of_a_share_where_no_file_takes_another_s_place_that_nothing_can_be_replaced(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As through sshfs on some servers: each picture there would be computed for nothing."""

    def refuse(one: Path, other: Path) -> None:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), os.fspath(one), None, os.fspath(other))

    monkeypatch.setattr(check, "exchange", lambda *_: False)
    monkeypatch.setattr(Path, "replace", refuse)
    (found,) = check._folder(workshop.settings().folders[0])
    assert (found.level, found.words) == ("error", f"{workshop.folder}: nothing can be replaced in it (File exists)")
    assert workshop.leftovers() == []


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="needs root, to become uid 65534")
def test_why_says_of_a_file_that_it_cannot_be_read() -> None:
    code = (  # once before, with a ledger of its own: what is loaded then may lie where only root can read
        "import contextlib, io, os, sys; from liif_daemon import cli; home = os.environ['XDG_STATE_HOME']\n"
        "os.environ['XDG_STATE_HOME'] = home + '/first'\n"
        "with contextlib.redirect_stdout(io.StringIO()): cli.app(['why', home], standalone_mode=False)\n"
        "os.environ['XDG_STATE_HOME'] = home; os.setuid(65534); cli.app(['why', *sys.argv[1:]])"
    )
    with tempfile.TemporaryDirectory(prefix="liif-nobody-") as base:
        top = Path(base)
        for name in ("pictures", "pictures/closed", "liif-restore"):
            (top / name).mkdir()
        (top / "liif-restore" / "config.yaml").write_text(f"folders:\n  - path: {top}/pictures\n", "utf-8")
        files = [top / "pictures" / "closed" / "a.jpg", top / "pictures" / "b.jpg"]
        for number, one in enumerate(files):
            draw(one, number)
            one.chmod(0)
        files[0].parent.chmod(0)
        for one in (top, top / "pictures", top / "liif-restore"):
            one.chmod(0o777)
        done = subprocess.run(
            [sys.executable, "-c", code, *map(str, files)],
            env={**os.environ, "XDG_CONFIG_HOME": base, "XDG_STATE_HOME": base},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        said = "".join(f"{one}\n  It cannot be read (Permission denied).\n" for one in files)
        assert (done.stdout, done.stderr, done.returncode) == (said, "", 0)
