"""Many files, one after the other on the device, while other threads read the next ones and write the last ones."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from liif_engine import file, memory
from liif_engine.errors import ExitCode, LiifError
from liif_engine.file import Computed, Outcome
from liif_engine.picture.image_file import Limits, Picture
from liif_engine.plan import Plan
from liif_engine.threads import usable

if TYPE_CHECKING:
    from liif_engine.progress import OnProgress
    from liif_engine.restore import Engine

#: Pictures read before the device has time for them. Two, since one of them may be small.
READ_AHEAD = 2

#: Threads that read and write: encoding AVIF or PNG takes far longer than a GPU takes to compute it.
MOST_THREADS = 8


@dataclass(frozen=True)
class Options:
    """How files are restored; as the arguments of `file.run`."""

    quality: int = 95
    overwrite: bool = False
    allow_truncated: bool = False
    limits: Limits | None = None


class Report(Protocol):
    """Hears what became of each file, in the order of the plans, always in the thread that called `restore_files`."""

    def restored(self, outcome: Outcome) -> None:
        """A file is done."""

    def failed(self, plan: Plan, error: Exception) -> None:
        """A file failed; what this raises ends the work."""

    def computing(self, plan: Plan) -> AbstractContextManager[OnProgress | None]:
        """A file is computed inside; what is given is called with the share done."""


@dataclass
class _Job:
    """One file on its way: first its picture is awaited, then its notes."""

    plan: Plan
    cost: int
    picture: Future[Picture] = field(default_factory=Future)
    computed: Computed | None = None
    notes: Future[tuple[str, ...]] | None = None
    error: Exception | None = None
    stages: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def at_work(self, stage: str) -> Iterator[None]:
        """Counts the time inside; waiting for others is none of a file's own."""
        started = time.monotonic()
        yield
        self.stages[stage] = self.stages.get(stage, 0.0) + time.monotonic() - started


def restore_files(engine: Engine, plans: Sequence[Plan], options: Options, report: Report) -> None:
    """Carries out the plans; a file's failure is reported and the others go on.

    The network computes in the calling thread. Memory is bounded: besides the file at work, no more is read or waits to
    be written than `memory.waiting_bytes`; a file larger than that has the memory for itself. What
    ends the calling thread's work (Ctrl+C) ends reading and computing; a result that is being written is completed.

    Args:
        engine: the model to use.
        plans: of files no two of which have the same destination.
        options: for all of them.
        report: hears of each.
    """
    with ThreadPoolExecutor(min(MOST_THREADS, usable() + 1), "liif-file") as threads:
        line = _Line(engine, options, report, threads)
        try:
            for plan in plans:
                line.enter(plan)
            line.compute_all()
        finally:
            # However it ends, what has not begun does not begin, and what was written is told.
            threads.shutdown(wait=True, cancel_futures=True)
            line.tell_written()


class _Line:
    """The files between their plan and their report, the oldest first."""

    def __init__(self, engine: Engine, options: Options, report: Report, threads: ThreadPoolExecutor) -> None:
        self.engine, self.options, self.report, self.threads = engine, options, report, threads
        self.ahead: deque[_Job] = deque()
        self.behind: deque[_Job] = deque()
        self.room = memory.waiting_bytes()

    def enter(self, plan: Plan) -> None:
        """Starts to read a file, when there is room for it and nobody is still writing it."""
        cost = _cost(self.engine, plan)
        while self.ahead and (len(self.ahead) >= READ_AHEAD or not self._fits(plan, cost)):
            self._compute_next()
        while self.behind and not self._fits(plan, cost):
            self._tell_next()
        job = _Job(plan, cost)
        job.picture = self.threads.submit(self._read, job)
        self.ahead.append(job)

    def compute_all(self) -> None:
        """Computes what is read, and waits for what is written."""
        while self.ahead:
            self._compute_next()
        while self.behind:
            self._tell_next()

    def tell_written(self) -> None:
        """Reports what is done already, without waiting."""
        while self.behind and (done := self.behind[0].notes) is not None and done.done() and not done.cancelled():
            self._tell_next()

    def _fits(self, plan: Plan, cost: int) -> bool:
        in_flight = [*self.ahead, *self.behind]
        if any(job.plan.destination.absolute() == plan.source.absolute() for job in in_flight):
            return False  # it is to be read as the other leaves it
        return not in_flight or cost + sum(job.cost for job in in_flight) <= self.room

    def _compute_next(self) -> None:
        """Computes the oldest file that is read, and has its result written."""
        job = self.ahead.popleft()
        self.behind.append(job)
        with self.report.computing(job.plan) as on_progress:
            try:
                picture = job.picture.result()
                with job.at_work("restore"):
                    job.computed = file.compute(self.engine, job.plan, picture, on_progress=on_progress)
                job.notes = self.threads.submit(self._write, job, picture)
            except Exception as error:
                job.error = error
                if _lacked_memory(error):
                    self._again_alone(job, on_progress)
        while self.behind and _is_over(self.behind[0]):
            self._tell_next()

    def _again_alone(self, job: _Job, on_progress: OnProgress | None) -> None:
        """What failed for lack of memory may succeed when the results before it are written and gone."""
        while self.behind[0] is not job:
            self._tell_next()
        try:
            job.computed, job.error, job.stages = None, None, {}
            picture = self._read(job)
            with job.at_work("restore"):
                job.computed = file.compute(self.engine, job.plan, picture, on_progress=on_progress)
            job.picture, job.notes = _done(picture), _done(self._write(job, picture))
        except Exception as error:
            job.error = error

    def _tell_next(self) -> None:
        """Waits for the oldest file, and reports it."""
        job = self.behind.popleft()
        try:
            if job.error is not None:
                raise job.error
            assert job.notes is not None
            assert job.computed is not None
            notes = job.notes.result()
        except Exception as error:
            self.report.failed(job.plan, error)
        else:
            seconds = sum(job.stages.values())
            picture = job.picture.result()
            told = file.outcome(job.plan, picture, job.computed, notes, seconds=seconds, stages=job.stages)
            self.report.restored(told)

    def _read(self, job: _Job) -> Picture:
        options = self.options
        with job.at_work("read"):
            return file.read(
                self.engine,
                job.plan,
                may_exist=options.overwrite,
                allow_truncated=options.allow_truncated,
                limits=options.limits,
            )

    def _write(self, job: _Job, picture: Picture) -> tuple[str, ...]:
        assert job.computed is not None
        options = self.options
        with job.at_work("write"):
            return file.write(job.plan, picture, job.computed, quality=options.quality, overwrite=options.overwrite)


def _cost(engine: Engine, plan: Plan) -> int:
    """Bytes of a picture and its result, with what reading and writing them takes."""
    probe = plan.probe
    read = engine.result_bytes(probe.width, probe.height * probe.frames, len(probe.layout), probe.bits)
    return read + plan.result_bytes + plan.writing_bytes


def _lacked_memory(error: Exception) -> bool:
    return memory.is_out_of_memory(error) or (isinstance(error, LiifError) and error.exit_code == ExitCode.MEMORY)


def _is_over(job: _Job) -> bool:
    return job.error is not None or (job.notes is not None and job.notes.done())


def _done(result: Any) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_result(result)
    return future
