"""One folder watched through watchdog: by events, or by looks from time to time where the system tells of none."""

from __future__ import annotations

import errno
import logging
import os
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from watchdog.events import (
    DirCreatedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver
from watchdog.observers.polling import PollingEmitter
from watchdog.utils import BaseThread

from liif_daemon import mounts
from liif_daemon.names import pictures, why_not, why_not_below
from liif_daemon.settings import FolderSettings

log = logging.getLogger(__name__)

#: Watching that breaks off is begun anew no sooner than this after its beginning, since each beginning is a scan. [s]
LEAST_SECONDS = 30.0

#: How long anybody waits for the end of watching; one that is stuck, in a look, ends with its folder's silence. [s]
END_SECONDS = 3.0

#: Where there are no events, a look that takes long is followed by a rest of so many times that, at most by the longest
#: [s]: with 500,000 files one takes 8 s of a core, and on a share all of its server's disks.
REST, LONGEST_REST_SECONDS = 4, 600.0

#: Called with a file and whether a writer has just closed it.
OnHint = Callable[[Path, FolderSettings, bool], None]

#: Where nothing tells that a writer has closed a file, its changes are hints.
_EVENTS: list[type[FileSystemEvent]] = [
    DirCreatedEvent,
    DirMovedEvent,
    FileClosedEvent if sys.platform.startswith("linux") else FileModifiedEvent,
    FileCreatedEvent,
    FileMovedEvent,
]

#: A look from time to time tells of each file, also in folders that came.
_LOOKS: list[type[FileSystemEvent]] = [FileCreatedEvent, FileModifiedEvent, FileMovedEvent]

_ANY: dict[str, Any] = {"include": ("*",), "exclude": ()}


class Observation:
    """A folder that is watched from now on, as long as its subfolders take to be found.

    Args:
        folder: to watch.
        poll_seconds: between two looks where there are no events.
        on_hint: called from any thread.

    Attributes:
        how: events, polling, or scans where it cannot be watched at all.
        why: there are no events.
    """

    def __init__(self, folder: FolderSettings, poll_seconds: float, on_hint: OnHint) -> None:
        self.folder, self._since = folder, time.monotonic()
        self._handler = _Handler(folder, on_hint)
        self._observer: Any = None
        self._threads: list[threading.Thread] = []
        self.how, self.why = "events", _why_poll(folder)
        if not self.why:
            try:
                self._observe(Observer, _EVENTS)
                return
            except OSError as error:
                self.why = _exhausted(error)
                log.warning("%s: %s", folder.path, self.why)
        else:
            log.info("%s: looked at every %g s, since %s", folder.path, poll_seconds, self.why)
        try:
            self._observe(partial(BaseObserver, _Looks, timeout=poll_seconds), _LOOKS)
            self.how = "polling"
        except OSError as error:
            self.how, self.why = "scans", f"it cannot be watched ({error.strerror}); scans alone find what is new"

    def has_broken_off(self) -> bool:
        """Whether something in the folder may go unheard from now on.

        A thread that tells of events has ended, as an error of watchdog's own ends it without a word to us; or there
        was no watch left for a new subfolder.
        """
        if time.monotonic() - self._since < LEAST_SECONDS:
            return False
        if not all(thread.is_alive() for thread in self._threads):
            return True
        has_grown, self._handler.has_grown = self._handler.has_grown, False
        return has_grown and self.how == "events" and _is_exhausted(self.folder.path)

    def end(self) -> None:
        """Ends the watching."""
        if self._observer is not None:
            _end(self._observer)

    def _observe(self, make: Callable[[], Any], events: list[type[FileSystemEvent]]) -> None:
        # Of a folder that watchdog finds twice, by its event and by its parent's: no news to anybody, on stderr.
        warnings.filterwarnings("ignore", "Callback with id", RuntimeWarning)
        folder, observer = self.folder, make()
        try:
            # Without a slash at its end, of a folder that is a symbolic link the link would be watched.
            place = os.path.join(folder.path, "")  # noqa: PTH118 - a Path has no such slash
            observer.schedule(self._handler, place, recursive=folder.recursive, event_filter=events)
            observer.start()
            if folder.recursive and events is _EVENTS and _is_exhausted(folder.path):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            _end(observer)
            raise
        self._observer, self._threads = observer, _threads_of(observer)


class _Handler(FileSystemEventHandler):
    """Turns one folder's events into hints; `has_grown` says that a subfolder has come."""

    def __init__(self, folder: FolderSettings, on_hint: OnHint) -> None:
        self.folder, self.on_hint, self.has_grown = folder, on_hint, False

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Whatever happened, the file's present name is what counts."""
        try:
            self._hint(event)
        except OSError as error:  # a folder that has gone again; it would end watchdog's thread, and with it all events
            log.info("%s: %s", self.folder.path, error)

    def _hint(self, event: FileSystemEvent) -> None:
        path = self._by_its_folder(Path(os.fsdecode(event.dest_path or event.src_path)))
        if path is None:
            return
        if isinstance(event, DirCreatedEvent | DirMovedEvent):
            if self.folder.recursive and why_not(path / "a.jpg", self.folder.model_copy(update=_ANY)) is None:
                self.has_grown = True
                # What was put into it before it was watched has no event of its own. What lies below is found with it,
                # and the events that watchdog makes up for that follow.
                for found in () if event.is_synthetic else pictures(self.folder, path):
                    self.on_hint(found, self.folder, False)
        elif self.folder.path in path.parents and why_not(path, self.folder) is None:
            self.on_hint(path, self.folder, isinstance(event, FileClosedEvent | FileMovedEvent))

    def _by_its_folder(self, path: Path) -> Path | None:
        """A path by the folder's name: macOS tells of its real one, with other capitals perhaps; None if elsewhere."""
        around = (path, *path.parents)
        if self.folder.path in around:
            return path
        for one in around:
            with suppress(OSError):
                if one.samefile(self.folder.path):
                    return self.folder.path / path.relative_to(one)
        return None


class _Looks(PollingEmitter):
    """Looks from time to time, as watchdog does, at what may be a picture."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        # Its own way, `stat`, would follow symbolic links: out of the folder, or round and round in it.
        super().__init__(*arguments, stat=os.lstat, listdir=_entries, **options)
        self._took = 0.0

    def queue_events(self, timeout: float) -> None:
        """Rests, then looks."""
        rest = max(timeout, min(REST * self._took, LONGEST_REST_SECONDS))
        began = time.monotonic()
        super().queue_events(rest)
        self._took = time.monotonic() - began - rest


def _entries(folder: str | None) -> Iterator[os.DirEntry[str]]:
    """What a folder holds, but what is never looked at: of thumbnails, say, a NAS has several for each picture."""
    with os.scandir(folder) as found:
        yield from (entry for entry in found if why_not_below(entry.name) is None)


def _why_poll(folder: FolderSettings) -> str:
    """Why a folder is looked at from time to time whatever the system tells; empty if it is not."""
    if folder.polling is True:
        return "polling is on"
    if folder.polling == "auto" and mounts.is_network(folder.path):
        return f"{mounts.kind_of(folder.path)} does not tell of changes made elsewhere"
    return ""


def _exhausted(error: OSError) -> str:
    """What it means that inotify refuses."""
    if error.errno in {errno.ENOSPC, errno.EMFILE}:
        return (
            "the system has no more inotify watches, so the folder is looked at from time to time instead. For events:"
            " sudo sysctl fs.inotify.max_user_watches=524288 fs.inotify.max_user_instances=512, then restart the daemon"
        )
    return f"the system does not tell of its changes ({error.strerror}), so it is looked at from time to time"


def _is_exhausted(path: Path) -> bool:
    """Whether the system has no inotify watch left: watchdog goes on without those of subfolders that are refused."""
    if not sys.platform.startswith("linux"):
        return False
    one: Any = None
    try:
        one = Observer()
        one.schedule(FileSystemEventHandler(), os.fspath(path), event_filter=[DirMovedEvent])
        one.start()
    except OSError as error:
        return error.errno == errno.ENOSPC
    finally:
        if one is not None:
            _end(one)
    return False


def _threads_of(observer: Any) -> list[threading.Thread]:
    """An observer's own threads: which it needs differs from version to version of watchdog."""
    threads = [observer, *observer.emitters]
    return [*threads, *(value for one in threads for value in vars(one).values() if isinstance(value, BaseThread))]


def _end(observer: Any) -> None:
    """Ends an observer. One that is stuck, in a look or since a thread of its own has died, is left behind."""

    def end() -> None:
        try:
            observer.stop()
            if observer.is_alive():
                observer.join(timeout=10)
        except Exception:
            log.debug("watchdog could not end", exc_info=True)

    ending = threading.Thread(target=end, daemon=True)
    ending.start()
    ending.join(END_SECONDS)
