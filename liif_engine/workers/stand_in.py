"""An engine without a network, for measuring and testing everything around it: each pixel is repeated."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from liif_engine.picture import tiles
from liif_engine.picture.tiles import Grid, Rect
from liif_engine.target import Target
from liif_engine.workers.engine import Pixels
from liif_engine.workers.work import OnProgress


class Copying:
    """Takes the place of `Engine`, a `WorkerEngine`: the same arguments, the nearest pixel for an answer.

    Args:
        model: any name.
        device, precision, memory_bytes: taken and left unused.
    """

    def __init__(
        self,
        model: str = "copy",
        *,
        device: str = "cpu",  # noqa: ARG002
        precision: str = "auto",  # noqa: ARG002
        memory_bytes: int | None = None,  # noqa: ARG002
    ) -> None:
        self.model_name, self.device = str(model), "cpu"

    def restore(
        self,
        pixels: Pixels,
        *,
        scale: float | None = None,
        size: tuple[int, int] | None = None,
        layout: str | None = None,  # noqa: ARG002
        on_progress: OnProgress | None = None,
    ) -> Pixels:
        """As `Engine.restore`, with one report of progress before the work and one after it."""
        height, width = pixels.shape[:2]
        out_width, out_height = Target(scale=scale, size=size).size_of_result(width, height)
        report = on_progress or (lambda _: None)
        report(0.0)
        if (out_height, out_width) == (height, width):
            result = pixels.copy()
        else:
            rows = np.arange(out_height) * height // out_height
            columns = np.arange(out_width) * width // out_width
            result = pixels[rows[:, None], columns]
        report(1.0)
        return result

    #: It loads no models besides.
    chosen: tuple[str, ...] = ()

    #: Pixels around a tile that can change its result, so that what cuts and joins tiles has halos to deal with.
    halo = 4

    def tile_core(self) -> int:
        """As `Engine.tile_core`, small, so that small pictures have several tiles."""
        return 64

    def restore_tile(self, window: Pixels, grid: Grid, core: Rect, *, on_progress: OnProgress | None = None) -> Pixels:
        """As `Engine.restore_tile`."""
        report = on_progress or (lambda _: None)
        report(0.0)
        tile = tiles.tile(grid, core)
        rows = np.arange(tile.output.top, tile.output.bottom) * grid.height // grid.out_height - tile.window.top
        columns = np.arange(tile.output.left, tile.output.right) * grid.width // grid.out_width - tile.window.left
        result = window[rows[:, None], columns]
        report(1.0)
        return result

    def for_picture(self, *_: object) -> Copying:
        """One engine suits them all."""
        return self

    def check_memory(self, *_: int, beside: int | None = None) -> None:
        """Everything fits."""

    def precision_for(self, bits: int) -> str:  # noqa: ARG002
        """There is nothing to be precise about."""
        return "fp32"


class Waiting(Copying):
    """Copies pixels after a pause without CPU, as if a GPU were at work: the model ``wait:0.2`` pauses 0.2 s."""

    def restore(self, pixels: Pixels, **rest: Any) -> Pixels:
        """As `Copying.restore`."""
        time.sleep(float(self.model_name.partition(":")[2] or 0))
        return super().restore(pixels, **rest)
