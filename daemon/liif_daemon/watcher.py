"""Watched folders: events become hints, never facts; a folder that goes away and comes back is noticed.

Each folder is looked at in a thread of its own, since a share whose server hangs answers nobody; the others go on.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from liif_daemon import asking, mounts, presence
from liif_daemon.asking import PATIENCE_SECONDS, Question, ask
from liif_daemon.ledger import Ledger
from liif_daemon.neighbours import Claim
from liif_daemon.observe import END_SECONDS, Observation, OnHint
from liif_daemon.overflow import Overflow
from liif_daemon.presence import MARKER
from liif_daemon.settings import FolderSettings
from liif_daemon.told import AT_THE_END
from liif_engine.errors import LiifError

log = logging.getLogger(__name__)


@dataclass
class _Watch:
    """One folder: how it is watched now, and which folder that is.

    Attributes:
        look: whether it is there, asked all the time.
        begin: its watching, which takes as long as its subfolders do.
        found: the folder that is there.
        identity: the one that is watched, or was found not to be begun.
        said: why it is not watched, as the log has it.
    """

    folder: FolderSettings
    look: Question = field(repr=False)
    begin: Question = field(repr=False)
    how: str = "away"
    why: str = ""
    found: tuple[int, int] | None = None
    identity: tuple[int, int] | None = None
    observation: Observation | None = field(default=None, repr=False)
    claim: Claim | None = field(default=None, repr=False)
    is_said: bool = False
    said: str = ""

    @property
    def is_silent(self) -> bool:
        return self.look.is_silent


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
        self._overflow = Overflow()

    def start(self, seconds: float | None = None) -> None:
        """Watches every folder that is there; asks for a scan of each.

        Args:
            seconds: how long to wait for folders that do not answer, which are watched when they do; None for so long
                that they count as silent.
        """
        self._overflow.listen()
        self.tick(asking.SILENT_SECONDS if seconds is None else seconds)

    def stop(self) -> None:
        """Ends all watching."""
        self._over.set()
        self._overflow.leave()
        ask((Question(partial(_disarm, watch)) for watch in self._watches), END_SECONDS)

    def tick(self, seconds: float = PATIENCE_SECONDS) -> None:
        """Called every second or so: notices folders that went or came, and events that were dropped or are no more."""
        deadline = time.monotonic() + seconds
        waited_for = [watch.begin for watch in self._watches if not watch.begin.is_open]
        ask((watch.look for watch in self._watches), seconds)
        for begin in waited_for:
            begin.wait(deadline - time.monotonic())
        for watch in self._watches:
            if watch.is_silent != watch.is_said:
                watch.is_said = watch.is_silent
                words = _unanswered(watch) if watch.is_silent else "it answers again"
                log.warning("%s: %s", watch.folder.path, words, extra=AT_THE_END if watch.is_silent else None)
                if not watch.is_silent and watch.how != "away":
                    self.on_lost(watch.folder)
        if self._overflow.taken():
            log.warning("so many files changed at once that the system dropped events: looking at all folders")
            for folder in self.present():
                self.on_lost(folder)

    def present(self) -> list[FolderSettings]:
        """The folders that are there."""
        return [watch.folder for watch in self._watches if watch.how != "away" and not watch.is_silent]

    def silent(self) -> set[Path]:
        """The folders that do not answer."""
        return {watch.folder.path for watch in self._watches if watch.is_silent}

    def is_beginning(self) -> bool:
        """Whether it is not known yet of some folder whether it is there, or its watching is just being begun."""
        return any(
            not watch.is_silent and ((watch.look.is_open and watch.how == "away") or watch.begin.is_open)
            for watch in self._watches
        )

    def status(self) -> list[dict[str, str]]:
        """How each folder is watched: path, how (events, polling, scans, away or silent) and why."""
        return [
            {"path": str(w.folder.path), "how": "silent", "why": _unanswered(w)}
            if w.is_silent
            else {"path": str(w.folder.path), "how": w.how, "why": w.why}
            for w in self._watches
        ]

    def _watch(self, folder: FolderSettings) -> _Watch:
        watch = _Watch(folder, Question(lambda: self._visit(watch)), Question(lambda: self._begin(watch)))
        return watch

    def _visit(self, watch: _Watch) -> None:
        """Notices whether a folder went or came; its watching is begun beside this."""
        watch.found, why = self._look(watch)
        if self._over.is_set() or watch.begin.is_open:
            return
        has_broken_off = watch.observation is not None and watch.observation.has_broken_off()
        if watch.found is None:
            _leave_alone(watch, why, None)
        elif watch.found != watch.identity or has_broken_off:
            if watch.found == watch.identity:
                log.warning("%s: watching broke off; it is begun anew", watch.folder.path)
            watch.how, watch.why = "away", "it is there, and about to be watched"
            watch.begin.put()

    def _begin(self, watch: _Watch) -> None:
        """Watches a folder, unless nothing is to be done in it. What cannot be told leaves it without an identity."""
        identity, watch.identity = watch.found, None
        _disarm(watch)
        try:
            why = self._why_not(watch.folder)
        except LiifError as error:
            why, identity = f"it is not known whether it may be begun: {error.message}", None
        if why:
            _leave_alone(watch, why, identity)
            return
        watch.observation = Observation(watch.folder, self.poll_seconds, self.on_hint)
        watch.claim = Claim(watch.folder)
        if self._over.is_set():
            _disarm(watch)
            return
        watch.identity, watch.said = identity, ""
        watch.how, watch.why = watch.observation.how, watch.observation.why
        if warning := watch.claim.warning():
            log.warning("%s: %s", watch.folder.path, warning)
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
                with marker.open("x", encoding="ascii") as file:  # never through a link that somebody has put there
                    file.write(name + "\n")
            self.ledger.folders.mark(path, name)
        except (OSError, LiifError):
            return  # a read-only share, where nothing will be replaced either; or the ledger's disk is full


def _unanswered(watch: _Watch) -> str:
    since = time.strftime("%H:%M:%S", time.localtime(watch.look.since))
    return f"it has not answered since {since}, as a share does whose server is out of reach; the others go on"


def _leave_alone(watch: _Watch, why: str, identity: tuple[int, int] | None) -> None:
    if watch.said != why:
        log.warning("%s: %s", watch.folder.path, why, extra=AT_THE_END)
    _disarm(watch)
    watch.how, watch.why, watch.said, watch.identity = "away", why, why, identity


def _disarm(watch: _Watch) -> None:
    observation, watch.observation = watch.observation, None
    if observation is not None:
        observation.end()
    claim, watch.claim = watch.claim, None
    if claim is not None:
        claim.end()
