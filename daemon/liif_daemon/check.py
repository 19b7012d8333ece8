"""`liif-daemon check`: what could keep the daemon from working here, found before it matters."""

from __future__ import annotations

import errno
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from liif_daemon import asking, mounts, places, presence, progress
from liif_daemon.engine import EngineError, ServiceEngine
from liif_daemon.examine import model_of
from liif_daemon.free import is_open_for_writing
from liif_daemon.ledger import Ledger
from liif_daemon.names import why_not_below
from liif_daemon.neighbours import Claim
from liif_daemon.settings import FolderSettings, Settings
from liif_daemon.status import as_bytes
from liif_daemon.store import Store
from liif_daemon.workplace import make_workplace, remove_workplace, workplace_for
from liif_engine.errors import LiifError
from liif_engine.figures import host_and_port, in_words
from liif_engine.picture.exchange import exchange
from liif_engine.service.client import ServiceError
from liif_engine.words import counted

#: Less free space than this is worth a word. [bytes]
LITTLE_SPACE = 1_000_000_000


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: ``ok``, ``warning`` or ``error``, and what about it."""

    level: str
    words: str


def check(settings: Settings, engine: ServiceEngine) -> Iterator[Finding]:
    """Looks at settings, folders, disk, limits, the engine, which is started if it does not run, and its models."""
    try:
        places.check_layout(settings)
        source = settings.path or "no config.yaml: defaults"
        yield Finding("ok", f"settings: {source}, {counted(len(settings.folders), 'folder')}")
    except LiifError as error:
        yield Finding("error", error.explain())
    if not settings.folders:
        yield Finding("warning", "no folder is watched: add one to config.yaml, or name one after `liif-daemon run`")
    ledger, originals = settings.daemon.state_folder, settings.daemon.originals_folder
    silent = asking.silent([originals, *(folder.path for folder in settings.folders)])
    yield from (Finding("error", f"{path}: {asking.SILENT_WORDS}") for path in sorted(silent))
    there = [folder for folder in settings.folders if folder.path not in silent]
    own = (progress.read(settings) or {}).get("pid")
    for folder in there:
        yield from _folder(folder)
        yield from _neighbours(folder, own)
    yield from _shares(settings, there)
    yield from _limits(there)
    yield _space("ledger", ledger)
    if originals not in silent:
        yield _space("originals", originals)
        yield from _store(settings)
    if settings.daemon.metrics is not None:
        yield _metrics(settings, str(settings.daemon.metrics))
    yield from _engine(settings, engine)


def _folder(folder: FolderSettings) -> Iterator[Finding]:
    path = folder.path
    if not path.is_dir():
        yield Finding("error", f"{path}: there is no such folder; it is watched when it appears")
        return
    if mounts.is_network(path):
        yield Finding(
            "warning", f"{path}: lies on {mounts.kind_of(path)}: it is looked at from time to time, not watched"
        )
    workplace = workplace_for(path / "check")
    try:
        make_workplace(workplace)
        one, other = workplace / "one", workplace / "other"
        one.write_text("one")
        other.write_text("other")
        tells = is_open_for_writing(one) is not None
        swaps = exchange(one, other)
        if not swaps:
            one.replace(other)  # which some servers of SFTP refuse
        elif not _is_there(one):  # some FUSE file systems take an exchange for this
            swaps = False
    except OSError as error:
        yield Finding("error", f"{path}: nothing can be replaced in it ({error.strerror})")
        return
    finally:
        with suppress(OSError):
            remove_workplace(workplace)
    if not swaps:
        yield Finding("warning", f"{path}: names cannot be exchanged there; a window of microseconds remains")
    if not tells:
        yield Finding("warning", f"{path}: it does not tell who writes a file; settle_seconds alone decides")
    if swaps and tells:
        yield Finding("ok", f"{path}: files can be replaced safely")
    if closed := [one for one in _subfolders(folder) if not os.access(one, os.W_OK | os.X_OK)]:
        words = f"nothing can be replaced in {len(closed)} of its subfolders, such as {closed[0]} (no permission)"
        yield Finding("error", f"{path}: {words}")


def _is_there(path: Path) -> bool:
    try:
        return bool(path.read_text())
    except FileNotFoundError:
        return False


def _neighbours(folder: FolderSettings, own: int | None) -> Iterator[Finding]:
    """Whether a daemon with another ledger watches it."""
    claim = Claim(folder)
    try:
        if words := claim.warning(own):
            yield Finding("warning", f"{folder.path}: {words}")
    finally:
        claim.end()


def _subfolders(folder: FolderSettings) -> Iterator[Path]:
    """Those whose pictures are looked at."""
    for here, names, _ in os.walk(folder.path):
        names[:] = [name for name in sorted(names) if folder.recursive and why_not_below(name) is None]
        yield from (Path(here, name) for name in names)


def _limits(folders: list[FolderSettings]) -> Iterator[Finding]:
    try:
        allowed = int(Path("/proc/sys/fs/inotify/max_user_watches").read_text())
    except (OSError, ValueError):
        return
    wanted = sum(_folders_in(folder) for folder in folders if folder.polling is not True)
    level = "warning" if wanted > allowed * 0.8 else "ok"
    advice = "; sudo sysctl fs.inotify.max_user_watches=524288" if level == "warning" else ""
    yield Finding(level, f"inotify watches: {wanted:,} needed of {allowed:,} that the system gives a user{advice}")


def _space(name: str, place: Path) -> Finding:
    there = mounts.nearest(place)
    try:
        with TemporaryFile(dir=there):
            pass
    except OSError as error:
        return Finding("error", f"{name}: {place} cannot be written to ({error.strerror})")
    free = shutil.disk_usage(there).free
    return Finding("ok" if free > LITTLE_SPACE else "warning", f"{name}: {place}, {as_bytes(free)} free")


def _shares(settings: Settings, folders: list[FolderSettings]) -> Iterator[Finding]:
    """Whether the shares that the ledger knows are there."""
    if not places.ledger_path(settings).is_file():
        return
    with (
        suppress(LiifError),
        closing(Ledger(places.ledger_path(settings))) as ledger,
    ):  # else `_store` says what is wrong
        for path in (folder.path for folder in folders if folder.path.is_dir()):
            if why := presence.look(path, ledger).why:
                yield Finding("error", f"{path}: {why}")


def _store(settings: Settings) -> Iterator[Finding]:
    """Whether the ledger can be read, and the store is the one in which its originals lie."""
    if not places.ledger_path(settings).is_file():
        return
    try:
        ledger = Ledger(places.ledger_path(settings))
        try:
            ledger.check()
            store = Store(settings.daemon.originals_folder, ledger.originals.owner())
        finally:
            ledger.close()
        store.check()
    except LiifError as error:
        yield Finding("error", error.explain())
    except OSError as error:
        yield Finding("error", f"originals: {settings.daemon.originals_folder}: {error.strerror}")


def _metrics(settings: Settings, address: str) -> Finding:
    """Whether figures can be shown where they are to be."""
    place = host_and_port(address)
    try:
        family, *_, found = socket.getaddrinfo(*place, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket.SOCK_STREAM) as one:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server has it
            one.bind(found)
    except (OSError, UnicodeError) as error:  # Unicode: no name of a host can be like that
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE and places.is_running(settings):
            return Finding("ok", f"metrics: {address} is taken, as it should be while the daemon runs")
        return Finding("error", f"metrics: figures cannot be shown at {address} ({in_words(error)})")
    return Finding("ok", f"metrics: {place[0]}:{place[1]} is free")


def _engine(settings: Settings, engine: ServiceEngine) -> Iterator[Finding]:
    try:
        status = engine.client.ensure_running()
    except ServiceError as error:
        yield Finding("error", f"engine: {error.explain()}")
        return
    yield Finding("ok", f"engine: version {status.get('version')}, process {status.get('pid')}")
    for model in sorted({model_of(folder, settings) for folder in settings.folders or [None]}):
        try:
            made = engine.trial(model, settings.engine.precision)
        except EngineError as error:
            yield Finding("error", f"model {model}: {error.reason}")
        else:
            yield Finding("ok", f"model {model}: restores, in {made.get('precision')}")
    yield from _device(settings.engine.device, engine.status() or {})


def _device(wanted: str, status: dict[str, Any]) -> Iterator[Finding]:
    """A service that ran already has the device that it was started with."""
    devices = sorted({str(row["device"]) for row in status.get("workers", []) if row.get("device")})
    if wanted != "auto" and devices and not any(one.startswith(wanted) for one in devices):
        words = f"config.yaml says {wanted}; end process {status.get('pid')}, so that it is started anew"
        yield Finding("warning", f"device: the engine that runs uses {', '.join(devices)}, but {words}")
    else:
        yield Finding("ok", f"device: {', '.join(devices) or 'not started yet'}")


def _folders_in(folder: FolderSettings) -> int:
    """Folders that take an inotify watch; those that are not looked at take one too."""
    if not folder.recursive:
        return 1
    return sum(1 for _ in os.walk(folder.path))
