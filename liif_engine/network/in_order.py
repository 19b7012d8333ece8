"""Independent pieces of work on several threads, each of them one core's; results come in order.

Every operation spread over all cores would make them wait for each other hundreds of times a second, and for long where
others use the machine too. A core that works on a piece of its own also finds it in its own cache.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

import torch

from liif_engine.threads import cores

log = logging.getLogger(__name__)

Piece = TypeVar("Piece")
Result = TypeVar("Result")

#: A core may be slower than the others, or shared with another program: for its thread's piece they do not wait before
#: they are so many pieces ahead. What is ahead takes little, since only results are kept.
AHEAD = 8


def in_order(work: Callable[[Piece], Result], pieces: Sequence[Piece], threads: int) -> Iterator[Result]:
    """``map(work, pieces)`` on `threads` threads, each with torch's own threading off, in inference mode.

    No more than `AHEAD` pieces a thread are begun ahead of the one that is asked for. Where the iterator is closed or
    `work` raises, what is begun is finished and the rest is not begun.

    Args:
        work: computes in torch; a piece's result must not depend on other pieces.
        pieces: one for each result.
        threads: 1 means: here, without another thread.
    """
    threads = min(threads, len(pieces))
    pool = _workers(threads) if threads > 1 else None
    if pool is None:
        yield from map(work, pieces)
        return
    remaining = iter(pieces)
    started: deque[Future[Result]] = deque()
    try:
        for piece in remaining:
            started.append(pool.submit(_in_inference_mode, work, piece))
            if len(started) > AHEAD * threads:
                yield started.popleft().result()
        while started:
            yield started.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _workers(threads: int) -> ThreadPoolExecutor | None:
    """Threads that compute on one core each; the caller's own number, and that of threads to come, stay as they are.

    Returns:
        None if the system lets this process have no more threads.
    """
    before = torch.get_num_threads()
    ready = threading.Barrier(threads + 1)
    places = iter(_places(threads))

    def alone() -> None:
        place = next(places, None)
        if sys.platform.startswith("linux") and place:
            with suppress(OSError):  # a CPU that was taken away since
                os.sched_setaffinity(0, place)
        torch.get_num_threads()  # torch sets a thread's number when first asked, and would undo the next line then
        torch.set_num_threads(1)
        with suppress(threading.BrokenBarrierError):
            ready.wait()

    pool = ThreadPoolExecutor(threads, "liif-strip", initializer=alone)
    try:
        for _ in range(threads):  # each starts a thread, since none is idle before all are ready
            pool.submit(int)
        ready.wait()
    except BaseException as error:  # Ctrl+C too: who waits here would wait for ever, and this process's end for them
        ready.abort()
        pool.shutdown(cancel_futures=True)
        if not isinstance(error, RuntimeError):
            raise
        log.info("no room for %d threads (%s): going on with those of torch", threads, error)
        return None
    finally:
        torch.set_num_threads(before)  # the workers' call has set the default for threads to come
    return pool


def _places(threads: int) -> list[frozenset[int]]:
    """For each thread the CPUs of a core of its own, or of all where there are more or fewer cores than threads.

    These threads wake each other for Python's lock many times a millisecond. Where the system is a virtual machine,
    Linux takes a core that has just fallen asleep for one that is not there, and wakes a thread on its waker's core.
    Where there are more cores than threads, other programs' threads might have been given the same ones.
    """
    found = cores()
    return found if len(found) == threads else [frozenset[int]().union(*found)] * threads


def _in_inference_mode(work: Callable[[Piece], Result], piece: Piece) -> Result:
    with torch.inference_mode():  # a thread's own setting
        return work(piece)
