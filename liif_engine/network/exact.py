"""cuDNN's settings, which are the whole process's, for as long as a thread computes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch


@contextmanager
def exactly() -> Iterator[None]:
    """cuDNN computes in exact fp32 inside, where it would rather use TF32, and with the same algorithm each time.

    Its settings are the process's, not a thread's: they are what they were before when no thread is inside any more.
    """
    global _inside
    with _counting:
        if not _inside:
            flags = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
            _before.enter_context(flags)
        _inside += 1
    try:
        yield
    finally:
        with _counting:
            _inside -= 1
            if not _inside:
                _before.close()


_counting, _inside, _before = threading.Lock(), 0, ExitStack()
