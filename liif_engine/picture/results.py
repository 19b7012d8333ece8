"""A folder that results were written into is known again by a small file in it, whatever becomes of the journal."""

from __future__ import annotations

from pathlib import Path

#: Its name.
MARK = ".liif-restore.results"

_TEXT = """\
The pictures in this folder, and in its subfolders, are results of liif-restore.
What restores a folder above it leaves it out, so that none of them is restored a second time.
Delete this file, and .liif-restore.journal, if they are to be taken for originals.
"""


def mark(folder: Path) -> None:
    """Marks a folder as one of results.

    Raises:
        OSError: it cannot be written.
    """
    path = folder / MARK
    if not path.exists():
        with path.open("x", encoding="utf-8") as file:  # never through a link that somebody has put there
            file.write(_TEXT)


def is_marked(folder: Path) -> bool:
    """Whether a folder itself, not one above it, is marked as one of results."""
    return (folder / MARK).exists()
