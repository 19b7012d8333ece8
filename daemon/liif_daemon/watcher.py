"""Watched folders: events become hints, never facts; a folder that goes away and comes back is noticed.

Each folder is looked at in a thread of its own, since a share whose server hangs answers nobody; the others go on.
"""

from __future__ import annotations

import errno
import logging
import os
import threading
import time
import uuid
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
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
from watchdog.observers.polling import PollingObserverVFS

from liif_daemon import asking, mounts, presence
from liif_daemon.asking import PATIENCE_SECONDS, Question, ask
from liif_daemon.ledger import Ledger
from liif_daemon.names import pictures, why_not
from liif_daemon.presence import MARKER
from liif_daemon.settings import FolderSettings
from liif_engine.errors import LiifError

log = logging.getLogger(__name__)

#: Watching that breaks off is begun anew no sooner than this after its beginning, since each beginning is a scan. [s]
LEAST_SECONDS = 30.0

#: How long anybody waits for the end of watching; one that is stuck, in a look, ends with its folder's silence. [s]
END_SECONDS = 3.0

#: How long a folder waits while another one's subfolders are being watched; then it counts less exactly. [s]
TURN_SECONDS = 60.0

#: What watchdog has in this process is counted before and after, so that one folder is begun at a time.
_BEGINNING = threading.Lock()

#: Called with a file and whether a writer has just closed it.
OnHint = Callable[[Path, FolderSettings, bool], None]

_EVENTS: list[type[FileSystemEvent]] = [
    DirCreatedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileMovedEvent,
]


@dataclass
class _Watch:
    """One folder: how it is watched now, and which folder that was; `has_answered` is whether it is there."""

    folder: FolderSettings
    look: Question = field(repr=False)
    has_answered: bool = False
    is_said: bool = False
    how: str = "away"
    why: str = ""
    identity: tuple[int, int] | None = None
    observer: Any = field(default=None, repr=False)
    threads: set[threading.Thread] = field(default_factory=set, repr=False)
    since: float = 0.0

    @property
    def is_silent(self) -> bool:
        return self.look.is_silent and not self.has_answered


class Watcher:
    """Watches folders.

    Args:
        folders: what to watch.
        ledger: remembers markers.
        poll_seconds: between two looks where there are no events.
        on_hint: called from any thread.
        on_lost: called with a folder in which events may have been missed: it is to be scanned.
        why_not: asked of a folder that is there, or returns, why nothing is to be done in it; empty if it is to be.
    """

    def __init__(
        self,
        folders: tuple[FolderSettings, ...],
        ledger: Ledger,
        poll_seconds: float,
        on_hint: OnHint,
        on_lost: Callable[[FolderSettings], None],
        why_not: Callable[[FolderSettings], str] = lambda _: "",
    ) -> None:
        self._why_not = why_not
        self.ledger, self.poll_seconds, self.on_hint, self.on_lost = ledger, poll_seconds, on_hint, on_lost
        self._over = threading.Event()
        self._watches = [self._watch(folder) for folder in folders]
        self._overflow = _OverflowHandler()
        logging.getLogger("watchdog.observers.inotify").addFilter(_is_news)

    def start(self, seconds: float | None = None) -> None:
        """Watches every folder that is there; asks for a scan of each.

        Args:
            seconds: how long to wait for folders that do not answer, which are watched when they do; None for so long
                that they count as silent.
        """
        logging.getLogger("watchdog.observers").addHandler(self._overflow)
        # Of a folder that watchdog finds twice, by its event and by its parent's: no news to anybody, on stderr.
        warnings.filterwarnings("ignore", "Callback with id", RuntimeWarning)
        self.tick(asking.SILENT_SECONDS if seconds is None else seconds)

    def stop(self) -> None:
        """Ends all watching."""
        self._over.set()
        logging.getLogger("watchdog.observers").removeHandler(self._overflow)
        ask((Question(partial(_disarm, watch)) for watch in self._watches), END_SECONDS)

    def tick(self, seconds: float = PATIENCE_SECONDS) -> None:
        """Called every second or so: notices folders that went or came, and events that were dropped or are no more."""
        ask((watch.look for watch in self._watches), seconds)
        for watch in self._watches:
            if watch.is_silent != watch.is_said:
                watch.is_said = watch.is_silent
                words = _unanswered(watch) if watch.is_silent else "it answers again"
                log.warning("%s: %s", watch.folder.path, words)
                if not watch.is_silent and watch.how != "away":
                    self.on_lost(watch.folder)
        if self._overflow.taken():
            log.warning("so many files changed at once that the system dropped events: looking at all folders")
            for watch in self._watches:
                self.on_lost(watch.folder)

    def present(self) -> list[FolderSettings]:
        """The folders that are there."""
        return [watch.folder for watch in self._watches if watch.how != "away" and not watch.is_silent]

    def silent(self) -> set[Path]:
        """The folders that do not answer."""
        return {watch.folder.path for watch in self._watches if watch.is_silent}

    def is_beginning(self) -> bool:
        """Whether it is not known yet of some folder whether it is there, or its watching is just being begun."""
        return any(watch.look.is_open and not watch.is_silent and watch.how == "away" for watch in self._watches)

    def status(self) -> list[dict[str, str]]:
        """How each folder is watched: path, how (events, polling, scans, away or silent) and why."""
        return [
            {"path": str(w.folder.path), "how": "silent", "why": _unanswered(w)}
            if w.is_silent
            else {"path": str(w.folder.path), "how": w.how, "why": w.why}
            for w in self._watches
        ]

    def _watch(self, folder: FolderSettings) -> _Watch:
        watch = _Watch(folder, Question(lambda: self._visit(watch)))
        return watch

    def _visit(self, watch: _Watch) -> None:
        """Notices whether a folder went or came, and begins or ends its watching; takes as long as the folder does."""
        watch.has_answered = False
        identity, why = self._look(watch)
        watch.has_answered = True
        if self._over.is_set():
            return
        if identity is None:
            _leave_alone(watch, why, None)
        elif identity != watch.identity or _broke_off(watch):
            if identity == watch.identity:
                log.warning("%s: watching broke off; it is begun anew", watch.folder.path)
            _disarm(watch)
            watch.how, watch.why, watch.identity = "away", "it is there, and about to be watched", identity
            self._begin(watch)

    def _begin(self, watch: _Watch) -> None:
        try:
            why = self._why_not(watch.folder)
        except LiifError as error:
            why, watch.identity = f"it is not known whether it may be begun: {error.message}", None
        if why:
            _leave_alone(watch, why, watch.identity)
            return
        self._arm(watch)
        if self._over.is_set():
            _disarm(watch)
        else:
            self.on_lost(watch.folder)

    def _look(self, watch: _Watch) -> tuple[tuple[int, int] | None, str]:
        """Which folder is there now; None and why if it is not the one that is meant."""
        path = watch.folder.path
        found = presence.look(path, self.ledger)
        if found.identity is not None and not (found.marker and found.is_marked) and mounts.is_mount(path):
            self._mark(path, found.marker)
        return found.identity, found.why

    def _mark(self, path: Path, known: str | None) -> None:
        """Marks a share, so that its absence can be told from its emptiness."""
        name, marker = known or uuid.uuid4().hex, path / MARKER
        try:
            if not marker.is_file():
                marker.write_text(name + "\n", "ascii")
            self.ledger.folders.mark(path, name)
        except (OSError, LiifError):
            return  # a read-only share, where nothing will be replaced either; or the ledger's disk is full

    def _arm(self, watch: _Watch) -> None:
        """Begins to watch, by events if they can be had."""
        folder, watch.since = watch.folder, time.monotonic()
        polling, watch.why = folder.polling is True, "polling is on"
        if folder.polling == "auto" and mounts.is_network(folder.path):
            polling, watch.why = True, f"{mounts.kind_of(folder.path)} does not tell of changes made elsewhere"
        if not polling:
            try:
                watch.observer = self._observe(watch, Observer(), _EVENTS)
                watch.how, watch.why = "events", ""
                return
            except OSError as error:
                watch.why = _exhausted(error)
                log.warning("%s: %s", folder.path, watch.why)
        else:
            log.info("%s: looked at every %g s, since %s", folder.path, self.poll_seconds, watch.why)
        try:
            # Its own way, `stat`, would follow symbolic links: out of the folder, or round and round in it.
            observer = PollingObserverVFS(stat=os.lstat, listdir=os.scandir, polling_interval=self.poll_seconds)
            watch.observer = self._observe(watch, observer, [*_EVENTS, FileModifiedEvent])
            watch.how = "polling"
        except OSError as error:
            watch.how, watch.why = "scans", f"it cannot be watched ({error.strerror}); scans alone find what is new"

    def _observe(self, watch: _Watch, observer: Any, events: list[type[FileSystemEvent]]) -> Any:
        folder = watch.folder
        handler = _Handler(folder, self.on_hint)
        # Without a slash at its end, of a folder that is a symbolic link the link would be watched.
        place = os.path.join(folder.path, "")  # noqa: PTH118 - a Path has no such slash
        with _one_at_a_time():
            before, others = _inotify_watches(), _watchdogs()
            try:
                observer.schedule(handler, place, recursive=folder.recursive, event_filter=events)
                observer.start()
                if folder.recursive and events is _EVENTS and not _all_watched(folder.path, before):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            except OSError:
                _end(observer)
                raise
            watch.threads = _watchdogs() - others
        return observer


class _Handler(FileSystemEventHandler):
    """Turns one folder's events into hints."""

    def __init__(self, folder: FolderSettings, on_hint: OnHint) -> None:
        self.folder, self.on_hint = folder, on_hint

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Whatever happened, the file's present name is what counts."""
        try:
            self._hint(event)
        except OSError as error:  # a folder that has gone again; it would end watchdog's thread, and with it all events
            log.info("%s: %s", self.folder.path, error)

    def _hint(self, event: FileSystemEvent) -> None:
        path = Path(os.fsdecode(event.dest_path or event.src_path))
        if isinstance(event, DirCreatedEvent | DirMovedEvent):
            # What was put into it before it was watched has no event of its own.
            if self.folder.recursive and why_not(path / "a.jpg", self.folder.model_copy(update=_ANY)) is None:
                for found in pictures(self.folder, path):
                    self.on_hint(found, self.folder, False)
        elif self.folder.path in path.parents and why_not(path, self.folder) is None:
            self.on_hint(path, self.folder, isinstance(event, FileClosedEvent | FileMovedEvent))


def _is_news(record: logging.LogRecord) -> bool:
    """False of the error that watchdog logs if a watch is ended while its thread is about to read; it was meant to."""
    return "when the thread is inactive" not in record.getMessage()


class _OverflowHandler(logging.Handler):
    """watchdog says in its log alone that the system's queue of events has overflowed."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._seen = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        """Looks for the word."""
        if "overflow" in record.getMessage().lower():
            self._seen.set()

    def taken(self) -> bool:
        """Whether it happened since the last call."""
        seen = self._seen.is_set()
        self._seen.clear()
        return seen


_ANY: dict[str, Any] = {"include": ("*",), "exclude": ()}


def _unanswered(watch: _Watch) -> str:
    since = time.strftime("%H:%M:%S", time.localtime(watch.look.since))
    return f"it has not answered since {since}, as a share does whose server is out of reach; the others go on"


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    is_ours = _BEGINNING.acquire(timeout=TURN_SECONDS)
    try:
        yield
    finally:
        if is_ours:
            _BEGINNING.release()


def _leave_alone(watch: _Watch, why: str, identity: tuple[int, int] | None) -> None:
    if watch.how != "away" or watch.why != why:
        log.warning("%s: %s", watch.folder.path, why)
    _disarm(watch)
    watch.how, watch.why, watch.identity = "away", why, identity


def _disarm(watch: _Watch) -> None:
    if watch.observer is not None:
        _end(watch.observer)
        watch.observer = None


def _broke_off(watch: _Watch) -> bool:
    """Whether a thread that tells of events has ended; an error of watchdog's own does that without a word to us."""
    if watch.observer is None or time.monotonic() - watch.since < LEAST_SECONDS:
        return False
    return not all(thread.is_alive() for thread in watch.threads)


def _watchdogs() -> set[threading.Thread]:
    """watchdog's own threads: which of them an observer needs differs from version to version."""
    return {thread for thread in threading.enumerate() if type(thread).__module__.partition(".")[0] == "watchdog"}


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


def _exhausted(error: OSError) -> str:
    """What it means that inotify refuses."""
    if error.errno in {errno.ENOSPC, errno.EMFILE}:
        return (
            "the system has no more inotify watches, so the folder is looked at from time to time instead. For events:"
            " sudo sysctl fs.inotify.max_user_watches=524288 fs.inotify.max_user_instances=512"
        )
    return f"the system does not tell of its changes ({error.strerror}), so it is looked at from time to time"


def _all_watched(path: Path, before: int) -> bool:
    """Whether each folder of a tree has got its inotify watch: watchdog goes on without those that are refused."""
    have = _inotify_watches() - before
    if have <= 0:
        return True  # the system does not let us count
    with os.scandir(path):
        wanted = sum(1 for _ in os.walk(path))
    # A folder may have come or gone meanwhile.
    return have >= wanted - 2


def _inotify_watches() -> int:
    """How many inotify watches this process has; 0 where that cannot be told."""
    count = 0
    try:
        for entry in os.scandir("/proc/self/fdinfo"):
            try:
                count += Path(entry.path).read_text().count("inotify wd:")
            except OSError:
                continue
    except OSError:
        return 0
    return count
