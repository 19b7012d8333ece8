"""Where work is done: one interface, and behind it this process, processes of this machine, or a Ray cluster.

``ProcessWorkers(WorkerSettings()).submit(FileWork("old.jpg", None, Target(scale=2)))`` gives a `Ticket`, which is a
`concurrent.futures.Future` that can be stopped while it runs. `start` makes the workers that `--workers` names. Nothing
here loads torch; only the workers do. Ray is loaded only where it is asked for.
"""

from __future__ import annotations

from liif_engine.workers.here import HereWorkers
from liif_engine.workers.places import start
from liif_engine.workers.pool import Pool, ProcessWorkers
from liif_engine.workers.segment import Segment
from liif_engine.workers.spread import Spread
from liif_engine.workers.work import Answer, FileWork, PixelWork, Ticket, Work, Workers, WorkerSettings

__all__ = [
    "Answer",
    "FileWork",
    "HereWorkers",
    "PixelWork",
    "Pool",
    "ProcessWorkers",
    "Segment",
    "Spread",
    "Ticket",
    "Work",
    "WorkerSettings",
    "Workers",
    "start",
]
