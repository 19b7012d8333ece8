"""The queue by itself, with workers that do what the test says: turns, priorities, and who is left by everyone."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, NoReturn

import pytest

from liif_engine.errors import BusyError, Cancelled, ServiceError, WorkerError
from liif_engine.service import queue
from liif_engine.service.job import Job

from .scene import Scene, scene, settle


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
