"""The main path, start reading here: pixels -> tiles -> encoder -> decoder -> pixels."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from liif_engine import memory
from liif_engine.arguments import amount
from liif_engine.auto import choose_for
from liif_engine.budget import FILE_COPIES, SMALLEST_CORE, TILE_CORE, Budget, enlargement_of
from liif_engine.compute import Canvas, Computer, Frame, Place, on_cpu, place_for
from liif_engine.errors import MemoryExhaustedError
from liif_engine.model_names import AUTO, DAMAGED, SELF_ENSEMBLE, like, plain
from liif_engine.network import card, checkpoint, graphs
from liif_engine.network.decode import STRIP_QUERIES
from liif_engine.network.device import Precision, choose_device, choose_precision, first_line, has_failed
from liif_engine.network.grid import axis, sides
from liif_engine.network.model import EdsrLiif
from liif_engine.picture import planes, tiles
from liif_engine.picture.narrow import grid_of, surrounded
from liif_engine.picture.tiles import Grid, Rect, Tile
from liif_engine.picture.turns import AS_IT_IS, TURNS, Turn
from liif_engine.progress import OnProgress, Progress, check_callable
from liif_engine.target import Target

log = logging.getLogger(__name__)

Pixels = NDArray[Any]


class Engine:
    """A model that restores pictures: ``Engine().restore(pixels, scale=2)``.

    Loading is done once, by the constructor. An engine may be used by one thread at a time. (While one waits for a GPU,
    in `network.waits`, another may.) It can be pickled for a process that was spawned; in one that was forked after
    torch has computed, torch hangs.

    Args:
        model: ``auto``, which suits the model to each picture; a shipped name (`liif models` lists them); the path of
            a checkpoint; or a model. A name or a path that ends with ``+`` asks it eight times, see `turns.py`.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        precision: ``auto``, ``fp32`` or ``bf16``; ``auto`` takes bf16 for 8-bit pixels where the hardware has it.
        memory_bytes: at most this much memory for work on the CPU; by default what the system allows.

    Raises:
        ModelError: no such model, or an unusable checkpoint.
        DeviceError: no such device, or it lacks the precision.
        UsageError: `memory_bytes` is no number, or none from 1 on.
    """

    def __init__(
        self,
        model: str | Path | EdsrLiif = AUTO,
        *,
        device: str = "auto",
        precision: str = "auto",
        memory_bytes: int | None = None,
    ) -> None:
        self.device = choose_device(device)
        self.precision = precision
        self.memory_bytes = None if memory_bytes is None else amount("memory_bytes", memory_bytes)
        choose_precision(precision, self.device)
        self._choices: dict[str, Engine] = {}
        self._turns: tuple[Turn, ...] = (AS_IT_IS,)
        if isinstance(model, EdsrLiif):
            self.model_name, self._original = type(model).__name__, model.eval()
            self._computer = Computer(self._original, self._turns)
            return
        asked, name = str(model), plain(str(model))
        if asked.endswith(SELF_ENSEMBLE):
            self._turns = TURNS
        if name == AUTO:
            self.model_name, self._original = asked, self._choice(like(asked, DAMAGED))._original
        else:
            self.model_name = like(asked, card.find(name).stem)
            self._original = checkpoint.load(name)
            log.info("model %s on %s", self.model_name, self.device)
        self._computer = Computer(self._original, self._turns)

    @property
    def network(self) -> EdsrLiif:
        """The model itself, in fp32 on the CPU; of ``auto`` the one for damaged pictures."""
        return self._original

    @property
    def chosen(self) -> tuple[str, ...]:
        """The models that ``auto`` has loaded so far; none if this engine's is another one."""
        return tuple(self._choices)

    def for_picture(self, pixels: Pixels, file: Path | None = None) -> Engine:
        """The engine for this picture: of the model that suits its damage if this one's is ``auto``, else this one.

        Args:
            pixels: as for `restore`.
            file: the picture's file, whose quantisation tables say more of the damage than pixels can.

        Raises:
            ModelError: the chosen model cannot be loaded.
        """
        if plain(self.model_name) != AUTO:
            return self
        choice = choose_for(pixels, file)
        model = like(self.model_name, choice.model)
        log.info("%smodel %s: %s", "" if file is None else f"{file}: ", model, choice.reason)
        return self._choice(model)

    def _choice(self, model: str) -> Engine:
        if model not in self._choices:
            settings: dict[str, Any] = {"precision": self.precision, "memory_bytes": self.memory_bytes}
            self._choices[model] = Engine(model, device=str(self.device), **settings)
        return self._choices[model]

    def restore(
        self,
        pixels: Pixels,
        *,
        scale: float | None = None,
        size: tuple[int, int] | None = None,
        layout: str | None = None,
        on_progress: OnProgress | None = None,
    ) -> Pixels:
        """Restores a picture held in memory.

        Args:
            pixels: (H, W), (H, W, 1) gray, (H, W, 2) gray and alpha, (H, W, 3) RGB or (H, W, 4) RGB and alpha; uint8,
                uint16, or float32 in [0, 1], to which the result's colours are clipped; gamma-encoded as in files;
                alpha straight (not premultiplied).
            scale: output per input pixel, >= 1; 1 removes artifacts only.
            size: (width, height) of the result in pixels, instead of a scale.
            layout: ``CMYK`` for four channels of (255 - ink); otherwise told from the shape.
            on_progress: called with the share of the work done, at least twice a second; what it raises ends the work.

        Returns:
            The result in the dtype and with the channels of `pixels`, (round(scale H), round(scale W), C).

        Raises:
            UsageError: `pixels` or another argument makes no sense; also where most of float32 `pixels` lie above 2.
            TooLargeError: the result does not fit in the memory that may be taken.
            MemoryExhaustedError: it does not fit in what is free, or memory ran out although the smallest tiles were
                tried.
            NonFiniteError: the network gave infinities even in fp32.
        """
        check_callable(on_progress)
        source, layout = planes.as_channels(pixels, layout)
        chosen = self.for_picture(source)
        if chosen is not self:
            return chosen.restore(pixels, scale=scale, size=size, layout=layout, on_progress=on_progress)
        height, width, channels = source.shape
        out_width, out_height = Target(scale=scale, size=size).size_of_result(width, height)
        size_in_bytes = out_width * out_height * channels * source.dtype.itemsize
        room = self._budget.room_beside(out_width, out_height, size_in_bytes, int(size_in_bytes * FILE_COPIES))

        result = np.empty((out_height, out_width, channels), source.dtype)
        source, middle = surrounded(planes.settle_alpha(source, layout, result))
        grid = grid_of(source, middle, (out_width, out_height), self._original.halo)
        work = tiles.tiles(grid, self._core_size(grid, room), middle)
        canvas = Canvas(result, work[0].output.top, work[0].output.left)
        groups = planes.NETWORK_GROUPS[layout]
        progress = Progress(len(groups) * sum(self._work(grid, tile) for tile in work), on_progress)
        for group in groups:
            self._restore_group(Canvas(source[..., group]), canvas, group, grid, work, progress)
        return result.reshape(out_height, out_width, *pixels.shape[2:]).astype(pixels.dtype, copy=False)

    @property
    def halo(self) -> int:
        """Input pixels around a tile's core that can change its result."""
        return self._original.halo

    def tile_core(self) -> int:
        """Longest side of a tile's core, in input pixels, of pictures that are spread over several engines."""
        core = TILE_CORE[self.device.type]
        return self._budget.fitting_core(core, self._budget.available()) if self.device.type == "cpu" else core

    def restore_tile(self, window: Pixels, grid: Grid, core: Rect, *, on_progress: OnProgress | None = None) -> Pixels:
        """Restores one tile of a picture that is spread over several engines: `restore` gives the same pixels for it.

        Args:
            window: (h, w, 1 or 3), the pixels that `tiles.tile(grid, core)` calls the tile's window; one group of
                channels (`planes.NETWORK_GROUPS`) in uint8, uint16 or float32.
            grid: the whole picture's sizes.
            core: the tile's.
            on_progress: as in `restore`.

        Returns:
            The pixels of the tile's output, with the channels and dtype of `window`.

        Raises:
            MemoryExhaustedError, NonFiniteError: as `restore`.
        """
        tile = tiles.tile(grid, core)
        result = np.empty((tile.output.height, tile.output.width, window.shape[2]), window.dtype)
        source = Canvas(window, tile.window.top, tile.window.left)
        target = Canvas(result, tile.output.top, tile.output.left)
        progress = Progress(self._work(grid, tile), on_progress)
        self._restore_group(source, target, slice(0, window.shape[2]), grid, [tile], progress)
        return result

    def result_bytes(self, width: int, height: int, channels: int, bits: int) -> int:
        """Bytes that a result of this size takes in memory, with what encoding it to a file needs."""
        return int(width * height * channels * (bits // 8) * (1 + FILE_COPIES))

    def check_memory(self, width: int, height: int, channels: int, bits: int = 8, *, beside: int | None = None) -> None:
        """Refuses, before any work, a result that cannot fit.

        Args:
            width, height: of the result in pixels.
            channels: of the result.
            bits: 8, 16 or 32 per channel.
            beside: bytes that the caller needs at the same time; by default what `result_bytes` counts for a file.

        Raises:
            TooLargeError, MemoryExhaustedError: naming the size it would need.
        """
        result = width * height * channels * (bits // 8)
        self._budget.room_beside(width, height, result, int(result * FILE_COPIES) if beside is None else beside)

    def precision_for(self, bits: int) -> Precision:
        """The precision used for pictures of 8, 16 or 32 bits."""
        return choose_precision(self.precision, self.device, bits=bits)

    @property
    def _budget(self) -> Budget:
        halo, channels = self._original.halo, self._original.channels
        threads, several = torch.get_num_threads(), len(self._turns) > 1
        return Budget(halo, channels, threads, STRIP_QUERIES["cpu"], several, self.memory_bytes)

    def _core_size(self, grid: Grid, room: int) -> int:
        return self._budget.core_size(self.device.type, grid, room)

    def _work(self, grid: Grid, tile: Tile) -> int:
        answers = tile.output.area * sides(grid.height, grid.out_height) * sides(grid.width, grid.out_width)
        once = tile.window.area * self._original.encoder_work + answers * self._original.answer_work
        return len(self._turns) * once

    def _restore_group(
        self,
        source: Canvas,
        result: Canvas,
        group: slice,
        grid: Grid,
        work: list[Tile],
        progress: Progress,
    ) -> None:
        """Every tile of one group of channels; a lack of memory makes tiles smaller, then moves to the CPU.

        A GPU that fails altogether leaves the rest to the CPU at once.
        """
        place = Place(self.device, self.precision_for(8 * source.pixels.dtype.itemsize))
        axes = axis(grid.height, grid.out_height), axis(grid.width, grid.out_width)
        frame = Frame(source, result, group, grid, axes)
        pending, largest = work[::-1], max(grid.height, grid.width)
        while pending:
            tile = pending.pop()
            if max(tile.core.height, tile.core.width) > largest:
                pending += reversed(tiles.halves(grid, tile))
                continue
            try:
                self._computer.restore(frame, tile, place_for(source, tile, place), progress)
                progress.end_tile(self._work(grid, tile))
                if len(work) > 1:  # pieces of a large tile would lie between those of the next, of another size
                    memory.give_back()
                continue
            except (RuntimeError, MemoryError) as error:
                failure = "" if memory.is_out_of_memory(error) else first_line(error)
                if failure and not has_failed(error, place.device):
                    raise
            # Outside the except clause: the error's traceback would keep the tile's tensors alive.
            progress.redo_tile()
            if failure:
                pending.append(tile)
                log.warning("%s failed (%s): going on with the CPU", place.device, failure)
                place = on_cpu(place)
            else:
                place = self._with_less_memory(place, grid, tile, pending)
            if place.device != self.device:  # what was cut for a GPU's memory
                room = self._budget.available() - result.pixels.nbytes
                largest = self._budget.fitting_core(TILE_CORE[place.device.type], room, enlargement_of(grid))

    def _with_less_memory(self, place: Place, grid: Grid, tile: Tile, pending: list[Tile]) -> Place:
        """Puts the tile back, halved or for the CPU."""
        if place.device.type == "cuda":
            graphs.clear_all()
            torch.cuda.empty_cache()
        if max(tile.core.height, tile.core.width) > SMALLEST_CORE:
            first, second = tiles.halves(grid, tile)
            pending += [second, first]
            size = f"{first.core.width}x{first.core.height}"
            log.warning("out of memory on %s: going on with tiles of %s pixels", place.device, size)
            return place
        if place.device.type == "cpu":
            raise MemoryExhaustedError(f"memory ran out on a tile of {tile.core.width}x{tile.core.height} pixels")
        pending.append(tile)
        log.warning("out of memory on %s even with the smallest tiles: going on with the CPU", place.device)
        return on_cpu(place)
