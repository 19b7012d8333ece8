"""Questions to a file system that may never answer: a share whose server hangs holds up every call, signals or not."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path

#: What answers at all has done so by then, a disk that has to start up too. [s]
SILENT_SECONDS = 10.0

#: How long who has others to look after waits for an answer. [s]
PATIENCE_SECONDS = 2.0


#: What it means to a person.
SILENT_WORDS = "does not answer, as a share does whose server is out of reach"


class Question:
    """One question, asked in a thread of its own, again and again but never twice at once; any thread may wait for it.

    Args:
        ask: asks; it leaves the answer where it belongs.
    """

    def __init__(self, ask: Callable[[], object]) -> None:
        self._ask = ask
        self._thread: threading.Thread | None = None
        self._fault: BaseException | None = None
        self.since = self._asked = 0.0

    @property
    def is_open(self) -> bool:
        """Whether the answer is still waited for."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def is_silent(self) -> bool:
        """Whether it has been waited for so long that none may come; `since` is the Unix time of the question."""
        return self.is_open and time.monotonic() - self._asked > SILENT_SECONDS

    def put(self) -> bool:
        """Asks, unless that was done and the answer is still waited for; whether it was asked now.

        Raises:
            BaseException: the fault at which the last one ended.
        """
        if self.is_open:
            return False
        fault, self._fault = self._fault, None
        if fault is not None:
            raise fault
        self.since, self._asked = time.time(), time.monotonic()
        thread = threading.Thread(target=self._run, name="question", daemon=True)
        thread.start()
        self._thread = thread  # not before: another thread may wait for the answer already
        return True

    def wait(self, seconds: float) -> bool:
        """Waits for the answer; whether it is there."""
        if self._thread is not None:
            self._thread.join(max(0.0, seconds))
        return not self.is_open

    def _run(self) -> None:
        try:
            self._ask()
        except BaseException as error:
            self._fault = error


def ask(questions: Iterable[Question], seconds: float = PATIENCE_SECONDS) -> None:
    """Puts all questions at once and waits a while for the answers; not for those that were waited for before.

    Raises:
        BaseException: as `Question.put`.
    """
    put = [question for question in questions if question.put()]
    deadline = time.monotonic() + seconds
    for question in put:
        question.wait(deadline - time.monotonic())


def silent(paths: Iterable[Path]) -> set[Path]:
    """The folders that do not answer in time; one that is not there has answered."""
    questions = {path: Question(partial(_look, path)) for path in paths}
    ask(questions.values(), SILENT_SECONDS)
    return {path for path, question in questions.items() if question.is_open}


def _look(path: Path) -> None:
    with suppress(OSError):
        os.scandir(path).close()
