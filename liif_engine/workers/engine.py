"""What a worker uses of an engine, so that a stand-in can take its place and torch is not loaded for its type."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from liif_engine.picture.tiles import Grid, Rect
from liif_engine.restorer import Restorer
from liif_engine.workers.work import OnProgress

#: Of any of the dtypes that pictures have.
Pixels = NDArray[Any]


class WorkerEngine(Restorer, Protocol):
    """What restores pixels, files and tiles in a worker: `Engine`, or a stand-in such as `Copying`."""

    @property
    def device(self) -> object:
        """Where it computes; as `str` of it: cpu, cuda:0, ..."""

    @property
    def chosen(self) -> tuple[str, ...]:
        """As `Engine.chosen`: the models that it has loaded besides the one that gave it its name."""

    @property
    def halo(self) -> int:
        """As `Engine.halo`."""

    def for_picture(self, pixels: Pixels, file: Path | None = None, /) -> WorkerEngine:
        """As `Engine.for_picture`."""

    def tile_core(self) -> int:
        """As `Engine.tile_core`."""

    def restore_tile(
        self, window: Pixels, grid: Grid, core: Rect, /, *, on_progress: OnProgress | None = None
    ) -> Pixels:
        """As `Engine.restore_tile`."""


class EngineMaker(Protocol):
    """What makes one: what `WorkerSettings.engine` names."""

    def __call__(self, model: str, /, *, device: str, precision: str, memory_bytes: int | None) -> WorkerEngine:
        """As the constructor of `Engine`."""
