"""What the daemon does now, for the strip at the page's head, which the browser asks for every few seconds."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from liif_daemon import progress
from liif_daemon.ledger.review import ReviewLedger
from liif_daemon.settings import Settings
from liif_daemon.status import as_time
from liif_engine.errors import printable


@dataclass(frozen=True)
class Working:
    """A picture at work: its name, target, share done in percent, and for how long."""

    name: str
    target: str
    percent: int
    since: str


@dataclass(frozen=True)
class Live:
    """The state of things.

    Attributes:
        running: whether a daemon runs.
        working: pictures at work.
        waiting: pictures that wait.
        left: how long they will take, in words; empty if unknown.
        counts: rows in each view.
        newest: the last result's place in the sequence; 0 if there is none.
        errors: what hinders the daemon.
        away: folders in which nothing is done now, and why.
    """

    running: bool
    working: list[Working]
    waiting: int
    left: str
    counts: dict[str, int]
    newest: int
    errors: list[str]
    away: list[tuple[str, str]]


def live(settings: Settings, ledger: ReviewLedger) -> Live:
    """Looks now."""
    said: dict[str, Any] = progress.read(settings) or {}
    overview = ledger.overview
    jobs, rate = overview.counts(), overview.rate()
    waits = overview.waiting(progress.watched(settings, said))
    newest = overview.recent("done", 1)
    return Live(
        running=bool(said),
        working=[_working(row) for row in said.get("working", [])],
        waiting=jobs["queued"],
        left=as_time(waits.megapixels / rate) if rate and waits.megapixels else "",
        counts=ledger.counts_by_view(),
        newest=newest[0].sequence if newest else 0,
        errors=[printable(said[key]) for key in ("config_error", "error", "store") if said.get(key)],
        away=[
            (printable(row["path"]), printable(row["why"]))
            for row in said.get("folders", [])
            if row["how"] in {"away", "silent"} and row["why"]
        ],
    )


def _working(row: dict[str, Any]) -> Working:
    since = as_time(max(0, time.time() - row["since"]))
    name = printable(str(row["path"]).rpartition("/")[2])
    return Working(name, str(row["target"]), round(100 * row["share"]), since)
