"""Any error as one of ours, which can be sent from a worker to whoever waits for the work."""

from __future__ import annotations

from liif_engine import memory
from liif_engine.errors import LiifError, MemoryExhaustedError, WorkerError, scarcity


def in_words(error: BaseException) -> LiifError:
    """Any error as one of ours, which can be sent: without the traceback, which holds the work's arrays."""
    if isinstance(error, LiifError):
        return error.with_traceback(None)
    if memory.is_out_of_memory(error):
        return MemoryExhaustedError(f"memory ran out ({_first_line(error)})")
    if (found := scarcity(error)) is not None:
        return found
    if isinstance(error, ImportError | AttributeError):
        return WorkerError(f"the engine cannot be loaded ({_first_line(error)})", remedy="Install liif-restore again.")
    return WorkerError(f"unexpected {type(error).__name__}: {_first_line(error)}")


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
