"""Originals leave the store when the time that was promised to them is over, and never earlier."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from liif_daemon import places
from liif_daemon.ledger import Ledger
from liif_daemon.store import Store
from liif_engine.errors import LiifError, OutputError

log = logging.getLogger(__name__)

_SECONDS_PER_DAY = 86400


@dataclass(frozen=True)
class Pruned:
    """What left the store, or would: how many originals, how many bytes."""

    count: int
    size: int


def prune(
    ledger: Ledger,
    store: Store,
    *,
    older_than_days: float | None = None,
    also: frozenset[str] = frozenset(),
    dry_run: bool = False,
    is_stopped: Callable[[], bool] = lambda: False,
) -> Pruned:
    """Lets originals go.

    Args:
        ledger: open.
        store: of the originals.
        older_than_days: also those whose time is not over, if they lie there for longer than this; None for only those
            whose time is over.
        also: SHA-256 of originals that go whether their time is over or not.
        dry_run: only counts.
        is_stopped: asked before each original; none goes any more once it says so.

    Raises:
        LiifError: other ledgers keep originals in the same store, or another process lets some go; nothing is let go.
        OutputError: the system refuses to remove one.
    """
    if dry_run:
        return _prune(ledger, store, older_than_days, also, is_stopped, lambda _: True)
    with _alone(ledger):
        _go_on(ledger, store)
        return _prune(ledger, store, older_than_days, also, is_stopped, lambda row: _let_go(row, ledger, store))


def _prune(
    ledger: Ledger,
    store: Store,
    older_than_days: float | None,
    also: frozenset[str],
    is_stopped: Callable[[], bool],
    let_go: Callable[[sqlite3.Row], bool],
) -> Pruned:
    now, count, size = ledger.clock.now(), 0, 0
    for row in ledger.originals.all():
        if is_stopped():
            break
        over = row["until"] <= now or row["sha256"] in also
        if older_than_days is not None:
            over |= now - row["stored"] > older_than_days * _SECONDS_PER_DAY
        # A time in the future is of a clock that was wrong, when the ledger had none of its own.
        if not over or row["stored"] > now or _is_needed(ledger, row["sha256"]):
            continue
        with _in_words(store.folder):
            _be_alone(store)
            if not let_go(row):
                continue
        count, size = count + 1, size + row["size"]
    return Pruned(count, size)


def _let_go(original: sqlite3.Row, ledger: Ledger, store: Store) -> bool:
    """First the ledger, then the store, which may not answer for long: nobody else's change waits for that."""
    if not ledger.originals.let_go(original):
        return False
    _remove(original["sha256"], ledger, store)
    return True


@contextmanager
def _alone(ledger: Ledger) -> Iterator[None]:
    """One at a time: a removal that a store has held up comes to its end some day, and must not meet a newer copy."""
    lock = ledger.path.with_name("prune.lock")
    with _in_words(lock), places.held(lock) as is_ours:
        if not is_ours:
            message = "another process is letting originals go, or waits for a store that does not answer"
            raise LiifError(message, path=ledger.path.parent, remedy="Try again when it has ended.")
        yield


def _go_on(ledger: Ledger, store: Store) -> None:
    """Ends what somebody had begun who was killed."""
    for sha256 in ledger.originals.leaving():
        with _in_words(store.folder):
            _be_alone(store)
            _remove(sha256, ledger, store)


def _remove(sha256: str, ledger: Ledger, store: Store) -> None:
    try:
        store.remove(sha256)
    except OSError:
        ledger.originals.has_left(sha256, is_gone=False)
        raise
    ledger.originals.has_left(sha256, is_gone=True)


@contextmanager
def _in_words(place: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(f"no original can be let go there ({error.strerror})", path=place) from error


def _be_alone(store: Store) -> None:
    """What this ledger no longer needs, another may have promised."""
    if others := store.claim():
        names = " and ".join(map(str, others))
        raise LiifError(
            f"no original is let go: {names} keeps originals here too",
            path=store.folder,
            remedy=(
                "Give each its own daemon.originals."
                " If that ledger is gone for good, remove the file in ledgers/ that names it."
            ),
        )


def _is_needed(ledger: Ledger, sha256: str) -> bool:
    return any(job.state in {"queued", "claimed"} for job in ledger.jobs(sha256=sha256))
