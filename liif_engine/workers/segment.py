"""Shared memory that one process makes and others fill and read, so that pixels cross processes without a copy."""

from __future__ import annotations

import errno
import os
import re
import secrets
import sys
from contextlib import suppress
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path

from liif_engine import memory
from liif_engine.errors import MemoryExhaustedError, WorkerError

#: Where Linux keeps shared memory as files.
SHARED_FOLDER = Path("/dev/shm")

#: How the names of all segments begin that this process makes; see `remove_left`.
PREFIX = f"liif-{secrets.token_hex(6)}-"

REMEDY = "Wait for other jobs to end, or enlarge the shared memory (docker run --shm-size, or remount /dev/shm)."

#: What the system says where nothing of it may be had, however much of it is free.
_CLOSED = {errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOENT, errno.ENOSYS}


class Segment:
    """A piece of shared memory.

    Attributes:
        name: by which another process finds it.
        size: in bytes, as asked for.
        view: its bytes, writable; invalid after `close`.
    """

    def __init__(self, memory_block: SharedMemory, size: int, *, owner: bool) -> None:
        self._block, self._owner = memory_block, owner
        self.name, self.size = memory_block.name, size
        assert memory_block.buf is not None  # it is open
        # The system rounds sizes up to whole pages.
        self.view: memoryview = memory_block.buf[:size]

    @classmethod
    def create(cls, size: int, *, reserved: bool = True, prefix: str = PREFIX) -> Segment:
        """Makes a segment of `size` bytes, zeroed; `close` gives it back to the system.

        Args:
            size: in bytes.
            reserved: take the memory now; else `reserve` is to be called before anything is written.
            prefix: of its name, where that can be found again.

        Raises:
            MemoryExhaustedError: the system has no such room.
            WorkerError: it has no shared memory for this process at all.
        """
        # Asked first, since Python's resource tracker prints a traceback when the call itself fails.
        has_files = SHARED_FOLDER.exists()
        if hasattr(os, "statvfs") and has_files:
            free = os.statvfs(SHARED_FOLDER)
            if size > free.f_bavail * free.f_frsize:
                raise _no_room(size)
        try:
            # Elsewhere names are short.
            name = (prefix if has_files else PREFIX) + secrets.token_hex(4)
            block = SharedMemory(name, create=True, size=size)
        except OSError as error:
            if error.errno in _CLOSED:
                remedy = f"See that {SHARED_FOLDER} is there and can be written to, as on most systems."
                raise WorkerError(f"there is no shared memory ({error.strerror})", remedy=remedy) from error
            raise _no_room(size) from error
        segment = cls(block, size, owner=True)
        try:
            if reserved:
                segment.reserve()
        except MemoryExhaustedError:
            segment.close()
            raise
        return segment

    @classmethod
    def attach(cls, name: str, size: int) -> Segment:
        """Opens a segment that another process made; `close` leaves it to that process."""
        return cls(SharedMemory(name), size, owner=False)

    def reserve(self) -> None:
        """Takes the memory, half a second for a gigabyte or two; in any thread, also while another one closes it.

        Raises:
            MemoryExhaustedError: the system has no such room.
        """
        try:
            _reserve(self.name, self.size)
        except OSError as error:
            raise _no_room(self.size) from error

    def close(self) -> None:
        """Lets go of the memory; its maker also returns it to the system. Closing twice is allowed."""
        self.view.release()
        # An array that an exception's traceback still holds keeps the mapping until it is collected.
        with suppress(BufferError):
            self._block.close()
        if self._owner:
            self._owner = False
            self._block.unlink()

    def __enter__(self) -> Segment:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def remove_left(prefix: str) -> None:
    """Removes the segments of a process that was killed together with the one that Python has tidy up after it.

    Args:
        prefix: that process's `PREFIX`; anything else is left alone.
    """
    if re.fullmatch(r"liif-[0-9a-f]{12}-", prefix):
        for path in SHARED_FOLDER.glob(f"{prefix}*"):
            path.unlink(missing_ok=True)


def _reserve(name: str, size: int) -> None:
    """Takes the memory now: a full tmpfs would otherwise kill whoever first writes to the page, by SIGBUS."""
    path = SHARED_FOLDER / name.lstrip("/")
    if not sys.platform.startswith("linux") or not path.exists():
        return
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.posix_fallocate(descriptor, 0, size)
    finally:
        os.close(descriptor)


def _no_room(size: int) -> MemoryExhaustedError:
    return MemoryExhaustedError(f"there is no room for {memory.readable(size)} of shared memory", remedy=REMEDY)
