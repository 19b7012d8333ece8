"""A queue by itself, with a worker that does what the test says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from liif_engine.errors import Cancelled
from liif_engine.service.job import Job
from liif_engine.service.limits import Limits
from liif_engine.service.payload import FilePayload, PixelPayload
from liif_engine.service.queue import Queue
from liif_engine.service.request import Defaults, FileRequest, PixelRequest, parse
from liif_engine.workers import Answer, FileWork, Ticket

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
