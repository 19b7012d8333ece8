"""How long a worker may be silent before it counts as hanging, and idle before it is released."""

from __future__ import annotations

import time

from liif_engine.workers.work import WorkerSettings

#: How often a silent worker is looked at. [s]
TICK_SECONDS = 0.5


class Patience:
    """The clock of one worker; whoever supervises that calls it under a lock of its own.

    Args:
        settings: how long a silence, and an idleness, may last.
    """

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        self._idle_since = time.monotonic()
        self.begin()

    @property
    def tick_seconds(self) -> float:
        """How long to listen for a word before looking at the clock."""
        return min(TICK_SECONDS, self._settings.patience_seconds / 4)

    def begin(self) -> None:
        """A process starts, or work is given to one that had none."""
        self.hear()
        self.slow_down()

    def hear(self) -> None:
        """It has said something."""
        self._heard = time.monotonic()

    def slow_down(self) -> None:
        """What it is at may read or write a file from now on, which is silent."""
        self._limit = self._settings.slow_patience_seconds

    def await_begin(self) -> None:
        """It has nothing to do, and is handed work: its word that it begins comes at once if it lives."""
        self._limit = min(self._settings.begin_patience_seconds, self._settings.slow_patience_seconds)

    def come_to(self, share: float) -> None:
        """So much of a piece of work is done, 0 to 1; before its first strip and after its last it is slow."""
        computing = 0 < share < 1
        self._limit = self._settings.patience_seconds if computing else self._settings.slow_patience_seconds

    def rest(self) -> None:
        """Work has ended."""
        self._heard = self._idle_since = time.monotonic()

    def silent_seconds(self) -> float:
        """Since it last said something."""
        return time.monotonic() - self._heard

    def is_over(self) -> bool:
        """Whether one that is at work, or starts, has been silent for too long."""
        return self.silent_seconds() > self._limit

    def has_idled(self) -> bool:
        """Whether one without work is to be released."""
        after = self._settings.release_after_seconds
        return after is not None and time.monotonic() - self._idle_since > after
