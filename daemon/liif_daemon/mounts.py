"""What kind of file system a path lies on: network shares tell nobody of changes and keep no promises of SQLite's."""

from __future__ import annotations

import functools
import os
import re
import sys
import time
from pathlib import Path

#: File systems whose changes inotify does not see when another machine makes them, or a virtual machine's host.
NETWORK = frozenset(
    {"nfs", "nfs4", "cifs", "smb", "smb2", "smb3", "smbfs", "ncpfs", "afs", "ceph", "coda", "9p", "davfs", "virtiofs"}
    | {"glusterfs", "lustre", "gpfs", "beegfs", "orangefs", "vboxsf", "prl_fs"}
)

#: The same, behind FUSE.
NETWORK_FUSE = re.compile(
    r"fuse\.(sshfs|rclone|davfs2?|glusterfs|s3fs|gcsfuse|ceph|cephfs|curlftpfs|smbnetfs|gvfsd-fuse|kio-fuse|juicefs"
    r"|vmhgfs-fuse)"
)


#: A device's number is another one's soon after it was unmounted. [s]
KNOWN_SECONDS = 10


def kind_of(path: Path) -> str:
    """The file system's type, such as ``ext4`` or ``nfs4``; empty where the system does not tell.

    A path that is not there counts as its nearest parent.
    """
    try:
        return _kind_of_device(nearest(path).stat().st_dev, int(time.monotonic() / KNOWN_SECONDS))
    except OSError:
        return ""


def nearest(path: Path) -> Path:
    """The path, or the nearest folder above it that is there and answers."""
    path = path.absolute()
    while not os.path.exists(path) and path != path.parent:  # noqa: PTH110 - raises nothing where a share is dead
        path = path.parent
    return path


def is_network(path: Path) -> bool:
    """Whether a path lies on a network share."""
    kind = kind_of(path)
    return kind in NETWORK or NETWORK_FUSE.fullmatch(kind) is not None


def is_mount(path: Path) -> bool:
    """Whether something is mounted on a folder itself, so that it may be unmounted; or, in a container, on a file."""
    real = os.path.realpath(path)
    return any(point == real for _, point, _ in _mounts()) or os.path.ismount(real)


@functools.lru_cache(maxsize=64)
def _kind_of_device(device: int, _: int) -> str:
    if sys.platform == "win32":
        return ""
    numbers = f"{os.major(device)}:{os.minor(device)}"
    kinds = [kind for number, _, kind in _mounts() if number == numbers]
    return kinds[-1] if kinds else ""


def _mounts() -> list[tuple[str, str, str]]:
    """(major:minor, mount point, type) of each mount; empty outside Linux."""
    try:
        lines = Path("/proc/self/mountinfo").read_text("utf-8", "surrogateescape").split("\n")
    except OSError:
        return []
    rows = []
    for line in filter(None, lines):  # names may hold what Python takes for the end of a line or for a space
        left, _, right = line.partition(" - ")
        fields = left.split(" ")
        point = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), fields[4])
        rows.append((fields[2], point, right.split(" ")[0]))
    return rows
