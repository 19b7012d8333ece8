"""Scans find what events have missed: every file of a folder is hinted at that is not known as it is now."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from pathlib import Path

from liif_daemon.ledger import Glance, Ledger
from liif_daemon.look import Looker
from liif_daemon.names import pictures
from liif_daemon.posts import Turn
from liif_daemon.settings import FolderSettings


class Scans:
    """The folders that are to be scanned; any thread may ask for one.

    Args:
        ledger: knows the files that were looked at.
        looker: is told what cannot be read.
        stopping: ends a scan.
        on_hint: called with each file that is not known, and its folder.
        on_workplace: called with each folder of temporary files.
    """

    def __init__(
        self,
        ledger: Ledger,
        looker: Looker,
        stopping: threading.Event,
        on_hint: Callable[[Path, FolderSettings], None],
        on_workplace: Callable[[Path], None],
    ) -> None:
        self.ledger, self.looker, self.stopping = ledger, looker, stopping
        self.on_hint, self.on_workplace = on_hint, on_workplace
        self._asked: dict[Path, FolderSettings] = {}
        self._lock = threading.Lock()

    def ask(self, folder: FolderSettings) -> None:
        """A folder is to be scanned; if it is just being scanned, once more."""
        with self._lock:
            self._asked[folder.path] = folder.model_copy()  # another one than that which may be at work

    def clear(self) -> None:
        """None is to be scanned."""
        with self._lock:
            self._asked.clear()

    def due(self, silent: Collection[Path]) -> dict[Path, FolderSettings]:
        """The folders that are to be scanned, but those that do not answer."""
        with self._lock:
            return {path: folder for path, folder in self._asked.items() if path not in silent}

    def make(self, turn: Turn, silent: Collection[Path]) -> None:
        """Makes all scans that are due.

        Raises:
            OutputError: the ledger cannot be read; what was not done is still due.
        """
        for path, folder in self.due(silent).items():
            with turn.touching(path):
                self._make(folder, turn)
            if turn.is_over:
                return
            with self._lock:
                if self._asked.get(path) is folder:  # otherwise it was asked for again meanwhile
                    del self._asked[path]

    def _make(self, folder: FolderSettings, turn: Turn) -> None:
        def is_stopped(place: Path) -> bool:
            turn.goes_on(folder.path, place)
            return turn.is_over or self.stopping.is_set()

        for found in pictures(folder, folder.path, is_stopped, self.looker.miss, self.on_workplace):
            turn.goes_on(folder.path, found)
            try:
                if not self.ledger.looks.knows(found, Glance.of(found), folder.rules):
                    self.on_hint(found, folder)
            except FileNotFoundError:
                continue
            except OSError as error:
                self.looker.miss(found, error)
