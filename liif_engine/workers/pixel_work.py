"""Restores raw pixels inside a worker: from shared memory to shared memory."""

from __future__ import annotations

import time

import numpy as np

from liif_engine.errors import InputError
from liif_engine.file import Clock
from liif_engine.workers.engine import Pixels, WorkerEngine
from liif_engine.workers.segment import Segment
from liif_engine.workers.work import Answer, OnProgress, PixelWork

#: Numpy's names of the formats of raw pixels; little endian whatever the machine.
DTYPES = {"u8": "<u1", "u16": "<u2", "f16": "<f2", "f32": "<f4"}


def run(engine: WorkerEngine, work: PixelWork, *, on_progress: OnProgress) -> Answer:
    """Does the work.

    Args:
        engine: of the work's model.
        work: what is asked.
        on_progress: called with the share done; what it raises ends the work.

    Raises:
        InputError: floats that are no numbers.
        LiifError: as `Engine.restore`.
    """
    started = time.monotonic()
    clock = Clock()
    pixels = read(work)
    clock.lap("read")
    engine = engine.for_picture(pixels)
    result = engine.restore(pixels, size=work.size, layout=work.layout, on_progress=on_progress)
    clock.lap("restore")
    write(work, result)
    clock.lap("write")
    precision = engine.precision_for(8 * pixels.dtype.itemsize)
    return Answer(
        engine.model_name,
        precision,
        str(engine.device),
        time.monotonic() - started,
        *work.size,
        stages=clock.laps,
        source_pixels=work.shape[0] * work.shape[1],
    )


def read(work: PixelWork) -> Pixels:
    """The picture as an array of this process's own, half floats widened.

    Raises:
        InputError: floats that are no numbers.
    """
    pixels = fetch(work.source, work.shape, work.dtype)
    # Else the network would be blamed for what came out of them.
    if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
        raise InputError("the pixels hold infinities or not-a-numbers", remedy="Replace them by numbers in [0, 1].")
    return pixels


def write(work: PixelWork, result: Pixels) -> None:
    """Puts the result where it is awaited."""
    put(work.result, result, work.dtype)


def fetch(name: str, shape: tuple[int, int, int], dtype: str) -> Pixels:
    """Pixels from a segment as an array of this process's own, half floats widened."""
    code = np.dtype(DTYPES[dtype])
    with Segment.attach(name, int(np.prod(shape)) * code.itemsize) as segment:
        shared = np.ndarray(shape, code, segment.view)
        pixels = shared.astype(np.float32 if dtype == "f16" else code.newbyteorder("="))
        del shared
    return pixels


def put(name: str, pixels: Pixels, dtype: str) -> None:
    """Pixels into a segment of their size."""
    code = np.dtype(DTYPES[dtype])
    with Segment.attach(name, pixels.size * code.itemsize) as segment:
        shared = np.ndarray(pixels.shape, code, segment.view)
        shared[...] = pixels
        del shared
