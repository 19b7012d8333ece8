"""Keeps every worker busy with files, as they have room, and hands back what became of each."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

from liif_engine.crew import Crew
from liif_engine.errors import BusyError, LiifError, WorkerError
from liif_engine.workers import Answer, FileWork, Ticket, WorkerSettings, start

Key = TypeVar("Key")

#: How often it is looked whether somebody pressed Ctrl+C, where nothing else happens. [s]
LOOK_SECONDS = 0.5

#: What becomes of one file: its key, and an answer or an error.
OnEnd = Callable[[Key, Answer | None, LiifError | None], None]


class Feed(Generic[Key]):
    """Workers, and the files that they are at. For one thread; a context manager, which ends the workers.

    Args:
        crew: which workers.
        settings: how they work.
    """

    def __init__(self, crew: Crew, settings: WorkerSettings) -> None:
        self._news: SimpleQueue[tuple[Key, Ticket] | None] = SimpleQueue()
        self._at_work: dict[int, Ticket] = {}
        self.workers = start(crew, settings, on_room=lambda: self._news.put(None))

    def __enter__(self) -> Feed[Key]:
        return self

    def __exit__(self, *_: object) -> None:
        self.workers.close()

    def run(
        self,
        files: Iterable[tuple[Key, FileWork]],
        on_end: OnEnd[Key],
        on_progress: Callable[[Key, float], None] = lambda *_: None,
    ) -> None:
        """Has every file done. If anything is raised here, Ctrl+C too, work that is begun is stopped first.

        Args:
            files: taken one ahead of the workers' room, so that none waits for the next file to be looked at.
            on_end: called in this thread.
            on_progress: called from threads of the workers' own with the share done.
        """
        try:
            for key, work in files:
                while not self._submit(key, work, on_progress):
                    self._hear(on_end)
                self._hear(on_end, seconds=0)
            while self._at_work:
                self._hear(on_end)
        except BaseException:
            self._stop(on_end)
            raise

    def _submit(self, key: Key, work: FileWork, on_progress: Callable[[Key, float], None]) -> bool:
        if not self.workers.room(urgent=False):
            return False
        try:
            ticket = self.workers.submit(work, on_progress=lambda share: on_progress(key, share))
        except BusyError:
            return False
        self._at_work[ticket.number] = ticket
        ticket.add_done_callback(lambda _: self._news.put((key, ticket)))
        return True

    def _hear(self, on_end: OnEnd[Key], seconds: float = LOOK_SECONDS) -> None:
        """Takes all news there is, waiting for the first."""
        while True:
            try:
                found = self._news.get(timeout=seconds) if seconds else self._news.get_nowait()
            except Empty:
                return
            seconds = 0
            if found is not None:
                key, ticket = found
                del self._at_work[ticket.number]
                error = ticket.exception()
                if error is not None and not isinstance(error, LiifError):
                    error = WorkerError(f"unexpected {type(error).__name__}: {error}")
                on_end(key, None if error else ticket.result(), error)

    def _stop(self, on_end: OnEnd[Key]) -> None:
        """Stops what is at work; what is being written is completed, and told."""
        for ticket in self._at_work.values():
            ticket.stop()
        deadline = threading.Event()
        timer = threading.Timer(10, deadline.set)
        timer.start()
        try:
            while self._at_work and not deadline.is_set():
                with suppress(LiifError):  # what ended the run may be what each of these ends with
                    self._hear(on_end)
        finally:
            timer.cancel()
