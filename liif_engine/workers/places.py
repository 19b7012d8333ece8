"""The three places where work is done, by what `--workers` says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from liif_engine.crew import Crew
from liif_engine.workers.here import HereWorkers
from liif_engine.workers.pool import Pool, ProcessWorkers, threads_for
from liif_engine.workers.spread import SPREAD_PIXELS, Spread
from liif_engine.workers.work import Workers, WorkerSettings

#: What a worker on a cluster may lose together with its machine is begun so often before it fails.
RAY_ATTEMPTS = 3


class Place(Workers, Protocol):
    """`Workers` that also count what was lost and begun again."""

    @property
    def lost(self) -> int:
        """Pieces of work that were begun again, since a worker died with them."""


def start(
    crew: Crew,
    settings: WorkerSettings,
    *,
    on_room: Callable[[], None] = lambda: None,
    spread_pixels: int = SPREAD_PIXELS,
) -> Place:
    """Starts workers.

    Args:
        crew: which.
        settings: how to work.
        on_room: called, from a thread of the workers' own, when there may be room again.
        spread_pixels: results from this size on are spread over all workers.

    Raises:
        WorkerError: Ray is not installed, or the cluster cannot be joined.
    """
    if crew.place == "here":
        return HereWorkers(settings, on_room=on_room)

    def make_pool(on_room: Callable[[], None]) -> Pool:
        if crew.place == "ray":
            from liif_engine.workers.cluster import RayWorkers

            lasting = replace(settings, attempts=max(settings.attempts, RAY_ATTEMPTS))
            return RayWorkers(lasting, crew.address, on_room=on_room)
        own = replace(settings, threads=settings.threads or threads_for(crew.count))
        return ProcessWorkers(own, count=crew.count, on_room=on_room)

    return Spread(make_pool, on_room=on_room, pixels=spread_pixels)
