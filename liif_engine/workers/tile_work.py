"""Restores one tile inside a worker: of a picture that many workers share."""

from __future__ import annotations

import time

from liif_engine.picture import tiles
from liif_engine.workers.engine import WorkerEngine
from liif_engine.workers.pixel_work import fetch, put
from liif_engine.workers.work import Answer, OnProgress, TileWork


def run(engine: WorkerEngine, work: TileWork, *, on_progress: OnProgress) -> Answer:
    """Does the work.

    Args:
        engine: of the work's model.
        work: what is asked.
        on_progress: called with the share done; what it raises ends the work.

    Raises:
        LiifError: as `Engine.restore_tile`.
    """
    started = time.monotonic()
    tile = tiles.tile(work.grid, work.core)
    window = fetch(work.source, (tile.window.height, tile.window.width, work.channels), work.dtype)
    result = engine.restore_tile(window, work.grid, work.core, on_progress=on_progress)
    put(work.result, result, work.dtype)
    precision = engine.precision_for(8 * window.dtype.itemsize)
    seconds = time.monotonic() - started
    return Answer(engine.model_name, precision, str(engine.device), seconds, tile.output.width, tile.output.height)
