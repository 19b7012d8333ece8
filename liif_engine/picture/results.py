"""A folder that results were written into is known again by a small file in it, whatever becomes of the journal."""

from __future__ import annotations

from pathlib import Path

from liif_engine.errors import OutputError

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
        OutputError: its mark is a symbolic link to nothing, through which somebody would have another file written.
        OSError: it cannot be written.
    """
    path = folder / MARK
    if path.exists():
        return
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(_TEXT)
    except FileExistsError as error:  # or another run was faster
        if path.is_symlink():
            words = "what marks a folder of results is a symbolic link, and those are not followed"
            raise OutputError(words, path=path, remedy="Delete it.") from error


def is_marked(folder: Path) -> bool:
    """Whether a folder itself, not one above it, is marked as one of results."""
    return (folder / MARK).exists()
