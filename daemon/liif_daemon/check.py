"""`liif-daemon check`: what could keep the daemon from working here, found before it matters."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from liif_daemon import mounts, places
from liif_daemon.engine import ServiceEngine
from liif_daemon.exchange import exchange, is_open_for_writing
from liif_daemon.replace import remove_workplace, workplace_for
from liif_daemon.settings import FolderSettings, Settings
from liif_daemon.status import as_bytes
from liif_engine.errors import LiifError
from liif_engine.service.client import ServiceError

#: Less free space than this is worth a word. [bytes]
LITTLE_SPACE = 1_000_000_000


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: ``ok``, ``warning`` or ``error``, and what about it."""

    level: str
    words: str


def check(settings: Settings, engine: ServiceEngine) -> Iterator[Finding]:
    """Looks at settings, folders, disk, limits and the engine, which is started if it does not run."""
    try:
        places.check_layout(settings)
        source = settings.path or "no config.yaml: defaults"
        yield Finding("ok", f"settings: {source}, {len(settings.folders)} folders")
    except LiifError as error:
        yield Finding("error", error.explain())
    if not settings.folders:
        yield Finding("warning", "no folder is watched: add one to config.yaml, or name one after `liif-daemon run`")
    for folder in settings.folders:
        yield from _folder(folder)
    yield from _limits(settings)
    for name, place in (("ledger", settings.daemon.state_folder), ("originals", settings.daemon.originals_folder)):
        yield _space(name, place)
    yield from _engine(engine)


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
        workplace.mkdir(mode=0o700)
        one, other = workplace / "one", workplace / "other"
        one.write_text("one")
        other.write_text("other")
        swaps, tells = exchange(one, other), is_open_for_writing(one) is not None
        remove_workplace(workplace)
    except OSError as error:
        yield Finding("error", f"{path}: nothing can be replaced in it ({error.strerror})")
        return
    if not swaps:
        yield Finding("warning", f"{path}: names cannot be exchanged there; a window of microseconds remains")
    if not tells:
        yield Finding("warning", f"{path}: it does not tell who writes a file; settle_seconds alone decides")
    if swaps and tells:
        yield Finding("ok", f"{path}: files can be replaced safely")


def _limits(settings: Settings) -> Iterator[Finding]:
    try:
        allowed = int(Path("/proc/sys/fs/inotify/max_user_watches").read_text())
    except (OSError, ValueError):
        return
    wanted = sum(_folders_in(folder) for folder in settings.folders if folder.polling is not True)
    level = "warning" if wanted > allowed * 0.8 else "ok"
    advice = "; sudo sysctl fs.inotify.max_user_watches=524288" if level == "warning" else ""
    yield Finding(level, f"inotify watches: {wanted:,} needed of {allowed:,} that the system gives a user{advice}")


def _space(name: str, place: Path) -> Finding:
    there = place
    while not there.exists():
        there = there.parent
    free = shutil.disk_usage(there).free
    return Finding("ok" if free > LITTLE_SPACE else "warning", f"{name}: {place}, {as_bytes(free)} free")


def _engine(engine: ServiceEngine) -> Iterator[Finding]:
    try:
        status = engine.client.ensure_running()
    except ServiceError as error:
        yield Finding("error", f"engine: {error.explain()}")
        return
    devices = {str(row.get("device") or "not started yet") for row in status.get("workers", [])}
    where = ", ".join(sorted(devices)) or "not started yet"
    yield Finding("ok", f"engine: version {status.get('version')}, process {status.get('pid')}, device {where}")


def _folders_in(folder: FolderSettings) -> int:
    """Folders that take an inotify watch; those that are not looked at take one too."""
    if not folder.recursive:
        return 1
    return sum(1 for _ in os.walk(folder.path))
