"""What a thread of the daemon does while the ledger cannot be used: its disk is full or gone."""

from __future__ import annotations

import logging
import threading

from liif_daemon.progress import Progress
from liif_engine.errors import LiifError

log = logging.getLogger(__name__)


class Outage:
    """One thread's.

    Args:
        progress: shows the error, for as long as it lasts.
        stopping: ends the waiting.

    Attributes:
        tries: that failed in a row; 0 while there is no outage.
    """

    def __init__(self, progress: Progress, stopping: threading.Event) -> None:
        self._progress, self._stopping = progress, stopping
        self.tries, self._said = 0, ""

    def wait(self, error: LiifError, seconds: float) -> None:
        """Waits before the next try; the log is told when it begins and when its reason is another one."""
        self.tries += 1
        words = error.explain()
        if words != self._said:  # `status` goes on saying it
            log.error("%s", words)
            self._said = words
        self._progress.write(error=words)
        self._stopping.wait(seconds)

    def over(self) -> None:
        """The ledger can be used, maybe again."""
        if self.tries:
            self._progress.write(error=None)
            self.tries, self._said = 0, ""
