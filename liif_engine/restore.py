"""The main path, start reading here: pixels -> tiles -> encoder -> decoder -> pixels."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from liif_engine import memory
from liif_engine.auto import choose
from liif_engine.errors import MemoryExhaustedError, TooLargeError
from liif_engine.judge import ImplausibleTile, judge, plausible
from liif_engine.levels import FORMS, as_array, finished, to_tensor
from liif_engine.model_names import AUTO, DAMAGED, SELF_ENSEMBLE, like, plain
from liif_engine.network import checkpoint, decoder, graphs
from liif_engine.network.decode import STRIP_QUERIES, Axis, Span, Strip, axis
from liif_engine.network.device import DTYPE, Precision, choose_device, choose_precision, first_line, has_failed
from liif_engine.network.graphs import GraphedEncoder
from liif_engine.network.model import EdsrLiif
from liif_engine.network.transfer import to_host
from liif_engine.picture import busy, planes, tiles
from liif_engine.picture.damage import estimate
from liif_engine.picture.narrow import grid_of, surrounded
from liif_engine.picture.tiles import Grid, Rect, Tile
from liif_engine.picture.turns import AS_IT_IS, TURNS, Turn
from liif_engine.progress import OnProgress, Progress
from liif_engine.target import Target

log = logging.getLogger(__name__)

Pixels = NDArray[Any]

#: Longest side of a tile's core in input pixels, by kind of device. Larger tiles repeat less of the encoder's work in
#: their halos (1.3 times at 512); smaller ones need less memory. Fixed, so that equal input gives equal bytes.
TILE_CORE = {"cpu": 512, "cuda": 1024, "mps": 512}

#: Smaller cores are not tried: their halo would be nearly all of the work.
SMALLEST_CORE = 32

#: Copies of a window's feature map alive at once while encoding: the shallow one, the block's input, its inside and its
#: result, and one for the convolution's own workspace.
ENCODER_COPIES = 5

#: Bytes that the libraries' workspaces take, and a strip of the decoder, of which each thread has one: by measurement
#: on CPU, where it is 25 MB at x1 in fp32 with the widest shipped decoder.
LIBRARY_BYTES, STRIP_BYTES = 136 << 20, 32 << 20

#: Bytes per pixel and channel that encoding a result to a file takes on top of it: Pillow keeps four bytes a pixel.
FILE_COPIES = 1.5


@dataclass(frozen=True)
class _Place:
    """Where and how tiles are computed."""

    device: torch.device
    precision: Precision


@dataclass(frozen=True)
class _Canvas:
    """Pixels of a rectangle of a picture, found by the picture's own coordinates."""

    pixels: Pixels
    top: int = 0
    left: int = 0

    def cut(self, rect: Rect) -> Pixels:
        """A view of the pixels of `rect`."""
        rows = slice(rect.top - self.top, rect.bottom - self.top)
        return self.pixels[rows, rect.left - self.left : rect.right - self.left]


@dataclass(frozen=True)
class _Frame:
    """What the tiles of one group of channels share.

    Attributes:
        source: the pixels of the group.
        result: of all channels.
        group: which channels of the result.
        grid: the picture's sizes.
        axes: where output pixels fall, down and across.
    """

    source: _Canvas
    result: _Canvas
    group: slice
    grid: Grid
    axes: tuple[Axis, Axis]


class Engine:
    """A model that restores pictures: ``Engine().restore(pixels, scale=2)``.

    Loading is done once, by the constructor. An engine may be used by one thread at a time.

    Args:
        model: ``auto``, which suits the model to each picture; a shipped name (`liif models` lists them); the path of
            a checkpoint; or a model. A name or a path that ends with ``+`` asks it eight times, see `turns.py`.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        precision: ``auto``, ``fp32`` or ``bf16``; ``auto`` takes bf16 for 8-bit pixels where the hardware has it.
        memory_bytes: at most this much memory for work on the CPU; by default what the system allows.

    Raises:
        ModelError: no such model, or an unusable checkpoint.
        DeviceError: no such device, or it lacks the precision.
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
        self.memory_bytes = memory_bytes
        choose_precision(precision, self.device)
        self._choices: dict[str, Engine] = {}
        self._networks: dict[_Place, EdsrLiif] = {}
        self._graphs: dict[EdsrLiif, GraphedEncoder] = {}
        self._turns: tuple[Turn, ...] = (AS_IT_IS,)
        if isinstance(model, EdsrLiif):
            self.model_name, self._original = type(model).__name__, model.eval()
            return
        asked, name = str(model), plain(str(model))
        if asked.endswith(SELF_ENSEMBLE):
            self._turns = TURNS
        if name == AUTO:
            self.model_name, self._original = asked, self._choice(like(asked, DAMAGED))._original
        else:
            self.model_name = like(asked, checkpoint.find(name).stem)
            self._original = checkpoint.load(name)
            log.info("model %s on %s", self.model_name, self.device)

    @property
    def network(self) -> EdsrLiif:
        """The model itself, in fp32 on the CPU; of ``auto`` the one for damaged pictures."""
        return self._original

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
        if pixels.dtype.kind == "f":
            pixels = (np.nan_to_num(pixels).clip(0, 1) * 255 + 0.5).astype(np.uint8)
        choice = choose(estimate(pixels, file))
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
                uint16, or float32 in [0, 1]; gamma-encoded as in files; alpha straight (not premultiplied).
            scale: output per input pixel, >= 1; 1 removes artifacts only.
            size: (width, height) of the result in pixels, instead of a scale.
            layout: ``CMYK`` for four channels of (255 - ink); otherwise told from the shape.
            on_progress: called with the share of the work done, at least twice a second; what it raises ends the work.

        Returns:
            The result in the dtype and with the channels of `pixels`, (round(scale H), round(scale W), C).

        Raises:
            UsageError: `pixels`, `scale` or `size` make no sense.
            TooLargeError: the result does not fit in memory.
            MemoryExhaustedError: memory ran out although the smallest tiles were tried.
            NonFiniteError: the network gave infinities even in fp32.
        """
        source, layout = planes.as_channels(pixels, layout)
        chosen = self.for_picture(source)
        if chosen is not self:
            return chosen.restore(pixels, scale=scale, size=size, layout=layout, on_progress=on_progress)
        height, width, channels = source.shape
        out_width, out_height = Target(scale=scale, size=size).size_of_result(width, height)
        room = self._room_beside(out_width, out_height, channels, 8 * source.dtype.itemsize)

        result = np.empty((out_height, out_width, channels), source.dtype)
        source, middle = surrounded(planes.settle_alpha(source, layout, result))
        grid = grid_of(source, middle, (out_width, out_height), self._original.halo)
        work = tiles.tiles(grid, self._core_size(grid, room), middle)
        canvas = _Canvas(result, work[0].output.top, work[0].output.left)
        groups = planes.NETWORK_GROUPS[layout]
        progress = Progress(len(groups) * sum(map(self._work, work)), on_progress)
        for group in groups:
            self._restore_group(_Canvas(source[..., group]), canvas, group, grid, work, progress)
        return result.reshape(out_height, out_width, *pixels.shape[2:])

    @property
    def halo(self) -> int:
        """Input pixels around a tile's core that can change its result."""
        return self._original.halo

    def tile_core(self) -> int:
        """Longest side of a tile's core, in input pixels, of pictures that are spread over several engines."""
        core = TILE_CORE[self.device.type]
        return self._fitting_core(core, self._available()) if self.device.type == "cpu" else core

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
        source = _Canvas(window, tile.window.top, tile.window.left)
        target = _Canvas(result, tile.output.top, tile.output.left)
        progress = Progress(self._work(tile), on_progress)
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
            TooLargeError: naming the size it would need.
        """
        self._room_beside(width, height, channels, bits, beside)

    def precision_for(self, bits: int) -> Precision:
        """The precision used for pictures of 8, 16 or 32 bits."""
        return choose_precision(self.precision, self.device, bits=bits)

    def _core_size(self, grid: Grid, room: int) -> int:
        """The fixed tile size, or less where so many bytes do not hold it."""
        core = TILE_CORE[self.device.type]
        enlargement = (grid.out_height / grid.height) * (grid.out_width / grid.width)
        if self.device.type == "cpu":
            core = self._fitting_core(core, room, enlargement)
        if core < min(TILE_CORE[self.device.type], max(grid.height, grid.width)):
            log.warning("little memory (%s free): working in tiles of %d pixels", memory.readable(room), core)
        return core

    def _room_beside(self, width: int, height: int, channels: int, bits: int, beside: int | None = None) -> int:
        """Bytes left for the work beside a result of this size.

        Raises:
            TooLargeError: as `check_memory`.
        """
        result, free = self.result_bytes(width, height, channels, bits), self._available()
        if beside is not None:
            result = width * height * channels * (bits // 8) + beside
        needed = result + self._tile_bytes(SMALLEST_CORE)
        if needed > free:
            raise TooLargeError(
                f"the result, {width}x{height}, needs {memory.readable(needed)} of memory"
                f" and {memory.readable(free)} are free"
            )
        return free - result

    def _fitting_core(self, core: int, room: int, enlargement: float = 1.0) -> int:
        """The core size, or half of it as often as the memory does not hold it."""
        while core > SMALLEST_CORE and self._tile_bytes(core, enlargement) > room:
            core //= 2
        return core

    def _tile_bytes(self, core: int, enlargement: float = 1.0) -> int:
        """Bytes of work for a tile of this core size; the wider itemsize, since a tile may be redone in fp32."""
        side, pixels = core + 2 * self._original.halo, int(core * core * enlargement)
        sums = pixels * 3 * 4 if len(self._turns) > 1 else 0
        strips = min(1 + pixels // STRIP_QUERIES["cpu"], torch.get_num_threads())
        maps = ENCODER_COPIES * side * side * self._original.channels * 4
        return maps + LIBRARY_BYTES + strips * STRIP_BYTES + sums

    def _available(self) -> int:
        free = memory.available_bytes()
        return free if self.memory_bytes is None else min(free, self.memory_bytes)

    def _work(self, tile: Tile) -> int:
        once = tile.window.area * self._original.encoder_work + tile.output.area * self._original.decoder_work
        return len(self._turns) * once

    def _restore_group(
        self,
        source: _Canvas,
        result: _Canvas,
        group: slice,
        grid: Grid,
        work: list[Tile],
        progress: Progress,
    ) -> None:
        """Every tile of one group of channels; a lack of memory makes tiles smaller, then moves to the CPU.

        A GPU that fails altogether leaves the rest to the CPU at once.
        """
        place = _Place(self.device, self.precision_for(8 * source.pixels.dtype.itemsize))
        axes = axis(grid.height, grid.out_height), axis(grid.width, grid.out_width)
        frame = _Frame(source, result, group, grid, axes)
        pending, largest = work[::-1], max(grid.height, grid.width)
        while pending:
            tile = pending.pop()
            if max(tile.core.height, tile.core.width) > largest:
                pending += reversed(tiles.halves(grid, tile))
                continue
            try:
                self._restore_tile(frame, tile, _place_for(source, tile, place), progress)
                progress.end_tile(self._work(tile))
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
                place = _on_cpu(place)
            else:
                place = self._with_less_memory(place, grid, tile, pending)
            if place.device != self.device:  # what was cut for a GPU's memory
                enlargement = (grid.out_height / grid.height) * (grid.out_width / grid.width)
                room = self._available() - result.pixels.nbytes
                largest = self._fitting_core(TILE_CORE[place.device.type], room, enlargement)

    def _with_less_memory(self, place: _Place, grid: Grid, tile: Tile, pending: list[Tile]) -> _Place:
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
        return _on_cpu(place)

    @torch.inference_mode()
    def _restore_tile(self, frame: _Frame, tile: Tile, place: _Place, progress: Progress) -> None:
        """Encodes a tile's window and writes its output pixels into `result`."""
        view = frame.source.cut(tile.window)
        target = frame.result.cut(tile.output)[..., frame.group]
        try:
            if len(self._turns) == 1:
                for strip in self._answers(view, tile, frame.axes, place, progress, target.dtype, frame.group):
                    _rows_of(target, tile, strip)[...] = as_array(strip.values, target.dtype)
            else:
                self._write_mean(view, target, frame, tile, place, progress)
        except ImplausibleTile as signal:
            log.warning("a tile %s in %s: redone in fp32", signal, place.precision)
            progress.redo_tile()
            self._restore_tile(frame, tile, _Place(place.device, "fp32"), progress)

    def _write_mean(
        self,
        view: Pixels,
        target: Pixels,
        frame: _Frame,
        tile: Tile,
        place: _Place,
        progress: Progress,
    ) -> None:
        """Writes the mean of the answers to the turned windows, each answer laid back; rounded once, at the end."""
        total = np.zeros(target.shape, np.float32)
        for turn in self._turns:
            turned = turn.tile(tile, frame.grid)
            axes = (frame.axes[1], frame.axes[0]) if turn.swap else frame.axes
            laid = turn.lay(total)
            for strip in self._answers(turn.lay(view), turned, axes, place, progress, total.dtype, frame.group):
                _rows_of(laid, turned, strip)[...] += strip.values.numpy()
        total *= planes.FULL_SCALE[target.dtype.name] / len(self._turns)
        target[...] = total if target.dtype == np.float32 else np.rint(total, out=total)

    def _answers(
        self,
        view: Pixels,
        tile: Tile,
        axes: tuple[Axis, Axis],
        place: _Place,
        progress: Progress,
        dtype: np.dtype[Any],
        group: slice,
    ) -> Iterator[Strip]:
        """Yields the strips of a tile, of whose window `view` is, in values of `dtype`, judged, in the CPU's memory."""
        network = self._network(place)
        window = tile.window
        encoder_work = window.area * network.encoder_work // (network.blocks + 1)
        rows = Span(axes[0], tile.output.top, tile.output.bottom, window.top)
        columns = Span(axes[1], tile.output.left, tile.output.right, window.left)
        # The fused decoder writes final values; gray is mixed from three colours first.
        form = FORMS[dtype.name] if group.stop - group.start > 1 else torch.float32
        # In exact fp32, also where cuDNN would rather use TF32; and with the same algorithm each time.
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
            pixels = to_tensor(view, place.device)
            feature_map = self._encode(network, pixels, lambda: progress.step(encoder_work))
            low, high = plausible(view)  # while a GPU computes
            finish = partial(finished, dtype=dtype, group=group)
            for strip in to_host(decoder.strips(network, feature_map, rows, columns, form=form, finish=finish)):
                judge(strip, low, high, place.precision)
                yield strip
                progress.step((strip.stop - strip.start) * tile.output.width * network.decoder_work)

    def _encode(self, network: EdsrLiif, pixels: Tensor, on_layer: Callable[[], None]) -> Tensor:
        if pixels.device.type != "cuda":
            return network.encode(pixels, on_layer)
        if network not in self._graphs:
            self._graphs[network] = GraphedEncoder(network)
        return self._graphs[network](pixels, on_layer)

    def _network(self, place: _Place) -> EdsrLiif:
        """The model in a precision on a device, converted once and kept."""
        if place not in self._networks:
            network = checkpoint.copy_of(self._original)
            if place.precision != "fp32":
                network.reduce(DTYPE[place.precision])
            self._networks[place] = network.to(place.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        return self._networks[place]


def _place_for(source: _Canvas, tile: Tile, place: _Place) -> _Place:
    """The place, in fp32 where half precision would miss the bound of docs/fidelity.md."""
    if place.precision == "fp32" or busy.alternation(source.cut(tile.window)) <= busy.TOO_BUSY:
        return place
    log.info("a tile of dithering or single-pixel lines: computed in fp32, since %s strays there", place.precision)
    return _Place(place.device, "fp32")


def _on_cpu(place: _Place) -> _Place:
    """The CPU, in half precision if that was meant and it can."""
    cpu = torch.device("cpu")
    return _Place(cpu, "fp32" if place.precision == "fp32" else choose_precision("auto", cpu))


def _rows_of(target: Pixels, tile: Tile, strip: Strip) -> Pixels:
    """A strip's rows of a tile's output."""
    return target[strip.start - tile.output.top : strip.stop - tile.output.top]
