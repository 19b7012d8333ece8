"""Restores raw pixels inside a worker: from shared memory to shared memory."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from liif_engine.errors import InputError
from liif_engine.workers.segment import Segment
from liif_engine.workers.work import Answer, PixelWork

#: Numpy's names of the formats of raw pixels; little endian whatever the machine.
DTYPES = {"u8": "<u1", "u16": "<u2", "f16": "<f2", "f32": "<f4"}


def run(engine: Any, work: PixelWork, *, on_progress: Callable[[float], None]) -> Answer:
    """Does the work.

    Args:
        engine: an `Engine`.
        work: what is asked.
        on_progress: called with the share done; what it raises ends the work.

    Raises:
        InputError: floats that are no numbers.
        LiifError: as `Engine.restore`.
    """
    started = time.monotonic()
    pixels = _read(work)
    engine = engine.for_picture(pixels)
    result = engine.restore(pixels, size=work.size, layout=work.layout, on_progress=on_progress)
    _write(work, result)
    precision = engine.precision_for(8 * pixels.dtype.itemsize)
    return Answer(engine.model_name, precision, str(engine.device), time.monotonic() - started, *work.size)


def _read(work: PixelWork) -> NDArray[Any]:
    """The picture as an array of this process's own, half floats widened."""
    dtype = np.dtype(DTYPES[work.dtype])
    with Segment.attach(work.source, int(np.prod(work.shape)) * dtype.itemsize) as segment:
        shared = np.ndarray(work.shape, dtype, segment.view)
        wanted = np.float32 if work.dtype == "f16" else dtype.newbyteorder("=")
        pixels = shared.astype(wanted)
        del shared
    # Else the network would be blamed for what came out of them.
    if dtype.kind == "f" and not np.isfinite(pixels).all():
        raise InputError("the pixels hold infinities or not-a-numbers", remedy="Replace them by numbers in [0, 1].")
    return pixels


def _write(work: PixelWork, result: NDArray[Any]) -> None:
    dtype = np.dtype(DTYPES[work.dtype])
    width, height = work.size
    shape = (height, width, work.shape[2])
    with Segment.attach(work.result, int(np.prod(shape)) * dtype.itemsize) as segment:
        shared = np.ndarray(shape, dtype, segment.view)
        shared[...] = result
        del shared
