"""Makes a real GIMP 3 in a folder, and runs it there: `python tests/gimp/chroot.py [trixie|forky]`.

Needs root on Debian and a Debian mirror in the machine's apt sources; takes two minutes and 900 MB once.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

#: GIMP of each Debian: trixie has 3.0, forky 3.2.
SUITES = ("trixie", "forky")

PACKAGES = ["gimp", "gir1.2-gimp-3.0", "python3-gi", "fonts-dejavu-core"]
PACKAGES += ["xvfb", "xdotool", "imagemagick", "dbus-daemon"]

APT_SETTINGS = """\
Acquire::Languages "none";
Acquire::Retries "3";
Acquire::Check-Valid-Until "false";
APT::Install-Recommends "false";
DPkg::Lock::Timeout "300";
Dpkg::Options { "--force-unsafe-io"; };
"""

#: Where plug-ins find an interpreter; the tests' own virtual environment must not come first.
SEARCH_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"

#: Written last, so that a folder left half made is made again.
COMPLETE = ".complete"


class NoChrootError(Exception):
    """It cannot be made here; the message says why, and what would."""


def folder_of(suite: str) -> Path:
    """Where the chroot is kept: $LIIF_GIMP_CHROOT, or the user's cache."""
    given = os.environ.get("LIIF_GIMP_CHROOT")
    return Path(given) if given else Path.home() / ".cache" / "liif-restore" / f"gimp-{suite}"


def make(suite: str = "trixie") -> Path:
    """The chroot's folder; made if it is not there.

    Raises:
        NoChrootError: this machine cannot make or enter one.
    """
    folder = folder_of(suite)
    if os.geteuid() != 0:
        raise NoChrootError(f"needs root: sudo {sys.executable} {__file__} {suite}, then the tests as root")
    if not (folder / COMPLETE).exists():
        mirror = _mirror()
        folder.parent.mkdir(parents=True, exist_ok=True)
        with (folder.parent / f"{folder.name}.lock").open("w") as lock:
            # Two runs of the tests at once: the second waits for the first one's.
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (folder / COMPLETE).exists():
                _build(folder, suite, mirror)
    if subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode:
        raise NoChrootError("needs the right to mount (CAP_SYS_ADMIN): run the container with --privileged")
    return folder


def command(chroot: Path, shared: Path, arguments: list[str], environment: dict[str, str]) -> list[str]:
    """A command that runs a program in the chroot.

    Args:
        chroot: as `make` returns it.
        shared: a folder that is to be at the same path inside.
        arguments: the program and its arguments.
        environment: all that it gets.
    """
    inside = chroot / shared.relative_to("/")
    inside.mkdir(parents=True, exist_ok=True)
    # The mounts are seen by this program alone and end with it.
    script = 'mount --rbind /proc "$0/proc" && mount --rbind /dev "$0/dev" && mount --bind "$1" "$0$1" && shift'
    script += ' && exec /usr/sbin/chroot "$0" /usr/bin/env -i "$@"'
    given = [f"{key}={value}" for key, value in {"PATH": SEARCH_PATH, "LC_ALL": "C.UTF-8", **environment}.items()]
    return ["unshare", "-m", "sh", "-c", script, str(chroot), str(shared), *given, *arguments]


def _mirror() -> str:
    """The machine's own Debian mirror."""
    if given := os.environ.get("DEBIAN_MIRROR"):
        return given
    sources = [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*"))]
    for source in sources:
        text = source.read_text() if source.is_file() else ""
        if found := re.search(r"^(?:URIs:\s*|deb\s+(?:\[[^]]*\]\s*)?)(\S+/debian/?)(?:\s|$)", text, re.MULTILINE):
            return found[1]
    raise NoChrootError("needs a Debian mirror: set DEBIAN_MIRROR to the address of one")


def _build(folder: Path, suite: str, mirror: str) -> None:
    """Debian's smallest base system, and GIMP in it."""
    log = folder.parent / f"{folder.name}.log"
    if shutil.which("debootstrap") is None:
        options = ["-o", "DPkg::Lock::Timeout=300"]
        _run(["apt-get", *options, "update"], log)
        _run(["apt-get", *options, "install", "-y", "--no-install-recommends", "debootstrap"], log)
    shutil.rmtree(folder, ignore_errors=True)
    # An older debootstrap has no script for a newer Debian; sid's does for all.
    script = Path("/usr/share/debootstrap/scripts") / suite
    script = script if script.exists() else script.with_name("sid")
    _run(["debootstrap", "--variant=minbase", suite, str(folder), mirror, str(script)], log)
    (folder / "etc/apt/apt.conf.d/99tests").write_text(APT_SETTINGS)
    # Nothing is to be started in there.
    policy = folder / "usr/sbin/policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 101\n")
    policy.chmod(0o755)
    for name in ("resolv.conf", "hosts"):
        if (Path("/etc") / name).exists():
            shutil.copy(Path("/etc") / name, folder / "etc" / name)
    inside = ["chroot", str(folder), "/usr/bin/env", "-i", f"PATH={SEARCH_PATH}", "LC_ALL=C.UTF-8"]
    proxies = [f"{key}={os.environ[key]}" for key in ("http_proxy", "https_proxy") if key in os.environ]
    inside += [*proxies, "DEBIAN_FRONTEND=noninteractive", "apt-get"]
    _run([*inside, "update"], log)
    _run([*inside, "install", "-y", *PACKAGES], log)
    _run([*inside, "clean"], log)
    for name in ("tmp/.X11-unix", "proc", "dev"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "tmp/.X11-unix").chmod(0o1777)
    (folder / COMPLETE).touch()


def _run(arguments: list[str], log: Path) -> None:
    with log.open("ab") as out:
        code = subprocess.run(arguments, stdin=subprocess.DEVNULL, stdout=out, stderr=out).returncode
    if code:
        tail = " | ".join(log.read_text(errors="replace").splitlines()[-3:])
        raise NoChrootError(f"`{' '.join(arguments[:4])} ...` failed, see {log}: {tail}")


if __name__ == "__main__":
    try:
        print(make(*sys.argv[1:2]))
    except NoChrootError as error:
        sys.exit(f"no GIMP: {error}")
