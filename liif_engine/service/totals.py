"""What became of all jobs of a service since it started, in numbers; read by other threads too."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from liif_engine.service.job import Job


@dataclass
class Totals:
    """Sums over ended jobs.

    Attributes:
        counts: by state.
        failures: by the error's type.
        stages: seconds by stage of those that were done, `wait` among them.
        work_seconds: of those.
        source_pixels, result_pixels: of those.
    """

    counts: dict[str, int] = field(default_factory=lambda: {"done": 0, "failed": 0, "cancelled": 0})
    failures: Counter[str] = field(default_factory=Counter)
    stages: Counter[str] = field(default_factory=Counter)
    work_seconds: float = 0.0
    source_pixels: int = 0
    result_pixels: int = 0

    def add(self, job: Job) -> None:
        """Counts a job that is over."""
        self.counts[job.state] += 1
        if job.state == "failed":
            self.failures[type(job.error).__name__] += 1
        answer = job.answer
        if answer is not None:
            assert job.ended is not None  # it is over
            self.work_seconds += answer.seconds
            self.stages.update({"wait": (job.started or job.ended) - job.created, **answer.stages})
            self.source_pixels += answer.source_pixels
            self.result_pixels += answer.width * answer.height
