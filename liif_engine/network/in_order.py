"""Independent pieces of work on several threads, each of them one core's; results come in order.

Every operation spread over all cores would make them wait for each other hundreds of times a second, and for long where
others use the machine too. A core that works on a piece of its own also finds it in its own cache.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
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

    def alone() -> None:
        torch.get_num_threads()  # torch sets a thread's number when first asked, and would undo the next line then
        torch.set_num_threads(1)
        ready.wait()

    pool = ThreadPoolExecutor(threads, "liif-strip", initializer=alone)
    for _ in range(threads):  # each starts a thread, since none is idle before all are ready
        pool.submit(int)
    ready.wait()
    torch.set_num_threads(before)  # the workers' call has set the default for threads to come
    return pool


def _in_inference_mode(work: Callable[[Piece], Result], piece: Piece) -> Result:
    with torch.inference_mode():  # a thread's own setting
        return work(piece)
