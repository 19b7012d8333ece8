"""Workers that fail on purpose, and pictures handed to them in shared memory."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from liif_engine.workers import PixelWork, ProcessWorkers, Segment, WorkerSettings
from liif_engine.workers.pixel_work import DTYPES
from liif_engine.workers.work import Ticket

from .conftest import picture

FAULTY = WorkerSettings(
    device="cpu", model="copy", engine="faults:Faulty", patience_seconds=1, slow_patience_seconds=30
)


class Bench:
    """Puts pixels into shared memory, has workers do something with them, and takes the result out."""

    def __init__(self, settings: WorkerSettings) -> None:
        self.workers = ProcessWorkers(settings)
        self.segments: list[Segment] = []

    def submit(self, pixels: Any, model: str, *, scale: int = 1, urgent: bool = False, **rest: Any) -> Ticket:
        height, width, channels = pixels.shape
        source, result = Segment.create(pixels.nbytes), Segment.create(pixels.nbytes * scale * scale)
        self.segments += [source, result]
        source.view[:] = pixels.tobytes()
        dtype = next(name for name, code in DTYPES.items() if np.dtype(code) == pixels.dtype)
        size = width * scale, height * scale
        work = PixelWork(source.name, result.name, (height, width, channels), dtype, size, model=model)
        return self.workers.submit(work, urgent=urgent, **rest)

    def restore(self, pixels: Any, model: str, *, scale: int = 1) -> Any:
        self.submit(pixels, model, scale=scale).result(60)
        height, width, channels = pixels.shape
        found = np.frombuffer(bytes(self.segments[-1].view), pixels.dtype)
        return found.reshape(height * scale, width * scale, channels)

    def close(self) -> None:
        self.workers.close()
        for one in self.segments:
            one.close()


@pytest.fixture
def faulty(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr(sys, "path", [*sys.path, str(Path(__file__).parent)])
    bench = Bench(FAULTY)
    yield bench
    bench.close()


PIXELS, SIZE = picture(5, 7), (7, 5)
