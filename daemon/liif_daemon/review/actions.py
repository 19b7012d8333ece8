"""What the page's buttons do: the very functions of `liif-daemon undo` and `retry`, and the ledger's reviews."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from liif_daemon.ledger import Job
from liif_daemon.ledger.review import ReviewLedger
from liif_daemon.renamed import bring_back, elsewhere
from liif_daemon.store import Store
from liif_daemon.undo import ChangedSince
from liif_daemon.undoable import undoable
from liif_engine.errors import LiifError, UsageError, printable


@dataclass(frozen=True)
class Said:
    """What came of a click: words, and whether it is bad news."""

    words: str
    bad: bool = False


class Actions:
    """The buttons. One click is done at a time.

    Args:
        ledger: open.
        store: of the originals.
    """

    def __init__(self, ledger: ReviewLedger, store: Store) -> None:
        self.ledger, self.store = ledger, store
        self.said: deque[Said] = deque(maxlen=20)
        self._lock = threading.Lock()

    def do(self, name: str, jobs: list[Job], *, force: bool = False) -> bool:
        """Does one thing with some rows, and puts what came of it into `said`.

        Args:
            name: ``undo``, ``keep``, ``again`` (look at it again) or ``retry``.
            jobs: the rows.
            force: of `undo`.

        Returns:
            Whether it worked.
        """
        actions: dict[str, Callable[[], str]] = {
            "undo": lambda: self._undo(jobs, force=force),
            "keep": lambda: self._keep(jobs),
            "again": lambda: self._look_again(jobs),
            "retry": lambda: self._retry(jobs),
        }
        try:
            with self._lock:
                self.said.append(Said(actions[name]()))
        except ChangedSince as error:
            self.said.append(Said(f"{error}. “Undo all the same” is on the picture's own page.", bad=True))
            return False
        except LiifError as error:
            self.said.append(Said(error.explain(), bad=True))
            return False
        except OSError as error:
            self.said.append(Said(f"{_names(jobs)}: {error.strerror or error}", bad=True))
            return False
        return True

    def _undo(self, jobs: list[Job], *, force: bool) -> str:
        more = ""
        for job in jobs:
            chosen = [one for one in undoable(job.path, self.ledger) if one.id == job.id]
            if not chosen:
                message = "there is nothing of this to undo: it is undone, or something newer was restored there"
                raise LiifError(message, path=job.path, remedy="")
            found = elsewhere(chosen, self.ledger).get(job.id)
            more += bring_back(chosen[0], found, self.ledger, self.store, force=force)
        return f"{_names(jobs)}: the original is back{more}."

    def _keep(self, jobs: list[Job]) -> str:
        if self.ledger.review(jobs) < len(jobs):
            raise UsageError("has changed meanwhile: look at it again", path=jobs[0].path if len(jobs) == 1 else None)
        return f"{_names(jobs)}: kept."

    def _look_again(self, jobs: list[Job]) -> str:
        for job in jobs:
            self.ledger.forget_review(job)
        return f"{_names(jobs)}: to be looked at again."

    def _retry(self, jobs: list[Job]) -> str:
        if self.ledger.retry(jobs) < len(jobs):
            raise UsageError("cannot be queued in its state now", path=jobs[0].path if len(jobs) == 1 else None)
        return f"{_names(jobs)}: queued."


def _names(jobs: list[Job]) -> str:
    return printable(jobs[0].path.name) if len(jobs) == 1 else f"{len(jobs)} pictures"
