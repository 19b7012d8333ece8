"""The folder of an archive's results: made for a run, and gone again if the run could not be begun."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from liif_engine.archive.order import Order
from liif_engine.errors import OutputError, UsageError
from liif_engine.picture.new_folder import make, unmake
from liif_engine.picture.results import MARK, mark


def prepare(order: Order, *, dry: bool) -> list[Path]:
    """Makes the folder of the results; gives what was made, as `new_folder.make`.

    Args:
        order: what is to be done.
        dry: whether nothing is to be written.

    Raises:
        UsageError: the folders are the same, one is missing, or the results would lie among the originals' parents.
        OutputError: the folder of the results cannot be used.
    """
    # Not by `Path.resolve`, which has no OSError for links that lead in a circle.
    source, destination = (Path(os.path.realpath(one)) for one in (order.source, order.destination))
    if not source.is_dir():
        raise UsageError("there is no such folder", path=order.source)
    if source == destination or destination in source.parents:
        raise UsageError(
            "the results would lie among the originals",
            path=order.destination,
            remedy="Choose another --out; restoring in place, with the originals kept safe, is the daemon's work.",
        )
    if dry:
        return []
    try:
        made = make(order.destination)
        mark(order.destination)
    except OSError as error:
        message = f"no results can be written there ({error.strerror})"
        raise OutputError(message, path=order.destination, remedy="Choose another --out.") from error
    return made


def remove_if_empty(folder: Path, made: Sequence[Path], *, ours: Iterable[Path]) -> None:
    """Removes the folder of the results again, if it holds none.

    Args:
        folder: of the results.
        made: by `prepare`.
        ours: what the run wrote beside results.

    Raises:
        OSError: it cannot be looked at.
    """
    inside = [Path(here) / name for here, names, _ in os.walk(folder) for name in names]
    unmake(reversed(inside))
    kept = {*ours, folder / MARK}
    if set(folder.iterdir()) <= kept:
        for path in kept:
            path.unlink(missing_ok=True)
        unmake(made)
