"""Which file is being looked at, kept on disk: what kills the daemon at a look has no job yet that could tell."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


class Looking:
    """One small file that holds a path while that is looked at. It outlives the death of the process, not of the power.

    Args:
        path: where it lies.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def left(self) -> Path | None:
        """What the last daemon was looking at when it died; None if it ended otherwise."""
        with suppress(OSError):
            if name := self.path.read_bytes():
                return Path(os.fsdecode(name))
        return None

    def at(self, path: Path) -> None:
        """A look begins. Where the disk is full it goes unheard."""
        with suppress(OSError):
            self.path.write_bytes(os.fsencode(path))

    def over(self) -> None:
        """The look has ended."""
        with suppress(OSError):
            self.path.write_bytes(b"")
