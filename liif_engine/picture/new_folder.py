"""A folder of results that is made for them, and goes again with those above it if none comes."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path


def make(folder: Path) -> list[Path]:
    """Makes a folder, if it is not there; gives what was made for it, itself first and then those above it.

    Raises:
        OSError: it cannot be made.
    """
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    return missing


def unmake(made: Iterable[Path]) -> None:
    """Removes what `make` made, as far as it is empty."""
    for folder in made:
        with suppress(OSError):
            folder.rmdir()
