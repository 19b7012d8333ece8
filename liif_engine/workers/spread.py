"""One huge picture over all workers, tile by tile; what is not huge goes to one worker, whole.

The tiles are those that one worker would cut, and each is computed by the same code, so the bytes are one worker's.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from liif_engine.errors import BusyError
from liif_engine.picture.image_file import Limits
from liif_engine.plan import plan
from liif_engine.workers.file_work import LEAVE_SECONDS
from liif_engine.workers.pool import Pool
from liif_engine.workers.share import Share
from liif_engine.workers.work import FileWork, OnProgress, PixelWork, Ticket, Work

#: Results from this size on are spread: some two dozen tiles at x2, so that a dozen workers all have something to do.
#: Below it, waiting for the last tile costs more than it saves, and other pictures keep the others busy. [pixels]
SPREAD_PIXELS = 25_000_000

#: How long looking at a file's header may take. [s]
LOOK_SECONDS = 1.0


class Spread:
    """A pool whose workers also share huge pictures. A `Workers`.

    Args:
        make_pool: makes the pool; it is given what that calls when there may be room.
        on_room: called, from a thread of the workers' own, when there may be room again.
        pixels: results from this size on are spread.
    """

    def __init__(
        self,
        make_pool: Callable[[Callable[[], None]], Pool],
        *,
        on_room: Callable[[], None] = lambda: None,
        pixels: int = SPREAD_PIXELS,
    ) -> None:
        self.upstream, self.pixels = on_room, pixels
        self._lock = threading.Lock()
        self._shares: list[Share] = []
        self._closed = False
        self.pool = make_pool(self._on_room)

    def room(self, *, urgent: bool) -> bool:
        """As `Workers.room`: what is spread takes every worker for as long as it has tiles to give."""
        with self._lock:
            hungry = [one for one in self._shares if one.pending]
        if any(one.ticket.urgent or not urgent for one in hungry):
            return False
        return self.pool.room(urgent=urgent)

    def submit(self, work: Work, *, on_progress: OnProgress | None = None, urgent: bool = False) -> Ticket:
        """As `Workers.submit`."""
        if self.pool.size() < 2 or not self._is_huge(work):
            return self.pool.submit(work, on_progress=on_progress, urgent=urgent)
        if not self.room(urgent=urgent):
            raise BusyError("every worker is busy")
        share = Share(self, work, Ticket(work, on_progress, urgent))
        with self._lock:
            if self._closed:
                raise BusyError("the workers were closed")
            self._shares.append(share)
        try:
            share.start()
        except BaseException:  # there are no more threads: it will never be over
            with self._lock:
                self._shares.remove(share)
            raise
        return share.ticket

    def status(self) -> list[dict[str, Any]]:
        """As `Workers.status`."""
        return self.pool.status()

    @property
    def lost(self) -> int:
        """Pieces of work that were begun again."""
        return self.pool.lost

    def close(self) -> None:
        """As `Workers.close`."""
        with self._lock:
            self._closed = True
            shares = list(self._shares)
        for share in shares:
            share.stop(share.ticket)
        self.pool.close()
        until = time.monotonic() + LEAVE_SECONDS
        for share in shares:
            share.join(max(0.0, until - time.monotonic()))
            share.leave()

    def over(self, share: Share) -> None:
        """A picture is done, or has failed."""
        with self._lock:
            self._shares.remove(share)
        self._on_room()

    def _on_room(self) -> None:
        with self._lock:
            shares = list(self._shares)
        for share in shares:
            share.wake()
        self.upstream()

    def _is_huge(self, work: Work) -> bool:
        if isinstance(work, PixelWork):
            return work.size[0] * work.size[1] >= self.pixels
        if isinstance(work, FileWork):
            return (work.result_pixels or _result_pixels(work)) >= self.pixels
        return False


def _result_pixels(work: FileWork) -> int:
    """Of a file's result, by its header; 0 if that cannot be had, of which a worker will say what is wrong with it.

    In a thread of its own: whoever submits must not wait for a file system that hangs.
    """
    found: SimpleQueue[int] = SimpleQueue()

    def look() -> None:
        limits = Limits() if work.max_pixels is None else Limits(max_pixels=work.max_pixels)
        with suppress(Exception):
            planned = plan(Path(work.source), work.target, out=_path(work.destination), limits=limits)
            found.put(planned.width * planned.height)
        found.put(0)

    threading.Thread(target=look, name="look", daemon=True).start()
    with suppress(Empty):
        return found.get(timeout=LOOK_SECONDS)
    return 0


def _path(path: str | None) -> Path | None:
    return None if path is None else Path(path)
