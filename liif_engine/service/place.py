"""Where the service listens: its private folder, the lock of the one instance, its socket or its port with a token."""

from __future__ import annotations

import json
import os
import secrets
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from liif_engine.errors import ServiceError
from liif_engine.service import client

#: sun_path of the systems in use holds 104 to 108 bytes.
MAX_SOCKET_PATH = 103

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
    """

    folder: Path
    scratch: Path
    sockets: list[socket.socket] = field(default_factory=list)
    token: str | None = None
    port: int | None = None


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
    try:
        client.make_folder(str(folder))
    except client.ServiceError as error:
        raise ServiceError(error.message, remedy=error.remedy) from None
    with _lock(folder), tempfile.TemporaryDirectory(prefix="liif-restore-") as scratch:
        place = Place(folder, Path(scratch))
        # Whoever held the lock before is gone, so what it left is stale.
        _remove(folder)
        try:
            if HAS_UNIX_SOCKETS:
                place.sockets.append(_bind_unix(folder / "engine.sock"))
            if loopback or not HAS_UNIX_SOCKETS:
                _bind_loopback(place)
            yield place
        finally:
            _remove(folder)
            for one in place.sockets:
                one.close()


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """Holds the folder's lock, which the system lets go of however this process ends. The file stays."""
    with (folder / "engine.lock").open("a+") as file:
        try:
            _lock_file(file)
        except OSError:
            file.seek(0)
            raise ServiceError(
                f"a service runs already in {folder} (process {file.read().strip() or 'unknown'})",
                remedy="Use that one, or end it first.",
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def _lock_file(file: IO[str]) -> None:
    if sys.platform == "win32":
        import msvcrt

        # A byte far behind the text, since Windows forbids others to read a locked one.
        file.seek(1 << 20)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _bind_unix(path: Path) -> socket.socket:
    if len(os.fsencode(path)) > MAX_SOCKET_PATH:
        raise ServiceError(
            f"the path of the socket is longer than {MAX_SOCKET_PATH} bytes: {path}",
            remedy="Set LIIF_RUNTIME_DIR to a folder with a shorter name.",
        )
    one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
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
    path = place.folder / "engine.port"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump({"port": place.port, "token": place.token}, file)


def _remove(folder: Path) -> None:
    for name in ("engine.sock", "engine.port"):
        with suppress(OSError):
            (folder / name).unlink()
