"""Whether the store of originals is there, said once when that changes: without it nothing is begun that needs it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from liif_daemon.asking import PATIENCE_SECONDS, SILENT_WORDS, Question
from liif_daemon.progress import Progress
from liif_daemon.store import Store

log = logging.getLogger(__name__)

#: It is looked at no more often than this. [s]
LOOK_SECONDS = 1.0


class StoreWatch:
    """Looks at the store when asked; its methods may be called from any thread.

    Args:
        store: of the originals.
        progress: is told.
        begin: what is to be done before the store is used for the first time.
    """

    def __init__(self, store: Store, progress: Progress, begin: Callable[[], object] = lambda: None) -> None:
        self.store, self.progress, self._begin = store, progress, begin
        self._has_begun = False
        self._found, self._why, self._looked = "", "", -LOOK_SECONDS
        self._look = Question(self._check)
        self._lock = threading.Lock()

    def why_away(self) -> str:
        """Why no original can be kept now; empty if nothing is known against it."""
        with self._lock:
            if time.monotonic() - self._looked >= LOOK_SECONDS:
                self._looked = time.monotonic()
                if self._look.put():
                    self._look.wait(PATIENCE_SECONDS)
                self._tell(self._now())
            return self._why

    def _now(self) -> str:
        if self._look.is_silent:
            return f"{self.store.folder}: {SILENT_WORDS}"
        if self._look.is_open and not self._has_begun and not self._found:
            return f"{self.store.folder}: it has not answered yet"
        return self._found

    def _check(self) -> None:
        try:
            if not self._has_begun:
                self._begin()
                self._has_begun = True
            self.store.check()
            self._found = ""
        except OSError as error:
            self._found = f"{self.store.folder}: {error.strerror}"

    def _tell(self, why: str) -> None:
        if why != self._why:
            self._why = why
            if why:
                log.warning("nothing is restored whose original is to be kept: %s", why)
            else:
                log.info("%s: the originals are there again", self.store.folder)
            self.progress.write(store=why or None)
