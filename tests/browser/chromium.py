"""Finds a Chromium for the tests, or installs Debian's: `python tests/browser/chromium.py`."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

#: What distributions call it. Google Chrome and Edge are the same engine.
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "microsoft-edge")

#: A page needs letters; Debian's Chromium comes without any.
PACKAGES = ("chromium", "fonts-dejavu-core")

#: Other installations may be under way. [s]
LOCK_SECONDS = 600


class NoChromiumError(Exception):
    """There is none and none can be installed here; the message says what would help."""


def find() -> Path | None:
    """The Chromium of this machine: $LIIF_CHROMIUM, or one in the search path."""
    given = os.environ.get("LIIF_CHROMIUM")
    if given:
        return Path(given)
    found = next((path for path in map(shutil.which, NAMES) if path), None)
    return Path(found) if found else None


def make() -> Path:
    """The Chromium of this machine; Debian's is installed if there is none.

    Raises:
        NoChromiumError: this is not Debian, or not root, or its packages cannot be had.
    """
    if found := find():
        return found
    if shutil.which("apt-get") is None:
        raise NoChromiumError("install Chromium, or set LIIF_CHROMIUM to the path of one")
    if os.geteuid() != 0:
        raise NoChromiumError(f"run `sudo apt-get install {' '.join(PACKAGES)}`, or set LIIF_CHROMIUM")
    with (Path(tempfile.gettempdir()) / "liif-chromium.lock").open("w") as lock:
        # Two runs of the tests at once: the second waits for the first one's.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not find():
            _install()
    if found := find():
        return found
    raise NoChromiumError("the package chromium of this system brings no program of that name; set LIIF_CHROMIUM")


def _install() -> None:
    options = ["-qq", "-o", f"DPkg::Lock::Timeout={LOCK_SECONDS}", "-o", "Dpkg::Options::=--force-unsafe-io"]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for words in (["update"], ["install", "-y", "--no-install-recommends", *PACKAGES]):
        command = ["apt-get", *options, *words]
        done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode:
            raise NoChromiumError(f"`apt-get {words[0]}` failed: {' | '.join(done.stderr.splitlines()[-3:])}")


if __name__ == "__main__":
    try:
        print(make())
    except NoChromiumError as error:
        sys.exit(f"no Chromium: {error}")
