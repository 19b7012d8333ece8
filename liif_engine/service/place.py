"""Where the service listens: its private folder, the lock of the one instance, its socket or its port with a token."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from liif_engine import locks
from liif_engine.errors import ServiceError
from liif_engine.service import client
from liif_engine.workers import segment

#: sun_path of the systems in use holds 104 to 108 bytes.
MAX_SOCKET_PATH = 103

#: Of the names of folders for the pictures that are being worked at.
SCRATCH_PREFIX = "liif-restore-"

#: By these files callers find the service.
ENTRANCES = ("engine.sock", "engine.port")

#: How long to wait for a service that is about to end. [s]
HANDOVER_SECONDS = 15

HAS_UNIX_SOCKETS = hasattr(socket, "AF_UNIX") and sys.platform != "win32"


@dataclass
class Place:
    """Where one service listens.

    Attributes:
        folder: private to the user.
        scratch: for encoded pictures; private, removed at the end.
        sockets: bound, not yet listening.
        token: what callers through the port must show; None without a port.
        port: the loopback port, or None.
        made: the files by which it is found, as they were made.
    """

    folder: Path
    scratch: Path
    sockets: list[socket.socket] = field(default_factory=list)
    token: str | None = None
    port: int | None = None
    made: dict[Path, os.stat_result] = field(default_factory=dict)

    def is_lost(self) -> bool:
        """Whether somebody has removed all by which it could be found."""
        return not any(map(self._is_own, self.made))

    def close(self) -> None:
        """Nobody finds the service any more; who is connected stays so. Closing twice is allowed."""
        for path in filter(self._is_own, self.made):
            with suppress(OSError):
                path.unlink()

    def _is_own(self, path: Path) -> bool:
        """Whether the file is still its own: if the folder was removed, it may be another service's by now."""
        try:
            return os.path.samestat(path.lstat(), self.made[path])
        except OSError:
            return False


@contextmanager
def occupy(folder: Path | None, *, loopback: bool) -> Iterator[Place]:
    """Takes the place of the one service in a folder, and tidies up when the block ends.

    Args:
        folder: made if need be; None for the user's runtime folder.
        loopback: whether to listen on a loopback port as well; always so where there are no Unix sockets.

    Raises:
        ServiceError: the folder is not private, or another service is there.
    """
    folder = Path(folder or client.runtime_folder()).absolute()
    make_private(folder)
    with _lock(folder) as lock, tempfile.TemporaryDirectory(prefix=SCRATCH_PREFIX) as scratch:
        # Whoever held the lock before is gone, so what it left is stale.
        _remove(folder)
        _remove_left(lock)
        _write(lock, scratch)
        place = Place(folder, Path(scratch))
        try:
            if HAS_UNIX_SOCKETS:
                place.sockets.append(_bind_unix(folder / "engine.sock"))
            if loopback or not HAS_UNIX_SOCKETS:
                _bind_loopback(place)
            entrances = [folder / name for name in ENTRANCES]
            place.made = {path: path.lstat() for path in entrances if path.exists()}
            yield place
        finally:
            place.close()
            for one in place.sockets:
                one.close()


def make_private(folder: Path) -> None:
    """Makes a folder for this user alone, if it is not there.

    Raises:
        ServiceError: it cannot be made, or is not private.
    """
    try:
        client.make_folder(str(folder))
    except client.ServiceError as error:
        raise ServiceError(error.message, remedy=error.remedy) from None


@contextmanager
def _lock(folder: Path) -> Iterator[IO[str]]:
    """Holds the folder's lock, which the system lets go of however this process ends.

    The file stays: it tells who holds the lock, where its scratch folder is and how its shared memory is called.
    """
    deadline = time.monotonic() + HANDOVER_SECONDS
    with (folder / "engine.lock").open("a+") as file:
        while True:
            try:
                locks.take(file)
                break
            except OSError:
                # One that is about to end has removed its socket already; the next one takes over from it.
                if any((folder / name).exists() for name in ENTRANCES) or time.monotonic() > deadline:
                    file.seek(0)
                    raise ServiceError(
                        f"a service runs already in {folder} (process {file.readline().strip() or 'unknown'})",
                        remedy="Use that one, or end it first.",
                    ) from None
                time.sleep(0.05)
        yield file


def _write(lock: IO[str], scratch: str) -> None:
    lock.truncate(0)
    lock.write(f"{os.getpid()}\n{scratch}\n{segment.PREFIX}\n")
    lock.flush()


def _remove_left(lock: IO[str]) -> None:
    """Removes what a service that was killed left of the pictures it was sent."""
    lock.seek(0)
    _, scratch, prefix, *_ = [*lock.read().splitlines(), "", "", ""]
    segment.remove_left(prefix)
    path = Path(scratch)
    # A link or another user's folder of that name is left alone.
    if path.name.startswith(SCRATCH_PREFIX) and path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)


def _bind_unix(path: Path) -> socket.socket:
    if len(os.fsencode(path)) > MAX_SOCKET_PATH:
        raise ServiceError(
            f"the path of the socket is longer than {MAX_SOCKET_PATH} bytes: {path}",
            remedy="Set LIIF_RUNTIME_DIR to a folder with a shorter name.",
        )
    one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)  # type: ignore[attr-defined, unused-ignore]
    # The socket takes its mode from the umask when it is bound; a chmod after that would leave it open for a moment.
    before = os.umask(0o177)
    try:
        one.bind(str(path))
    except OSError as error:
        one.close()
        raise ServiceError(f"{path} cannot be made ({error.strerror})") from error
    finally:
        os.umask(before)
    return one


def _bind_loopback(place: Place) -> None:
    one = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    one.bind(("127.0.0.1", 0))
    place.sockets.append(one)
    place.port, place.token = one.getsockname()[1], secrets.token_urlsafe(32)
    # Under another name first, so that nobody reads half of it.
    path = place.folder / "engine.port.new"
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump({"port": place.port, "token": place.token}, file)
    path.replace(place.folder / "engine.port")


def _remove(folder: Path) -> None:
    for name in ENTRANCES:
        with suppress(OSError):
            (folder / name).unlink()
