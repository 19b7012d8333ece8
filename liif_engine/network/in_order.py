"""Independent pieces of work on several threads, each of them one core's; results come in order.

Every operation spread over all cores would make them wait for each other hundreds of times a second, and for long where
others use the machine too. A core that works on a piece of its own also finds it in its own cache.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TypeVar

import torch

Piece = TypeVar("Piece")
Result = TypeVar("Result")


def in_order(work: Callable[[Piece], Result], pieces: Sequence[Piece], threads: int) -> Iterator[Result]:
    """``map(work, pieces)`` on `threads` threads, each with torch's own threading off, in inference mode.

    No more than one piece a thread is begun ahead of the one that is asked for. Where the iterator is closed or `work`
    raises, what is begun is finished and the rest is not begun.

    Args:
        work: computes in torch; a piece's result must not depend on other pieces.
        pieces: one for each result.
        threads: 1 means: here, without another thread.
    """
    threads = min(threads, len(pieces))
    if threads <= 1:
        yield from map(work, pieces)
        return
    pool = _workers(threads)
    remaining = iter(pieces)
    started: deque[Future[Result]] = deque()
    try:
        for piece in remaining:
            started.append(pool.submit(_in_inference_mode, work, piece))
            if len(started) > threads:
                yield started.popleft().result()
        while started:
            yield started.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _workers(threads: int) -> ThreadPoolExecutor:
    """Threads that compute on one core each; the caller's own number, and that of threads to come, stay as they are."""
    before = torch.get_num_threads()
    ready = threading.Barrier(threads + 1)
    places = iter(_places(threads))

    def alone() -> None:
        if place := next(places, None):
            with suppress(OSError):  # a CPU that was taken away since
                os.sched_setaffinity(0, place)
        torch.get_num_threads()  # torch sets a thread's number when first asked, and would undo the next line then
        torch.set_num_threads(1)
        ready.wait()

    pool = ThreadPoolExecutor(threads, "liif-strip", initializer=alone)
    for _ in range(threads):  # each starts a thread, since none is idle before all are ready
        pool.submit(int)
    ready.wait()
    torch.set_num_threads(before)  # the workers' call has set the default for threads to come
    return pool


def _places(threads: int) -> list[frozenset[int]]:
    """For each thread a core of its own, as its CPUs, or nothing where there are more cores or the system cannot say.

    These threads wake each other for Python's lock many times a millisecond. Where the system is a virtual machine,
    Linux takes a core that has just fallen asleep for one that is not there, and wakes a thread on its waker's core.
    Where there are more cores than threads, other programs' threads might have been given the same ones.
    """
    if not hasattr(os, "sched_setaffinity"):  # not on Windows and macOS
        return []
    allowed = os.sched_getaffinity(0)
    cores = {_core(cpu) & allowed for cpu in allowed}
    return sorted(cores, key=min) if len(cores) == threads else []


@cache
def _core(cpu: int) -> frozenset[int]:
    """The CPUs that are threads of the same core."""
    try:
        listed = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list").read_text("ascii")
        ends = [[int(end) for end in part.split("-")] for part in listed.split(",")]
    except (OSError, ValueError):
        return frozenset([cpu])
    return frozenset(sibling for part in ends for sibling in range(part[0], part[-1] + 1))


def _in_inference_mode(work: Callable[[Piece], Result], piece: Piece) -> Result:
    with torch.inference_mode():  # a thread's own setting
        return work(piece)
