"""What the queue holds: limits, results until they are fetched, and memory that is slow to be had."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from liif_engine.errors import BusyError, Cancelled, MemoryExhaustedError, TooLargeError
from liif_engine.service.job import Job
from liif_engine.service.payload import ImagePayload
from liif_engine.service.request import Defaults, ImageRequest, parse
from liif_engine.workers import segment

from .scene import Scene, pixels, scene, settle


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
