"""Posts, each filled by one thread. Where that is held up by a folder that does not answer, another takes over."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

log = logging.getLogger(__name__)

#: Who has not been heard of for so long is held up; the engine tells of its work every second. [s]
HELD_UP_SECONDS = 60.0

#: Around what a folder may hold up: the watched folder, and what is touched there.
Touching = Callable[[Path, Path], AbstractContextManager[object]]


@dataclass(frozen=True)
class At:
    """Where a thread is: the folder, what it touches there, and since when, as Unix time."""

    folder: Path
    path: Path
    since: float = field(default_factory=time.time)


class Turn:
    """One thread's time at a post.

    Attributes:
        is_over: another has taken over; it leaves when it can.
        at: where it is.
    """

    def __init__(self) -> None:
        self.is_over = False
        self.at: At | None = None
        self._heard = time.monotonic()

    @contextmanager
    def touching(self, folder: Path, path: Path | None = None) -> Iterator[None]:
        """What is done inside may be held up by a folder."""
        self.goes_on(folder, path)
        try:
            yield
        finally:
            self.at = None

    def goes_on(self, folder: Path, path: Path | None = None) -> None:
        """A sign of life."""
        self._heard, self.at = time.monotonic(), At(folder, path or folder)

    def is_held_up(self, silent: Collection[Path]) -> bool:
        """Whether its folder is one of those that do not answer, or it has not been heard of for too long."""
        at = self.at
        return at is not None and (at.folder in silent or time.monotonic() - self._heard > HELD_UP_SECONDS)


#: What a thread does until its turn is over.
Work = Callable[[Turn], None]


@dataclass
class _Post:
    name: str
    work: Work
    turn: Turn
    thread: threading.Thread


class Posts:
    """All posts; `relieve` and `leave` are the main loop's.

    Attributes:
        faults: that ended a thread.
        held_up: where threads are that are held up now.
    """

    def __init__(self) -> None:
        self.faults: list[BaseException] = []
        self.held_up: list[At] = []
        self._posts: list[_Post] = []
        self._relieved: list[_Post] = []

    def fill(self, name: str, work: Work) -> None:
        """Makes a post and has a thread fill it.

        Args:
            name: of the thread.
            work: returns when there is no more to do, or the turn is over.
        """
        turn = Turn()

        def guarded() -> None:
            try:
                work(turn)
            except BaseException as error:
                log.exception("the daemon's thread %r has met a fault", name)
                self.faults.append(error)

        thread = threading.Thread(target=guarded, name=name, daemon=True)
        self._posts.append(_Post(name, work, turn, thread))
        thread.start()

    def relieve(self, silent: Collection[Path]) -> None:
        """Has others take over the posts of those that are held up.

        Args:
            silent: folders that do not answer.
        """
        for post in [one for one in self._posts if one.turn.is_held_up(silent)]:
            post.turn.is_over = True
            self._posts.remove(post)
            self._relieved.append(post)
            self.fill(post.name, post.work)
        self._relieved = [one for one in self._relieved if one.thread.is_alive()]
        turns = [one.turn for one in (*self._posts, *self._relieved)]
        self.held_up = [turn.at for turn in turns if turn.at and turn.is_held_up(silent)]

    def leave(self, seconds: float) -> None:
        """Waits for the end of all threads but those that are held up."""
        deadline = time.monotonic() + seconds
        folders = {at.folder for at in self.held_up}
        for post in (*self._posts, *self._relieved):
            is_held_up = post.turn.at is not None and post.turn.is_held_up(folders)
            post.thread.join(0.1 if is_held_up else max(0.1, deadline - time.monotonic()))
