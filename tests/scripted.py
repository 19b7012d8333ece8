"""Workers without processes that say what a test has written for them."""

from __future__ import annotations

from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any, NoReturn

from liif_engine.target import Target
from liif_engine.workers import FileWork, WorkerSettings
from liif_engine.workers.messages import Begun, Do, Ended, FromWorker, Progress, Ready, Report, ToWorker
from liif_engine.workers.work import Answer, Ticket, Work

SETTINGS = WorkerSettings(device="cpu", patience_seconds=0.2, slow_patience_seconds=60)
WORK = FileWork("old.jpg", "new.jpg", Target(scale=2))
ANSWER = Answer("copy", "fp32", "cpu", 0.1, 2, 2)


def obliging(link: Scripted, message: ToWorker) -> None:
    """Does at once whatever is asked."""
    if isinstance(message, Do):
        for word in (Begun(message.number), Progress(message.number, 0.5), Ended(message.number, Report(), ANSWER)):
            link.words.put(word)


class Scripted:
    """A worker without a process, which is ready at once. A `Link`."""

    pid: int | None = None

    def __init__(self, on_message: Callable[[Scripted, ToWorker], None] = obliging) -> None:
        self.on_message = on_message
        self.sent: list[ToWorker] = []
        self.words: SimpleQueue[FromWorker | None] = SimpleQueue()
        self.words.put(Ready(Report()))
        self.on_kill: Callable[[], None] = lambda: None
        self.on_close: Callable[[], None] = lambda: None
        self.for_good: Callable[[], bool] = lambda: False

    def send(self, message: ToWorker) -> None:
        self.sent.append(message)
        self.on_message(self, message)

    def receive(self, seconds: float) -> FromWorker | None:
        try:
            word = self.words.get(timeout=seconds)
        except Empty:
            return None
        if word is None:
            raise EOFError
        return word

    def kill(self) -> None:
        self.on_kill()
        self.words.put(None)

    def is_alive(self) -> bool:
        return True

    def is_for_good(self) -> bool:
        return self.for_good()

    def close(self) -> str:
        self.on_close()
        return "the scripted worker ended"

    def memory_bytes(self) -> int | None:
        return None


def ticket_of(work: Work = WORK, on_progress: Any = None) -> Ticket:
    return Ticket(work, on_progress, urgent=False)


def refuse(*_: object, **__: object) -> NoReturn:
    raise RuntimeError("can't start new thread")
