"""``liif restore FILE... --workers N``: the files that were named, by several workers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack

from liif_engine.archive.feed import Feed
from liif_engine.crew import Crew
from liif_engine.errors import DeviceError, LiifError, ModelError, WorkerError
from liif_engine.file import Outcome
from liif_engine.plan import Plan
from liif_engine.terminal import MEGA, Batch
from liif_engine.workers import Answer, FileWork, WorkerSettings

#: Told of each file: its plan, and the outcome or the error.
OnEnd = Callable[[Plan, Outcome | None, LiifError | None], None]


def restore_several(
    plans: list[Plan],
    work_of: Callable[[Plan], FileWork],
    crew: Crew,
    settings: WorkerSettings,
    batch: Batch,
    on_end: OnEnd,
) -> None:
    """Restores files, each by whichever worker has room.

    Args:
        plans: what is to be done.
        work_of: a plan as work.
        crew: which workers.
        settings: how they work.
        batch: shows progress.
        on_end: told of each file.

    Raises:
        ModelError, DeviceError: nothing can be restored like this.
    """
    bars = _Bars(batch)

    def end(index: int, answer: Answer | None, error: LiifError | None) -> None:
        bars.over(index)
        if isinstance(error, ModelError | DeviceError):
            raise error  # every other file would fail of it too: it is the run's, as without workers
        if answer is None:
            # What a worker met that is no fault of the file's, such as its own death, names none.
            failure = error or WorkerError("the worker gave no answer")
            on_end(plans[index], None, failure.at(plans[index].source))
            return
        facts = (answer.model, answer.precision, answer.seconds, answer.source_sha256, answer.notes, answer.stages)
        on_end(plans[index], Outcome(plans[index], *facts), None)

    def works() -> Iterator[tuple[int, FileWork]]:
        for index, plan in enumerate(plans):
            bars.begin(index, plan)
            yield index, work_of(plan)

    with bars, Feed[int](crew, settings) as feed:
        feed.run(works(), end, bars.advance)


class _Bars:
    """A bar for each picture at work."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        self._open: dict[int, tuple[ExitStack, Callable[[float], None]]] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> _Bars:
        return self

    def __exit__(self, *_: object) -> None:
        for index in list(self._open):
            self.over(index)

    def begin(self, index: int, plan: Plan) -> None:
        """A picture is about to be given to a worker."""
        stack = ExitStack()
        megapixels = plan.width * plan.height * plan.probe.frames / MEGA
        report = stack.enter_context(self.batch.picture(plan.source.name, megapixels))
        with self._lock:
            self._open[index] = stack, report

    def advance(self, index: int, share: float) -> None:
        """It has come so far; called from threads of the workers' own."""
        with self._lock:
            found = self._open.get(index)
            if found is not None:
                found[1](share)

    def over(self, index: int) -> None:
        """It is done or has failed."""
        with self._lock:
            stack, _ = self._open.pop(index)
        stack.close()
