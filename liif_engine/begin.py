"""How a command begins: Ctrl+C has its words also while the command is still being loaded."""

from __future__ import annotations

import sys
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
