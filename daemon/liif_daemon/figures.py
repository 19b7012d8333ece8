"""The daemon's figures for Prometheus: jobs, pixels, seconds by stage, retries, failures by reason, store, memory."""

from __future__ import annotations

import shutil
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from liif_daemon.ledger import Ledger
from liif_engine.figures import counter, gauge


class Tally:
    """What was counted since the daemon started; its methods may be called from any thread."""

    def __init__(self) -> None:
        self.stages: defaultdict[str, float] = defaultdict(float)
        self.failures: Counter[str] = Counter()
        self.retries: Counter[str] = Counter()
        self.pixels: Counter[str] = Counter()
        self._lock = threading.Lock()

    def took(self, stage: str, seconds: float) -> None:
        """A stage of a job took so long."""
        with self._lock:
            self.stages[stage] += seconds

    def failed(self, reason: str) -> None:
        """A job has failed for good."""
        with self._lock:
            self.failures[reason] += 1

    def again(self, reason: str) -> None:
        """A job will be tried again."""
        with self._lock:
            self.retries[reason] += 1

    def restored(self, source_pixels: int, result_pixels: int) -> None:
        """A job is done."""
        with self._lock:
            self.pixels.update({"source": source_pixels, "result": result_pixels})


class Figures(Collector):
    """All figures as they are when somebody looks; any thread may.

    Args:
        ledger: of the jobs.
        tally: of this run.
        store: folder of the originals.
    """

    def __init__(self, ledger: Ledger, tally: Tally, store: Path) -> None:
        self.ledger, self.tally, self.store = ledger, tally, store

    def collect(self) -> Iterator[Metric]:
        """Every metric."""
        tally, overview = self.tally, self.ledger.overview
        jobs = [({"state": state}, count) for state, count in overview.counts().items()]
        yield gauge("daemon_jobs", "Jobs in the ledger, by state.", jobs)
        yield gauge("daemon_waiting_pixels", "Pixels of all that waits.", overview.waiting().megapixels * 1e6)
        yield counter("daemon_source_pixels", "Pixels of pictures restored since the start.", tally.pixels["source"])
        yield counter("daemon_result_pixels", "Pixels of their results.", tally.pixels["result"])
        words = "Seconds of jobs by stage: look (is it still there), engine, verify (decode again), replace."
        yield counter("daemon_stage_seconds", words, [({"stage": key}, n) for key, n in tally.stages.copy().items()])
        retries = [({"reason": key}, count) for key, count in tally.retries.copy().items()]
        yield counter("daemon_retries", "Tries that failed and are repeated, by the kind of error.", retries)
        failures = [({"reason": key}, count) for key, count in tally.failures.copy().items()]
        yield counter("daemon_failures", "Jobs that failed for good, by the kind of error.", failures)
        count, size = self.ledger.originals.total()
        yield gauge("daemon_originals", "Originals in the store.", count)
        yield gauge("daemon_store_bytes", "Their bytes.", size)
        with suppress(OSError):
            yield gauge("daemon_store_free_bytes", "Room on the store's disk.", shutil.disk_usage(self.store).free)
        yield gauge("daemon_memory_bytes", "Memory that the daemon holds.", _resident())

    def describe(self) -> list[Metric]:
        """Nothing, so that registering asks for no figures."""
        return []


def _resident() -> int:
    with suppress(OSError, IndexError, ValueError):
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
    return 0
