"""Where jobs wait: a line for each priority, in which clients take turns."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable

from liif_engine.service.job import Job

#: Whose jobs go first.
PRIORITIES = ("person", "backlog")


class Lines:
    """The jobs that wait."""

    def __init__(self) -> None:
        self._turns: dict[str, OrderedDict[str, deque[Job]]] = {name: OrderedDict() for name in PRIORITIES}

    def count(self, priority: str) -> int:
        """How many wait; any thread may ask."""
        return sum(len(jobs) for jobs in list(self._turns[priority].values()))

    def add(self, job: Job) -> None:
        """The last one of its client."""
        self._turns[job.asked.priority].setdefault(job.asked.client, deque()).append(job)

    def put_back(self, job: Job) -> None:
        """The job is the first one again, and its client's turn has come."""
        turns = self._turns[job.asked.priority]
        turns.setdefault(job.asked.client, deque()).appendleft(job)
        turns.move_to_end(job.asked.client, last=False)

    def remove(self, job: Job) -> None:
        """Takes out a job that waits, wherever it stands."""
        turns = self._turns[job.asked.priority]
        jobs = turns[job.asked.client]
        jobs.remove(job)
        if not jobs:
            del turns[job.asked.client]

    def take(self, priority: str, may_start: Callable[[Job], bool]) -> Job | None:
        """The first job of the client whose turn it is; the client goes to the end of the line.

        Args:
            priority: of the line.
            may_start: a client whose first job may not start keeps its turn.

        Returns:
            The job, which waits no more; None if none may start now.
        """
        turns = self._turns[priority]
        job = next((jobs[0] for jobs in turns.values() if may_start(jobs[0])), None)
        if job is not None:
            self.remove(job)
            if job.asked.client in turns:
                turns.move_to_end(job.asked.client)
        return job
