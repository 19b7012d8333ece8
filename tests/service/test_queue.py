"""The queue by itself, with workers that do what the test says: turns, priorities, and who is left by everyone."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import pytest

from liif_engine.errors import (
    BusyError,
    Cancelled,
    MemoryExhaustedError,
    ServiceError,
    TooLargeError,
    WorkerError,
)
from liif_engine.service import queue
from liif_engine.service.job import Job
from liif_engine.service.limits import Limits
from liif_engine.service.payload import FilePayload, ImagePayload, PixelPayload
from liif_engine.service.queue import Queue
from liif_engine.service.request import Defaults, FileRequest, ImageRequest, PixelRequest, parse
from liif_engine.workers import Answer, FileWork, Ticket, segment

ANSWER = Answer("copy", "fp32", "cpu", 0.5, 20, 30, "/result.png", "PNG")


class OneWorker:
    """Takes one ordinary work and one urgent one; the test ends them."""

    def __init__(self) -> None:
        self.tickets: list[Ticket] = []
        self.taken: list[str] = []
        self.stopped: list[Ticket] = []

    def room(self, *, urgent: bool) -> bool:
        return not self.tickets or (urgent and len(self.tickets) == 1 and not self.tickets[0].urgent)

    def submit(self, work: Any, *, on_progress: Any = None, urgent: bool = False) -> Ticket:
        ticket = Ticket(work, on_progress, urgent)
        ticket.on_stop = self.stopped.append
        self.tickets.append(ticket)
        self.taken.append(work.source.removeprefix("/") if isinstance(work, FileWork) else "pixels")
        on_progress(0.0)
        return ticket

    def end(self, error: Exception | None = None) -> None:
        """Ends what is at work: the latest."""
        ticket = self.tickets.pop()
        ticket.set_result(ANSWER) if error is None else ticket.set_exception(error)

    def status(self) -> list[dict[str, Any]]:
        return []

    def close(self) -> None:
        while self.tickets:
            self.end(Cancelled("closed"))


class Scene:
    """A queue, its worker, and jobs named by their source."""

    def __init__(self, **limits: Any) -> None:
        self.worker = OneWorker()
        self.queue = Queue(lambda _: self.worker, Limits(**limits))

    def add(
        self,
        name: str,
        *,
        client: str = "a",
        priority: str = "backlog",
        detach: bool = True,
        held: int = 0,
        seconds: float | None = None,
    ) -> Job:
        text = f'{{"source": "/{name}", "scale": 2, "client": "{client}", "priority": "{priority}"}}'
        asked = parse(FileRequest, text.encode(), Defaults()).model_copy(
            update={"detach": detach, "timeout_seconds": seconds}
        )
        self.queue.reserve(held, priority)
        job = Job(asked, FilePayload(asked, 1000), held)
        self.queue.add(job)
        return job

    async def end(self, error: Exception | None = None) -> None:
        self.worker.end(error)
        await settle()


@contextmanager
def slow_memory(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Takes memory only when the event is set, as if there were much to take; never in the event loop's thread."""
    taken, loop, take = threading.Event(), threading.current_thread(), segment._reserve

    def slowly(name: str, size: int) -> None:
        assert threading.current_thread() is not loop
        assert taken.wait(60)
        take(name, size)

    monkeypatch.setattr(segment, "_reserve", slowly)
    try:
        yield taken
    finally:
        taken.set()


def pixels(s: Scene, *, client: str = "a", priority: str = "backlog") -> Job:
    """A job of raw pixels, queued."""
    text = f'{{"shape": [2, 3, 3], "dtype": "u8", "scale": 2, "client": "{client}", "priority": "{priority}"}}'
    asked = parse(PixelRequest, text.encode(), Defaults())
    s.queue.reserve(90, priority)
    job = Job(asked, PixelPayload(asked), 90)
    s.queue.add(job)
    return job


async def settle() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


def scene(play: Callable[[Scene], Any], **limits: Any) -> None:
    """Runs a coroutine function with a scene inside an event loop."""

    async def run() -> None:
        await play(Scene(**limits))

    asyncio.run(run())


def test_clients_of_one_priority_take_turns() -> None:
    async def play(s: Scene) -> None:
        for name in ("a1", "a2", "a3"):
            s.add(name)
        for name in ("b1", "b2"):
            s.add(name, client="b")
        while s.worker.tickets:
            await s.end()
        assert s.worker.taken == ["a1", "a2", "b1", "a3", "b2"]
        assert s.queue.totals.counts["done"] == 5
        assert s.queue.totals.result_pixels == 5 * 600

    scene(play)


def test_jobs_can_be_counted_by_another_thread_amid_a_change() -> None:
    async def play(s: Scene) -> None:
        for client in "abc":
            s.add(client, client=client)
        waiting = s.queue._lines._turns["backlog"]

        class Changing(deque[Job]):
            """A client's jobs; while they are counted, another client's are taken."""

            def __len__(self) -> int:
                waiting.pop("c", None)
                return 1

        waiting["b"] = Changing()
        assert s.queue.waiting("backlog") == 2
        del waiting["b"]

    scene(play)


def test_a_person_starts_amid_the_backlog_and_goes_before_all_of_it() -> None:
    async def play(s: Scene) -> None:
        for name in ("a1", "a2"):
            s.add(name)
        first = s.add("p1", priority="person")
        second = s.add("p2", priority="person")
        await settle()
        assert (first.state, second.state) == ("running", "queued")
        while s.worker.tickets:
            await s.end()
        assert s.worker.taken == ["a1", "p1", "p2", "a2"]

    scene(play)


def test_a_failure_is_its_jobs_own() -> None:
    async def play(s: Scene) -> None:
        bad, good = s.add("bad"), s.add("good")
        await s.end(WorkerError("the worker process was killed"))
        await s.end()
        assert (bad.state, good.state) == ("failed", "done")
        assert bad.as_dict()["error"]["kind"] == "WorkerError"
        assert bad.as_dict()["error"]["retryable"]

    scene(play)


def test_a_job_that_nobody_follows_is_cancelled_in_the_end_unless_detached() -> None:
    async def play(s: Scene) -> None:
        kept = s.add("kept")
        left, waiting = s.add("left", client="b", detach=False), s.add("waiting", client="c", detach=False)
        waiting.followers = 1
        s.queue.sweep()
        assert left.state == "queued", "there is still time"
        await settle()
        left.followed -= 10
        waiting.followed -= 10
        s.queue.sweep()
        assert (kept.state, left.state, waiting.state) == ("running", "cancelled", "queued")
        s.queue.leave(waiting)
        assert waiting.state == "cancelled"
        assert s.queue.waiting() == 0

    scene(play, follow_seconds=5)


def test_a_running_job_is_stopped_and_its_reason_told() -> None:
    async def play(s: Scene) -> None:
        job = s.add("job")
        await settle()
        assert job.started is not None
        job.started -= 10
        s.queue.sweep()
        s.queue.sweep()
        assert len(s.worker.stopped) == 1
        assert job.as_dict()["stopping"]
        await s.end(Cancelled("stopped"))
        assert job.state == "failed"
        assert job.as_dict()["error"]["kind"] == "TimeLimitError"

    scene(play, max_seconds=5)


def test_a_job_may_say_that_it_takes_longer_than_usual() -> None:
    async def play(s: Scene) -> None:
        job = s.add("job", seconds=20)
        await settle()
        assert job.started is not None
        for _ in range(2):
            assert s.worker.stopped == []
            job.started -= 11
            s.queue.sweep()
        assert len(s.worker.stopped) == 1

    scene(play, max_seconds=5)


def test_a_result_that_came_first_is_not_lost_to_a_late_stop() -> None:
    async def play(s: Scene) -> None:
        job = s.add("job")
        s.queue.stop(job, Cancelled("cancelled"))
        await s.end()
        assert job.state == "done"

    scene(play)


def test_limits_of_the_queue() -> None:
    async def play(s: Scene) -> None:
        first = pixels(s)
        while not s.worker.tickets:
            await asyncio.sleep(0.01)
        s.add("waits")
        with pytest.raises(BusyError, match="1 jobs are waiting"):
            s.queue.reserve(0, "backlog")
        assert s.queue.held_bytes == 90
        await s.end()
        with pytest.raises(BusyError, match="hold 72 bytes"):  # the result alone
            s.queue.reserve(50, "backlog")
        with pytest.raises(TooLargeError) as caught:
            s.queue.reserve(101, "backlog")
        # It is half of the memory that was free; no setting raises it.
        assert "start it again when more memory is free" in caught.value.remedy
        first.ended = time.monotonic() - 31
        s.queue.reserve(50, "backlog")  # nobody came for the first result
        assert s.queue.held_bytes == 50

    scene(play, max_jobs=1, max_held_bytes=100)


def test_encoded_results_count_from_when_they_are_there_until_they_are_forgotten(tmp_path: Path) -> None:
    async def add(s: Scene, result: bytes | None) -> Job:
        asked = parse(ImageRequest, b'{"scale": 2, "detach": true}', Defaults())
        s.queue.reserve(5, asked.priority)
        job = Job(asked, payload := ImagePayload(asked, tmp_path, 1000), 5)
        payload.receive(b"12345")
        payload.complete()
        s.queue.add(job)
        if result is not None:
            payload.destination.write_bytes(result)
        await s.end()
        assert job.state == "done"
        return job

    async def play(s: Scene) -> None:
        first, _ = await add(s, bytes(60)), await add(s, bytes(35))
        assert s.queue.held_bytes == 95
        with pytest.raises(BusyError, match="hold 95 bytes"):
            s.queue.reserve(10, "backlog")
        first.ended = time.monotonic() - 31
        third = await add(s, bytes(70))  # its own five had room
        assert (s.queue.held_bytes, first.id in s.queue.jobs) == (105, False)
        s.queue.forget(third)
        await add(s, None)  # somebody cleans the scratch folder
        assert s.queue.held_bytes == 35
        s.queue.free_all()
        assert (s.queue.held_bytes, list(tmp_path.iterdir())) == (0, [])

    scene(play, max_held_bytes=100)


def encoded(s: Scene, folder: Path, *, result: int) -> Job:
    """A job of an encoded picture of five bytes, queued, and the result that the worker will have made of it."""
    text = b'{"scale": 2, "detach": true, "client": "a", "priority": "backlog"}'
    asked = parse(ImageRequest, text, Defaults())
    s.queue.reserve(5, asked.priority)
    job = Job(asked, payload := ImagePayload(asked, folder, 1000), 5)
    payload.receive(b"12345")
    payload.complete()
    payload.destination.write_bytes(bytes(result))
    s.queue.add(job)
    return job


@pytest.mark.parametrize("freed", ["fetched", "in time"])
def test_results_that_come_all_at_once_hold_no_more_than_the_limit_and_one_result(tmp_path: Path, freed: str) -> None:
    async def play(s: Scene) -> None:
        jobs = [encoded(s, tmp_path, result=80) for _ in range(4)]
        for _ in range(2):
            await s.end()
        assert s.queue.held_bytes == 2 * 80 + 2 * 5
        assert ([job.state for job in jobs], s.worker.tickets) == (["done", "done", "queued", "queued"], [])
        if freed == "fetched":
            s.queue.forget(jobs[0])
        else:
            assert jobs[0].ended is not None
            jobs[0].ended -= 31
            s.queue.sweep()  # nobody has come for it
        await settle()
        assert jobs[2].state == "running"
        await s.end()
        assert jobs[3].state == "queued"

    scene(play, max_held_bytes=100)


def test_what_needs_no_more_room_goes_on_where_results_hold_too_much(tmp_path: Path) -> None:
    async def play(s: Scene) -> None:
        first = encoded(s, tmp_path, result=120)
        waits = encoded(s, tmp_path, result=1)
        file, same = s.add("file", client="b"), s.add("behind")
        await s.end()
        assert [job.state for job in (first, waits, file, same)] == ["done", "queued", "running", "queued"]
        await s.end()
        assert (file.state, waits.state) == ("done", "queued")
        first.readers = 1
        s.queue.forget(first)
        await settle()
        assert waits.state == "queued", "it is still being read"
        first.readers = 0
        s.queue.forget(first)
        await settle()
        assert waits.state == "running"
        while s.worker.tickets:
            await s.end()
        assert same.state == "done"

    scene(play, max_held_bytes=100)


def test_a_full_backlog_keeps_no_person_out() -> None:
    async def play(s: Scene) -> None:
        s.add("runs")
        s.add("waits")
        with pytest.raises(BusyError):
            s.add("too much")
        person = s.add("person", priority="person")
        await settle()
        assert person.state == "running"

    scene(play, max_jobs=1)


def test_ended_jobs_are_forgotten() -> None:
    async def play(s: Scene) -> None:
        old, young = s.add("old"), s.add("young")
        await s.end()
        await s.end()
        assert old.ended is not None
        old.ended -= 301
        s.queue.sweep()
        assert list(s.queue.jobs.values()) == [young]
        for number in range(5):
            s.add(str(number))
            await s.end()
        s.queue.sweep()
        assert len(s.queue.jobs) == 3

    scene(play, max_ended=3)


def test_the_end_of_the_service_ends_the_jobs_with_words_that_say_so() -> None:
    async def play(s: Scene) -> None:
        running, waiting = s.add("running"), s.add("waiting")
        await s.queue.close()
        for job in (running, waiting):
            error = job.as_dict()["error"]
            assert (job.state, error["message"], error["retryable"]) == ("failed", "the service ended", True)
        with pytest.raises(ServiceError, match="ending"):
            s.queue.reserve(0, "backlog")

    scene(play)


def test_a_follower_sees_every_state_to_the_end() -> None:
    async def play(s: Scene) -> None:
        job = s.add("job")

        async def follow() -> list[tuple[str, float]]:
            return [(row["state"], row["share"]) async for row in s.queue.follow(job)]

        follower = asyncio.create_task(follow())
        await settle()
        on_progress = s.worker.tickets[0].on_progress
        assert on_progress is not None
        on_progress(0.5)
        await settle()
        await s.end()
        assert await follower == [("running", 0.0), ("running", 0.5), ("done", 1.0)]

    scene(play)


def test_the_loop_goes_on_while_a_result_s_memory_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    async def play(s: Scene) -> None:
        with slow_memory(monkeypatch) as taken:
            first, second = pixels(s), pixels(s, client="b")
            await settle()
            assert (first.state, s.queue.waiting("backlog"), s.worker.taken) == ("queued", 2, [])
            s.add("p", priority="person")  # who need not wait for that
            assert s.worker.taken == ["p"]
            await s.end()
            assert second.payload.result is None  # type: ignore[union-attr]
            taken.set()
            for job in (first, second):
                while not s.worker.tickets:
                    await asyncio.sleep(0.01)
                await s.end()
                assert job.state == "done"
            assert s.worker.taken == ["p", "pixels", "pixels"]
            await s.queue.close()
            s.queue.free_all()
        assert s.queue.held_bytes == 0

    scene(play)


@pytest.mark.parametrize("everything", [False, True])
def test_a_job_that_is_stopped_while_its_memory_is_taken_ends_at_once_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, everything: bool
) -> None:
    async def play(s: Scene) -> None:
        with slow_memory(monkeypatch) as taken:
            job = pixels(s)
            name = job.payload.source.name  # type: ignore[union-attr]
            await settle()
            if everything:
                await s.queue.close()
            else:
                s.queue.stop(job, Cancelled("cancelled"))
            assert (job.is_over, s.queue.waiting(), s.queue.held_bytes) == (True, 0, 0)
            if not everything:
                assert s.queue.is_idle()
            taken.set()
            await asyncio.get_running_loop().shutdown_default_executor()
            await settle()
        assert s.worker.taken == []
        assert not (segment.SHARED_FOLDER / name).exists()

    scene(play)


def test_a_result_without_room_fails_its_job_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    async def play(s: Scene) -> None:
        monkeypatch.setattr(segment, "_reserve", full)
        job = pixels(s)
        s.add("next")
        while not job.is_over:
            await asyncio.sleep(0.01)
        assert job.state == "failed"
        assert isinstance(job.error, MemoryExhaustedError)
        assert s.worker.taken == ["next"]
        await s.end()

    scene(play)


def test_a_change_while_a_state_is_on_its_way_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "KEEPALIVE_SECONDS", 60.0)

    async def play(s: Scene) -> None:
        follower = s.queue.follow(s.add("job"))
        assert (await anext(follower))["state"] == "queued"
        await s.end()  # while whoever follows has not asked for more yet
        assert (await asyncio.wait_for(anext(follower), 5))["state"] == "done"

    scene(play)


def test_a_job_that_cannot_be_started_for_whatever_reason_has_failed_and_the_others_go_on() -> None:
    async def play(s: Scene) -> None:
        runs, waits = s.add("runs"), s.add("waits")

        def submit(*_: Any, **__: Any) -> NoReturn:
            raise RuntimeError("can't start new thread")

        s.worker.submit, usual = submit, s.worker.submit  # type: ignore[method-assign]
        await s.end()
        assert (runs.state, waits.state) == ("done", "failed")
        s.worker.submit = usual  # type: ignore[method-assign]
        s.queue.sweep()
        later = s.add("later")
        await s.end()
        assert later.state == "done"

    scene(play)
