"""How much of a picture's work is done."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from liif_engine.errors import UsageError

#: Called with the share of the work done, 0 to 1; what it raises ends the work.
OnProgress = Callable[[float], None]


def check_callable(report: Any) -> None:
    """Refuses, before any work, what cannot be told of it.

    Raises:
        UsageError: it is neither None nor can it be called.
    """
    if report is not None and not callable(report):
        raise UsageError(f"on_progress is called with the share of the work done, and {report!r} cannot be called")


class Progress:
    """Counts multiply-adds of finished work; never goes back, though a tile may be done over."""

    def __init__(self, total: int, report: OnProgress | None) -> None:
        self.total, self.report = max(total, 1), report
        self.finished = 0
        self.tile = 0
        self.shown = 0.0

    def step(self, work: int) -> None:
        """Part of the present tile is done."""
        self.tile += work
        self.shown = max(self.shown, min((self.finished + self.tile) / self.total, 1.0))
        if self.report is not None:
            self.report(self.shown)

    def end_tile(self, work: int) -> None:
        """The present tile is done; it was worth `work`."""
        self.finished, self.tile = self.finished + work, 0
        self.step(0)

    def redo_tile(self) -> None:
        """The present tile starts over."""
        self.tile = 0
