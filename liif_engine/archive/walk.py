"""Which files of a folder are looked at: pictures by their names, below it, in a fixed order."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from liif_engine.archive.journal import NAME
from liif_engine.archive.order import Order
from liif_engine.archive.summary import Summary
from liif_engine.errors import InputError, LiifError, UsageError, printable
from liif_engine.picture import image_file
from liif_engine.picture.foreign import PROGRAMS_OWN
from liif_engine.picture.results import is_marked

log = logging.getLogger(__name__)


class Walk:
    """Yields the files' paths below the source; hidden ones, links and other programs' folders are left out.

    Args:
        order: which folders, and whether folders of results are walked too.
        summary: counts what is left out.
        fail: told of what cannot be read, with its path below the source.
    """

    def __init__(self, order: Order, summary: Summary, fail: Callable[[Path, LiifError], None]) -> None:
        self._order, self._summary, self._fail = order, summary, fail

    def __iter__(self) -> Iterator[Path]:
        waiting, results = [self._order.source], os.path.realpath(self._order.destination)
        while waiting:
            here = waiting.pop()
            try:
                entries = sorted(os.scandir(here), key=lambda entry: entry.name)
            except OSError as error:
                remedy = "Check that it is there, and that you may read it."
                reason = InputError(f"cannot be read ({error.strerror})", remedy=remedy)
                self._fail(here.relative_to(self._order.source), reason)
                continue
            folders = []
            for entry in entries:
                path = Path(entry.path)
                if entry.name.startswith("."):
                    continue
                if entry.is_symlink():
                    self._leave(path, "a symbolic link, and those are not followed")
                elif entry.is_dir():
                    folders += [path] if os.path.realpath(path) != results and not self._is_left_out(path) else []
                elif not entry.is_file():
                    self._leave(path, "neither a file nor a folder")
                elif _is_named_as_picture(path):
                    yield path.relative_to(self._order.source)
                else:
                    self._leave(path, "its name is not that of a picture")
            waiting += folders[::-1]

    def _leave(self, path: Path, why: str) -> None:
        self._summary.others += 1
        log.info("%s: left alone: %s", printable(path.relative_to(self._order.source)), why)

    def _is_left_out(self, folder: Path) -> bool:
        """Whether a folder below the source is another program's, or one of results, which the summary names."""
        if folder.name in PROGRAMS_OWN:
            log.info("%s: left alone: it belongs to another program", printable(folder.relative_to(self._order.source)))
            return True
        if self._order.again or not is_of_results(folder):
            return False
        self._summary.left_out.append(folder.relative_to(self._order.source))
        return True


def is_of_results(folder: Path) -> bool:
    """Whether an earlier run wrote its results into a folder."""
    try:
        return is_marked(folder) or (folder / NAME).exists()
    except OSError:
        return False  # closed to us, which is said when it is read


def _is_named_as_picture(path: Path) -> bool:
    try:
        image_file.format_for(path)
    except UsageError:
        return False
    return True
