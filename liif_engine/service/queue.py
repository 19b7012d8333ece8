"""The jobs: who is next, who has been left by everyone, what became of each. Lives in the event loop alone."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

from liif_engine import log as logs
from liif_engine import memory
from liif_engine.errors import BusyError, Cancelled, LiifError, ServiceError, TimeLimitError, TooLargeError, WorkerError
from liif_engine.service.job import Job
from liif_engine.service.limits import Limits
from liif_engine.service.lines import PRIORITIES, Lines
from liif_engine.service.totals import Totals
from liif_engine.workers import Answer, Workers
from liif_engine.workers.failures import in_words

log = logging.getLogger(__name__)

#: An event stream that has nothing new says so, so that both ends know of each other. [s]
KEEPALIVE_SECONDS = 1.0


class Queue:
    """Gives jobs to workers: persons first, equals by turns among clients, and cancels what nobody wants any more.

    Args:
        make_workers: makes the workers; it is given what they call, from any thread, when they have room.
        limits: what is taken.
    """

    def __init__(self, make_workers: Callable[[Callable[[], None]], Workers], limits: Limits) -> None:
        self.limits = limits
        self.jobs: dict[str, Job] = {}
        self.running: set[Job] = set()
        self.totals = Totals()
        self.held_bytes = self.arriving = 0
        self.last_used = time.monotonic()
        self._lines = Lines()
        self._preparing: set[Job] = set()
        self._ended: deque[Job] = deque()
        self._closing = False
        self._loop = asyncio.get_running_loop()
        self.workers = make_workers(lambda: self._soon(self._dispatch))

    def reserve(self, size: int, priority: str) -> None:
        """Counts `size` bytes as held, from before the body arrives.

        Args:
            size: of the picture and its result.
            priority: of the job; a full backlog keeps no person out.

        Raises:
            TooLargeError: more than may ever be held.
            BusyError: more than may be held now, or there are too many jobs.
            ServiceError: the service is ending.
        """
        if self._closing:
            raise ServiceError("the service is ending", remedy="Start it again.")
        if size > self.limits.max_held_bytes:
            raise TooLargeError(
                f"the picture and its result take {memory.readable(size)};"
                f" the service takes {memory.readable(self.limits.max_held_bytes)}",
                remedy="Ask for a smaller scale, or start it again when more memory is free.",
            )
        if self.waiting(priority) >= self.limits.max_jobs:
            raise BusyError(f"{self.limits.max_jobs} jobs are waiting already")
        if self.held_bytes + size > self.limits.max_held_bytes:
            self._forget_unclaimed(size)
        if self.held_bytes + size > self.limits.max_held_bytes:
            raise BusyError(f"the jobs hold {memory.readable(self.held_bytes)} already")
        self.held_bytes += size
        self.arriving += 1

    def release(self, size: int) -> None:
        """Takes back `reserve`."""
        self.held_bytes -= size
        self.arriving -= 1

    def add(self, job: Job) -> None:
        """Queues a job for which room was reserved, and starts it if a worker is free."""
        self.arriving -= 1
        self.jobs[job.id] = job
        self._lines.add(job)
        self._dispatch()

    def waiting(self, priority: str | None = None) -> int:
        """How many jobs wait; figures are asked for in other threads too."""
        names = PRIORITIES if priority is None else (priority,)
        preparing = sum(job.asked.priority in names for job in list(self._preparing))
        return preparing + sum(map(self._lines.count, names))

    async def follow(self, job: Job) -> AsyncIterator[dict[str, Any]]:
        """The job as it is now and after each change, until it is over."""
        while True:
            # Before the state is read: a change while that is on its way must not be waited for as the next one.
            row, over, changed = job.as_dict(), job.is_over, job.changed
            yield row
            if over:
                return
            with suppress(TimeoutError):
                await asyncio.wait_for(changed.wait(), KEEPALIVE_SECONDS)

    def leave(self, job: Job) -> None:
        """One who followed has gone; the last one to go takes an undetached job along."""
        job.followers -= 1
        job.followed = time.monotonic()
        if not (job.followers or job.asked.detach):
            self.stop(job, Cancelled("whoever followed the job has gone"))

    def stop(self, job: Job, reason: LiifError) -> None:
        """Ends a job: at once if it waits, at the next batch of tiles if it runs."""
        if job.is_over or job.stop_reason is not None:
            return
        job.stop_reason = reason
        if job.ticket is not None:
            job.ticket.stop()
            job.change()
        else:
            if job in self._preparing:
                self._preparing.remove(job)
            else:
                self._lines.remove(job)
            self._end(job, error=reason)

    def forget(self, job: Job) -> None:
        """Frees an ended job's result, once nobody reads it any more."""
        job.is_forgotten = True
        self.jobs.pop(job.id, None)
        if not job.readers:
            self._free(job)

    def sweep(self) -> None:
        """Called once in a while: ends what nobody follows or takes too long, forgets what is old."""
        now = time.monotonic()
        for job in list(self.jobs.values()):
            if job.is_over:
                continue
            unfollowed = now - job.followed if not (job.followers or job.asked.detach) else 0
            if unfollowed > self.limits.follow_seconds:
                self.stop(job, Cancelled(f"nobody has followed the job for {self.limits.follow_seconds:g} s"))
            limit = job.asked.timeout_seconds or self.limits.max_seconds
            if job.started is not None and now - job.started > limit:
                self.stop(job, TimeLimitError(f"the work took longer than {limit:g} s"))
        while self._ended and self._is_old(self._ended[0], now):
            self.forget(self._ended.popleft())
        self._forget_unclaimed(0)

    def is_idle(self) -> bool:
        """Whether no job arrives, waits or runs and nobody follows or reads one."""
        attended = any(job.followers or job.readers for job in self.jobs.values())
        return not (self.arriving or self.waiting() or self.running or attended)

    async def close(self) -> None:
        """Ends every job and all workers."""
        self._closing = True
        reason = ServiceError("the service ended", remedy="Start it again.")
        for job in list(self.jobs.values()):
            self.stop(job, reason)
        await asyncio.to_thread(self.workers.close)
        await asyncio.sleep(0)  # lets the workers' last words arrive
        for job in list(self.jobs.values()):
            if not job.is_over:
                self._end(job, error=reason)

    def free_all(self) -> None:
        """Gives back everything held; the last act."""
        for job in list(self.jobs.values()):
            job.readers = 0
            self.forget(job)

    def workers_lost(self) -> int:
        """Pieces of work whose worker died and that another began again."""
        return int(getattr(self.workers, "lost", 0))

    def _dispatch(self) -> None:
        """Starts what there is room for, or has it prepared: one at a time, so that none takes memory long before."""
        for priority in PRIORITIES:
            urgent = priority == "person"
            while not self._closing and self._lines.count(priority) and self.workers.room(urgent=urgent):
                if any(job.asked.priority == priority for job in self._preparing):
                    return
                job = self._lines.take(priority, self._may_start)
                if job is None:
                    break  # a backlog of other jobs may go on
                if not self._start(job, urgent):
                    return

    def _may_start(self, job: Job) -> bool:
        """While results hold more than the limit, none starts whose own was not counted before."""
        return self.held_bytes <= self.limits.max_held_bytes or not job.payload.grows

    def _start(self, job: Job, urgent: bool) -> bool:
        """Hands a job to the workers; False if they turned out to have no room after all."""
        try:
            if (prepare := job.payload.prepare()) is not None:
                self._prepare(job, prepare)
                return True
            work = replace(job.payload.work(), job=job.name)
            ticket = self.workers.submit(work, on_progress=self._progress_of(job), urgent=urgent)
        except BusyError:
            self._lines.put_back(job)
            return False
        except Exception as error:  # it waits no longer, so nothing else would ever end it
            self._end(job, error=in_words(error))
            return True
        job.ticket = ticket
        self.running.add(job)
        ticket.add_done_callback(lambda _: self._soon(self._finish, job))
        return True

    def _prepare(self, job: Job, prepare: Callable[[], None]) -> None:
        """Has a job prepared in a thread; then it is the next one."""

        def prepared(future: asyncio.Future[None]) -> None:
            error = future.exception()
            if job not in self._preparing:  # it was stopped
                return
            self._preparing.remove(job)
            if isinstance(error, Exception):
                self._end(job, error=in_words(error))
            else:
                self._lines.put_back(job)
            self._dispatch()

        future = self._loop.run_in_executor(None, prepare)
        self._preparing.add(job)  # not before: there may be no thread
        future.add_done_callback(prepared)

    def _progress_of(self, job: Job) -> Callable[[float], None]:
        return lambda share: self._soon(self._advance, job, share)

    def _advance(self, job: Job, share: float) -> None:
        if job.is_over:
            return
        if job.started is None:
            # Not before: what a worker was given may still wait for a batch of tiles to end, or for the worker to load.
            job.state, job.started = "running", time.monotonic()
        job.share = share
        job.change()

    def _finish(self, job: Job) -> None:
        """The workers have answered."""
        assert job.ticket is not None  # it was started
        error = job.ticket.exception()
        self.running.discard(job)
        if error is None:
            self._end(job, answer=job.ticket.result())
        elif isinstance(error, Cancelled) and job.stop_reason is not None:
            self._end(job, error=job.stop_reason)
        elif isinstance(error, LiifError):
            self._end(job, error=error)
        else:
            self._end(job, error=WorkerError(f"unexpected {type(error).__name__}: {error}"))
        self._dispatch()

    def _end(self, job: Job, *, answer: Answer | None = None, error: LiifError | None = None) -> None:
        if not job.is_over:
            with logs.about(job.name):
                self._write_down(job, answer, error)

    def _write_down(self, job: Job, answer: Answer | None, error: LiifError | None) -> None:
        """A job is over."""
        job.ended = self.last_used = time.monotonic()
        job.answer, job.error = answer, error and job.payload.in_callers_words(error)
        job.state = "done" if error is None else "cancelled" if isinstance(error, Cancelled) else "failed"
        self.totals.add(job)
        if answer is not None:
            job.share = 1.0
            log.info("job %s done: %dx%d, %.2f s", job.id, answer.width, answer.height, answer.seconds)
            self._hold(job, job.payload.let_source_go())
            # How long an encoded result is, nobody knew when there was room for its job.
            self._forget_unclaimed(0)
        else:
            log.info("job %s %s: %s", job.id, job.state, job.error)
            self._free(job)
        self._ended.append(job)
        job.change()

    def _free(self, job: Job) -> None:
        job.payload.close()
        self._hold(job, 0)
        self._soon(self._dispatch)  # there may be room now for what waits for it

    def _hold(self, job: Job, size: int) -> None:
        self.held_bytes += size - job.held_bytes
        job.held_bytes = size

    def _forget_unclaimed(self, size: int) -> None:
        """Makes room for `size` bytes by dropping results that nobody has come for in a while, the oldest first."""
        latest = time.monotonic() - self.limits.follow_seconds
        for job in self._ended:
            if self.held_bytes + size <= self.limits.max_held_bytes:
                return
            if not (job.followers or job.readers) and (job.ended or 0) < latest:
                self.forget(job)

    def _is_old(self, job: Job, now: float) -> bool:
        age = now - (job.ended or now)
        return job.is_forgotten or age > self.limits.keep_seconds or len(self._ended) > self.limits.max_ended

    def _soon(self, call: Callable[..., None], *arguments: Any) -> None:
        """Runs `call` in the event loop; may be called from any thread, and after the loop has ended."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(call, *arguments)
