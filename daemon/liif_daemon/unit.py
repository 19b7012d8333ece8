"""The systemd user unit: installed and removed; and the few words that systemd wants to hear from a service."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from liif_engine.base_folder import base_folder
from liif_engine.errors import LiifError, OutputError, UsageError
from liif_engine.picture.atomic import write_atomically

NAME = "liif-daemon.service"

#: What starts programs where there is no systemd.
ELSEWHERE = {
    "win32": "Have the Task Scheduler start `{} -m liif_daemon run` when you log on.",
    "darwin": "Have launchd start `{} -m liif_daemon run`, by a file in ~/Library/LaunchAgents.",
}


def text() -> str:
    """The unit for this interpreter."""
    here = Path(__file__)
    # Inside the package when installed, one level up in a checkout.
    template = next(path for path in (here.with_name(NAME), here.parents[1] / NAME) if path.is_file())
    # Within quotes, these mean something to systemd.
    python = sys.executable.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return template.read_text("utf-8").replace("@PYTHON@", python)


def path() -> Path:
    """Where the unit is installed."""
    return base_folder("XDG_CONFIG_HOME", ".config") / "systemd" / "user" / NAME


def refuse_elsewhere() -> None:
    """Says what to use on a system that never has a systemd.

    Raises:
        UsageError: on such a system.
    """
    if (instead := ELSEWHERE.get(sys.platform)) is not None:
        raise UsageError("this system has no systemd", remedy=instead.format(sys.executable))


def install(*, start: bool) -> list[str]:
    """Writes the unit and, if there is a systemd to talk to, enables it; says what was done.

    Raises:
        OutputError: it cannot be written.
    """
    target = path()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # A full disk must not leave half of it in place of the one that works; who keeps it elsewhere has a link here.
        with write_atomically(target.resolve(), overwrite=True) as part:
            part.write_text(text(), "utf-8")
    except OSError as error:
        raise OutputError(f"cannot be written ({error.strerror})", path=target) from error
    said = [f"wrote {target}"]
    if not start:
        return said
    if _systemctl("daemon-reload") and _systemctl("enable", "--now", NAME):
        return [*said, "enabled and started; `loginctl enable-linger` keeps it running while you are logged out"]
    return [*said, f"systemd did not answer: run `systemctl --user enable --now {NAME}` when you are logged in"]


def uninstall() -> list[str]:
    """Stops and removes the unit.

    Raises:
        LiifError: there is none.
    """
    target = path()
    if not target.is_file():
        raise LiifError("there is no such unit", path=target, remedy="")
    _systemctl("disable", "--now", NAME)
    target.unlink()
    _systemctl("daemon-reload")
    return [f"removed {target}"]


def notify(**facts: str) -> None:
    """Tells systemd, if it started this process: READY="1", STOPPING="1", WATCHDOG="1", STATUS="..."."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address or not hasattr(socket, "AF_UNIX"):
        return
    address = f"\0{address[1:]}" if address.startswith("@") else address
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
        one.sendto("\n".join(f"{key}={value}" for key, value in facts.items()).encode(), address)


def _systemctl(*arguments: str) -> bool:
    program = shutil.which("systemctl")
    if program is None:
        return False
    try:
        done = subprocess.run([program, "--user", *arguments], capture_output=True, check=False, timeout=60)
    except subprocess.TimeoutExpired:  # a start waits until the daemon says that it is ready
        return False
    return done.returncode == 0
