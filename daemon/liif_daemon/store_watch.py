"""Whether the store of originals is there, said once when that changes: without it nothing is begun that needs it."""

from __future__ import annotations

import logging
import threading
import time

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
    """

    def __init__(self, store: Store, progress: Progress) -> None:
        self.store, self.progress = store, progress
        self._why, self._looked = "", -LOOK_SECONDS
        self._lock = threading.Lock()

    def why_away(self) -> str:
        """Why no original can be kept now; empty if nothing is known against it."""
        with self._lock:
            if time.monotonic() - self._looked >= LOOK_SECONDS:
                self._look()
                self._looked = time.monotonic()
            return self._why

    def _look(self) -> None:
        try:
            self.store.check()
            why = ""
        except OSError as error:
            why = f"{self.store.folder}: {error.strerror}"
        if why != self._why:
            self._why = why
            if why:
                log.warning("nothing is restored whose original is to be kept: %s", why)
            else:
                log.info("%s: the originals are there again", self.store.folder)
            self.progress.write(store=why or None)
