"""Where work is done: one interface, and a place behind it - supervised processes on this machine.

``ProcessWorkers(WorkerSettings()).submit(FileWork("old.jpg", None, Target(scale=2)))`` gives a `Ticket`, which is a
`concurrent.futures.Future` that can be stopped while it runs. Nothing here loads torch; only the workers do.
"""

from __future__ import annotations

from liif_engine.workers.pool import ProcessWorkers
from liif_engine.workers.segment import Segment
from liif_engine.workers.work import Answer, FileWork, PixelWork, Ticket, Work, Workers, WorkerSettings

__all__ = [
    "Answer",
    "FileWork",
    "PixelWork",
    "ProcessWorkers",
    "Segment",
    "Ticket",
    "Work",
    "WorkerSettings",
    "Workers",
]
