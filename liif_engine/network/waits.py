"""What threads that share a GPU do for each other: while one waits for it, another may launch work."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Shared:
    """The right to launch work on a device, for one thread at a time, which is lent while its holder waits.

    What was launched is done in the order of the launches, so that a picture's answers do not depend on what the others
    do; and as many pictures are on the device at once as there are threads that wait.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()

    @contextmanager
    def held(self, *, lent: bool) -> Iterator[None]:
        """The right is this thread's inside.

        Args:
            lent: whether others may have it while this thread waits; what is computed then takes memory together.
        """
        with self._lock:
            _holder.lock = self._lock if lent else None
            try:
                yield
            finally:
                _holder.lock = None


@contextmanager
def waiting() -> Iterator[None]:
    """Inside, this thread waits for a device, and does nothing else."""
    lock: threading.Lock | None = getattr(_holder, "lock", None)
    if lock is None:
        yield
        return
    lock.release()
    try:
        yield
    finally:
        lock.acquire()


#: What each thread holds.
_holder = threading.local()
