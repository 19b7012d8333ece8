"""The service's figures for Prometheus: queue, megapixels, seconds by stage, failures, memory, workers."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from liif_engine import memory
from liif_engine.figures import counter, gauge
from liif_engine.service.lines import PRIORITIES
from liif_engine.service.queue import Queue


class Figures(Collector):
    """The queue and its workers as they are when somebody looks; any thread may.

    Args:
        queue: whose figures.
    """

    def __init__(self, queue: Queue) -> None:
        self.queue = queue

    def collect(self) -> Iterator[Metric]:
        """Every metric."""
        yield from self._jobs()
        yield from self._memory()
        yield from self._workers()

    def describe(self) -> list[Metric]:
        """Nothing, so that registering asks for no figures."""
        return []

    def _jobs(self) -> Iterator[Metric]:
        queue = self.queue
        ended = [({"state": state}, count) for state, count in queue.totals.counts.items()]
        yield counter("jobs", "Jobs that are over, by how they ended.", ended)
        failed = [({"reason": kind}, count) for kind, count in queue.totals.failures.copy().items()]
        yield counter("failures", "Jobs that failed, by the kind of error.", failed)
        waiting = [({"priority": name}, queue.waiting(name)) for name in PRIORITIES]
        yield gauge("jobs_waiting", "Jobs that wait.", waiting)
        yield gauge("jobs_running", "Jobs at work.", len(queue.running))
        yield counter("retries", "Pieces of work whose worker died and that another began again.", queue.workers_lost())
        yield counter("work_seconds", "Seconds of work on jobs that were done.", queue.totals.work_seconds)
        stages = [({"stage": stage}, seconds) for stage, seconds in queue.totals.stages.copy().items()]
        words = (
            "The same by stage: wait (in the queue), read, restore (the network), write, carry (to another machine)."
        )
        yield counter("stage_seconds", words, stages)
        yield counter("source_pixels", "Pixels of all pictures that were restored.", queue.totals.source_pixels)
        yield counter("result_pixels", "Pixels of all results.", queue.totals.result_pixels)

    def _memory(self) -> Iterator[Metric]:
        yield gauge("held_bytes", "Pictures and results held.", self.queue.held_bytes)
        yield gauge("available_bytes", "Memory that work may still take.", memory.available_bytes())
        yield gauge("memory_bytes", "Memory that the service's own process holds.", memory.own_bytes()[0])

    def _workers(self) -> Iterator[Metric]:
        rows = [({"worker": str(index)}, row) for index, row in enumerate(self.queue.workers.status())]
        states = [({**labels, "state": row["state"]}, 1) for labels, row in rows]
        yield gauge("worker_state", "1 for the state that a worker is in.", states)
        yield counter("worker_pieces", "Pieces of work done.", [(labels, row["done"]) for labels, row in rows])
        restarts = [(labels, row["restarts"]) for labels, row in rows]
        yield counter("worker_restarts", "Workers that crashed, hung or were lost.", restarts)
        resident = [(labels, row["memory_bytes"]) for labels, row in rows]
        yield gauge("worker_memory_bytes", "Memory that a worker's process holds.", resident)
        peaks = [(labels, row["peak_bytes"]) for labels, row in rows]
        yield gauge("worker_peak_bytes", "The most memory that a worker's process ever held.", peaks)
        on_device = [({**labels, "device": row["device"]}, row["device_bytes"]) for labels, row in rows]
        yield gauge("worker_device_bytes", "Memory that a worker holds on its GPU.", on_device)
