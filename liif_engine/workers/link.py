"""The line to one worker: messages there, messages back, and its end. Here the worker is a process of this machine."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import wait
from pathlib import Path
from typing import Protocol

from liif_engine.begin import deaf
from liif_engine.workers import inside
from liif_engine.workers.messages import FromWorker, ToWorker
from liif_engine.workers.work import WorkerSettings

#: How long a worker may take to end by itself. [s]
END_SECONDS = 2.0


class Link(Protocol):
    """A running worker, as its supervisor sees it. `receive` is called by one thread, the others by any."""

    #: Of the worker's process, None if it is not of this machine.
    pid: int | None

    def send(self, message: ToWorker) -> None:
        """Sends a message; one to a worker that has gone is lost."""

    def receive(self, seconds: float) -> FromWorker | None:
        """The next message, or None if none came within so many seconds.

        Raises:
            EOFError: the worker has gone.
        """

    def kill(self) -> None:
        """Ends the worker at once."""

    def is_alive(self) -> bool:
        """Whether it has not ended."""

    def is_for_good(self) -> bool:
        """Whether no successor can run where it ran."""

    def close(self) -> str:
        """After its end: lets go of everything, and tells in words how it ended."""

    def memory_bytes(self) -> int | None:
        """Memory that it holds; None if only the worker itself can tell."""


#: Starts a worker. What it raises means that there is none.
Launch = Callable[[WorkerSettings, str], Link]


class ProcessLink:
    """A worker in a process of this machine. A `Link`.

    Args:
        settings: how to work.
        device: the worker's.

    Raises:
        OSError: the process cannot be started.
    """

    def __init__(self, settings: WorkerSettings, device: str) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=inside.main, args=(theirs, settings, device), daemon=True)
        try:
            with deaf(signal.SIGINT, signal.SIGTERM):
                self._process.start()
        finally:
            theirs.close()
        self.pid = self._process.pid

    def send(self, message: ToWorker) -> None:
        """As `Link.send`."""
        with suppress(OSError, ValueError):
            self._connection.send(message)

    def receive(self, seconds: float) -> FromWorker | None:
        """As `Link.receive`."""
        try:
            if self._connection in wait([self._connection, self._process.sentinel], seconds):
                message: FromWorker = self._connection.recv()
                return message
        except (EOFError, OSError):
            self._process.join(END_SECONDS)
            self._process.kill()
            raise EOFError from None
        if not self._process.is_alive():
            raise EOFError
        return None

    def kill(self) -> None:
        """As `Link.kill`."""
        if self._process.is_alive():
            self._process.kill()

    def is_alive(self) -> bool:
        """As `Link.is_alive`."""
        return self._process.is_alive()

    def is_for_good(self) -> bool:
        """This machine is still there."""
        return False

    def close(self) -> str:
        """As `Link.close`; one that has said that it cannot start may have something left that keeps it from ending.

        Nor does the system end what waits for a disk that hangs; that must not hold up what its successor can do.
        """
        self._process.join(END_SECONDS)
        self.kill()
        self._process.join(END_SECONDS)
        self._connection.close()
        return f"the worker process {_how_it_ended(self._process.exitcode)}"

    def memory_bytes(self) -> int | None:
        """As `Link.memory_bytes`."""
        return resident_bytes(self.pid)


def resident_bytes(pid: int | None) -> int:
    """Memory that a process holds, where the system tells; else 0."""
    if sys.platform.startswith("linux"):
        with suppress(OSError, IndexError, ValueError):
            pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
            return pages * os.sysconf("SC_PAGE_SIZE")
    return 0


def _how_it_ended(code: int | None) -> str:
    """An exit code in words; None for a process that is still there."""
    if code is None:
        return "was killed and does not end, as when a disk hangs"
    if code >= 0:
        return f"ended unexpectedly (exit code {code})"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    hint = ", as the system does when memory runs out" if name == "SIGKILL" else ""
    return f"was killed by {name}{hint}"
