"""How a command and its processes begin: Ctrl+C has its words also while they are still being loaded."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module


def begin(command: str, module: str) -> None:
    """Loads a command and runs it.

    Args:
        command: its name, for its words.
        module: has its ``main``.
    """
    try:
        loaded = import_module(module)
    except KeyboardInterrupt:
        from liif_engine.errors import Cancelled  # not above: what is loaded before this function has no words

        stopped = Cancelled("stopped; nothing is half-written")
        print(f"{command}: {stopped}", file=sys.stderr)
        sys.exit(int(stopped.exit_code))
    loaded.main()


@contextmanager
def deaf(*signals: signal.Signals) -> Iterator[None]:
    """Processes of `multiprocessing` that are started inside never hear these signals, where the system has masks.

    Ctrl+C reaches every process of a terminal, and of one that is still being loaded the answer would be a traceback.
    """
    if sys.platform == "win32":
        yield
        return
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # it starts with the first process otherwise, and then unblocks signals here
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
