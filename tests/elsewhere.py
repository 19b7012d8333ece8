"""Linux as if it were Windows, as far as Python sees it: what is not there, and what is done otherwise.

``python tests/elsewhere.py FOLDER`` restores the pictures of a folder there, in each of our ways, and prints what came
of it as JSON. It proves nothing about Windows itself, but every use of what only POSIX has ends it.
"""

from __future__ import annotations

import asyncio
import builtins
import ctypes
import errno
import importlib
import io
import json
import multiprocessing.resource_tracker
import multiprocessing.shared_memory
import os
import pathlib
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import types
import uuid
from pathlib import Path
from typing import Any, NoReturn

#: What is not ours is Linux's own, and loaded before.
OTHERS = (
    "numpy PIL.Image PIL.ImageCms imagecodecs jpeglib torch safetensors.torch pydantic yaml typer rich.console"
    " rich.live rich.progress jinja2 h11 starlette.applications starlette.concurrency uvicorn prometheus_client"
    " watchdog.observers watchdog.observers.polling"
)

MODULES = ("fcntl", "resource", "pwd", "grp", "termios", "tty", "pty")

NAMES = {
    os: "chown lchown fchown fchmod getuid geteuid getgid getegid getgroups getpriority setpriority nice sysconf"
    " sched_getaffinity sched_setaffinity posix_fallocate posix_fadvise pathconf fpathconf statvfs fstatvfs mkfifo"
    " setsid getpgid killpg listxattr getxattr setxattr removexattr major minor O_NOFOLLOW O_NONBLOCK O_CLOEXEC"
    " O_DIRECTORY PRIO_PROCESS uname",
    signal: "SIGHUP SIGURG SIGUSR1 SIGUSR2 SIGALRM",
    socket: "AF_UNIX",
    time: "clock_gettime CLOCK_BOOTTIME CLOCK_MONOTONIC",
}

ACCESS_DENIED, SHARING_VIOLATION = 5, 32


def become_windows() -> None:
    """From now on; once a process."""
    for name in OTHERS.split():
        importlib.import_module(name)
    room = shutil.disk_usage("/")
    shutil.disk_usage = lambda _: room  # type: ignore[assignment]
    shutil._USE_CP_SENDFILE = False  # type: ignore[attr-defined]
    sys.modules["msvcrt"] = _locks()
    kernel32 = types.SimpleNamespace(GlobalMemoryStatusEx=lambda _: 0)
    ctypes.windll = types.SimpleNamespace(kernel32=kernel32)  # type: ignore[attr-defined]
    for name in MODULES:
        sys.modules[name] = None  # type: ignore[assignment]
    for module, names in NAMES.items():
        for name in names.split():
            if hasattr(module, name):
                delattr(module, name)
    _take_files()
    os.kill = _kill
    pathlib.WindowsPath = pathlib.PosixPath  # type: ignore[misc, assignment]
    sys.platform, os.name = "win32", "nt"


def _refuse(number: int, *names: Any) -> NoReturn:
    error = PermissionError(errno.EACCES, "Access is denied", *map(os.fspath, names))
    error.winerror = number  # type: ignore[attr-defined]
    raise error


def _kill(_: int, number: int) -> NoReturn:
    sys.exit(f"the signal {number} is Ctrl+C here, or ends the process")


def _locks() -> types.ModuleType:
    fcntl = importlib.import_module("fcntl")

    def locking(descriptor: int, *_: int) -> None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            _refuse(SHARING_VIOLATION)

    found = types.ModuleType("msvcrt")
    found.locking, found.LK_NBLCK = locking, 2  # type: ignore[attr-defined]
    return found


def _take_files() -> None:
    """Files as Windows has them: open ones and read-only ones stay, folders are not opened, /proc is not there."""
    rename, replace, unlink, opened, fsync, read = os.rename, os.replace, os.unlink, os.open, os.fsync, io.open

    def is_open(path: Any) -> bool:
        descriptors = [int(name) for name in os.listdir("/proc/self/fd")]  # noqa: PTH208
        return any(_same(one, path) for one in descriptors)

    def is_kept(path: Any) -> bool:
        return os.path.lexists(path) and not os.lstat(path).st_mode & 0o200

    def our_rename(one: Any, other: Any, **_: Any) -> None:
        if os.path.lexists(other):
            raise FileExistsError(errno.EEXIST, "Cannot create a file when that file already exists", str(one))
        our_replace(one, other)

    def our_replace(one: Any, other: Any, **_: Any) -> None:
        if is_open(one):
            _refuse(SHARING_VIOLATION, one)
        if is_open(other) or is_kept(other):
            _refuse(ACCESS_DENIED, one, other)
        (rename if os.path.isdir(one) else replace)(one, other)  # noqa: PTH112

    def our_unlink(path: Any, **rest: Any) -> None:
        if not rest and is_open(path):
            _refuse(SHARING_VIOLATION, path)
        if not rest and is_kept(path):
            _refuse(ACCESS_DENIED, path)
        unlink(path, **rest)

    def our_open(path: Any, flags: int, *rest: Any, **more: Any) -> int:
        if sys._getframe(1).f_globals["__name__"].startswith("liif") and os.path.isdir(path):  # noqa: PTH112
            _refuse(ACCESS_DENIED, path)
        return opened(path, flags, *rest, **more)

    def our_fsync(descriptor: int) -> None:
        flags = Path(f"/proc/self/fdinfo/{descriptor}").read_bytes().split(b"flags:")[1].split()[0]
        if int(flags, 8) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, "Bad file descriptor")
        fsync(descriptor)

    def our_read(file: Any, *rest: Any, **more: Any) -> Any:
        caller = sys._getframe(1)
        while caller.f_back and caller.f_globals["__name__"] == "pathlib":
            caller = caller.f_back
        is_ours = caller.f_globals["__name__"].startswith("liif")
        if is_ours and str(file).startswith(("/proc/", "/sys/", "/dev/shm/")):
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", str(file))
        return read(file, *rest, **more)

    os.rename, os.replace, os.unlink, os.remove = our_rename, our_replace, our_unlink, our_unlink
    os.open, os.fsync = our_open, our_fsync
    builtins.open = io.open = our_read  # type: ignore[assignment]


def _same(descriptor: int, path: Any) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.lstat(path))
    except OSError:
        return False


def main(folder: Path) -> dict[str, Any]:
    """Restores a.jpg beside itself, the folder into another, and in place; then all comes back."""
    from liif_daemon import cli as daemon_cli
    from liif_daemon import places, progress, settings
    from liif_daemon.dispatch import Daemon
    from liif_daemon.engine import Made
    from liif_daemon.ledger import Ledger
    from liif_daemon.observe import Observation

    from liif_engine import Engine, LiifError, cli, restore_file
    from liif_engine.lab.bench import child

    def run(app: Any, *words: Any) -> int:
        return int(app([str(word) for word in words], standalone_mode=False) or 0)

    def names(place: Path) -> list[str]:
        return sorted(str(path.relative_to(place)) for path in place.rglob("*") if path.is_file())

    came: dict[str, Any] = {}
    out, beside = folder.with_name("out"), folder.with_name("b@2x.jpg")
    fast = ("--model", "fast", "--device", "cpu")
    came["restore"] = [
        run(cli.app, "restore", folder / "a.jpg", "--out", beside, *fast),
        run(cli.app, "restore", folder / "a.jpg", "--out", beside, "--overwrite", *fast),
        run(cli.app, "restore", folder, "--out", out, *fast),
        run(cli.app, "restore", folder, "--out", out, *fast),
    ]
    came["out"] = [beside.name for _ in [0] if beside.exists()] + [n for n in names(out) if not n.startswith(".")]

    class Here:
        """Takes the service's place."""

        engine = Engine("fast", device="cpu")

        def restore(self, order: Any, on_progress: Any) -> Any:
            on_progress(0.5)
            done = restore_file(self.engine, order.source, order.destination, target=order.target)
            return Made(done.model, done.seconds)

    watched = settings.folder({"path": folder, "settle_seconds": 0})
    asked = settings.Settings().with_folders([watched])
    before = {name: (folder / name).read_bytes() for name in names(folder)}
    with places.only_one(asked):
        ledger = Ledger(places.ledger_path(asked))
        daemon = Daemon(asked, ledger, Here(), once=True)
        said = progress.Progress(places.status_path(asked))
        said.write()
        daemon.start()
        came["running"], came["status"] = places.is_running(asked), progress.read(asked) is not None
        try:
            with places.only_one(asked):
                came["second"] = "works with the same ledger"
        except LiifError as error:
            came["second"] = error.message.split(" (")[0]
        try:
            while daemon.tick():
                time.sleep(0.01)
        finally:
            daemon.stop()
            ledger.close()
    after = {name: (folder / name).read_bytes() for name in names(folder)}
    came["replaced"] = [name for name in after if after[name] != before.get(name)]
    hints: set[str] = set()
    watching = Observation(watched, 10, lambda path, *_: hints.add(path.name))
    deadline = time.monotonic() + 20
    with (folder / "a.jpg").open("r+b") as file:  # nobody tells there that it is closed
        file.write(after["a.jpg"])
        file.flush()
        while not hints and time.monotonic() < deadline:
            time.sleep(0.01)
    watching.end()
    came["changed"] = sorted(hints)
    came["undo"] = run(daemon_cli.app, "undo", folder)
    came["back"] = before == {name: (folder / name).read_bytes() for name in names(folder)}
    came["prune"] = run(daemon_cli.app, "prune", "--older-than", "0 days", "--yes")
    store = asked.daemon.originals_folder
    came["kept"] = [name for name in names(store) if not name.startswith(("ledgers", "results"))]
    came["read_only"] = _of_read_only(folder, Here.engine, asked)
    figures = child.measure("ours fast", 2, 0.001, device="cpu", threads=1, published=None)
    came["bench"] = "seconds" in figures
    came["flags"] = _flags_of_a_start(folder.with_name("service"))
    return came


def _of_read_only(folder: Path, engine: Any, asked: Any) -> list[str]:
    """What is said of a file that cannot be replaced: as a result's place, and as a picture."""
    from liif_daemon import places
    from liif_daemon.examine import examine
    from liif_daemon.ledger import Ledger

    from liif_engine import LiifError, Target, restore_file

    file = folder / "e.jpg"
    shutil.copy(folder / "a.jpg", file)
    with file.open("ab") as more:
        more.write(b"of its own")
    file.chmod(0o444)
    ledger = Ledger(places.ledger_path(asked))
    said = [examine(file, asked.folders[0], asked, ledger).reason]
    ledger.close()
    try:
        restore_file(engine, folder / "a.jpg", file, target=Target(scale=1), overwrite=True)
    except LiifError as error:
        said.append(error.message)
    return said


def _flags_of_a_start(folder: Path) -> str:
    """With which the client starts the service."""
    from liif_engine.service.client import NotRunning, start

    def popen(*_: Any, creationflags: int, **__: Any) -> NoReturn:
        raise OSError(errno.EACCES, f"flags {creationflags:x}")

    start.subprocess = types.SimpleNamespace(Popen=popen)  # type: ignore[assignment]
    try:
        start.start_service(str(folder), sys.executable)
    except NotRunning as error:
        return str(error).partition("flags ")[2].partition(")")[0]
    return ""


if __name__ == "__main__":
    _ = asyncio, sqlite3, subprocess, tempfile, uuid, multiprocessing  # loaded as Linux has them
    become_windows()
    print(json.dumps(main(Path(sys.argv[1]))))
