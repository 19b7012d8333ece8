"""A folder of results that is made for them, and goes again with those above it if none comes."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from liif_engine.picture.atomic import flush_folder


def make(folder: Path, mode: int = 0o777) -> list[Path]:
    """Makes a folder, if it is not there; gives what was made for it, itself first and then those above it.

    What was made survives a power loss: a file that is flushed is lost with a folder above it whose name was not.

    Args:
        folder: any.
        mode: of itself, as the umask allows; those above it get the system's.

    Raises:
        OSError: it cannot be made.
    """
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True, mode=mode)
    for path in missing:
        flush_folder(path.parent)
    return missing


def unmake(made: Iterable[Path]) -> None:
    """Removes what `make` made, as far as it is empty."""
    for folder in made:
        with suppress(OSError):
            folder.rmdir()
