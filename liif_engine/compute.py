"""What the network makes of one tile, on one device in one precision: window -> encoder -> decoder -> output pixels."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from liif_engine.judge import ImplausibleTile, judge, plausible
from liif_engine.levels import FORMS, as_array, finished, to_tensor
from liif_engine.network import checkpoint, decoder
from liif_engine.network.decode import Strip
from liif_engine.network.device import DTYPE, Precision, choose_precision
from liif_engine.network.exact import exactly
from liif_engine.network.graphs import GraphedEncoder
from liif_engine.network.grid import Axis, Span
from liif_engine.network.model import EdsrLiif
from liif_engine.network.transfer import to_host
from liif_engine.picture import busy, planes
from liif_engine.picture.tiles import Grid, Rect, Tile
from liif_engine.picture.turns import Turn
from liif_engine.progress import Progress

log = logging.getLogger(__name__)

Pixels = NDArray[Any]


@dataclass(frozen=True)
class Place:
    """Where and how tiles are computed."""

    device: torch.device
    precision: Precision


@dataclass(frozen=True)
class Canvas:
    """Pixels of a rectangle of a picture, found by the picture's own coordinates."""

    pixels: Pixels
    top: int = 0
    left: int = 0

    def cut(self, rect: Rect) -> Pixels:
        """A view of the pixels of `rect`."""
        rows = slice(rect.top - self.top, rect.bottom - self.top)
        return self.pixels[rows, rect.left - self.left : rect.right - self.left]


@dataclass(frozen=True)
class Frame:
    """What the tiles of one group of channels share.

    Attributes:
        source: the pixels of the group.
        result: of all channels.
        group: which channels of the result.
        grid: the picture's sizes.
        axes: where output pixels fall, down and across.
    """

    source: Canvas
    result: Canvas
    group: slice
    grid: Grid
    axes: tuple[Axis, Axis]


class _BusyTile(Exception):  # noqa: N818 - a signal to `Computer.restore`
    """A tile was begun in half precision that strays on what it holds."""


class Computer:
    """A model's copies, one for each place that was asked for, and the tiles that they compute. For one thread.

    Args:
        model: in fp32 on the CPU.
        turns: the ways to lay a tile in which the network is asked about it.
    """

    def __init__(self, model: EdsrLiif, turns: tuple[Turn, ...]) -> None:
        self._original, self._turns = model, turns
        self._networks: dict[Place, EdsrLiif] = {}
        self._graphs: dict[EdsrLiif, GraphedEncoder] = {}

    @torch.inference_mode()
    def restore(self, frame: Frame, tile: Tile, place: Place, progress: Progress) -> None:
        """Encodes a tile's window and writes its output pixels into `result`."""
        view = frame.source.cut(tile.window)
        target = frame.result.cut(tile.output)[..., frame.group]
        try:
            if len(self._turns) == 1:
                for strip in self._answers(view, tile, frame.axes, place, progress, target.dtype, frame.group):
                    _rows_of(target, tile, strip)[...] = as_array(strip.values, target.dtype)
            else:
                self._write_mean(view, target, frame, tile, place, progress)
            return
        except ImplausibleTile as signal:
            log.warning("a tile %s in %s: redone in fp32", signal, place.precision)
            exact = Place(place.device, "fp32")
        except _BusyTile:
            exact = _exact(place)
        # Outside the except clauses: the signal's traceback would keep the tile's tensors alive.
        progress.redo_tile()
        self.restore(frame, tile, exact, progress)

    def _write_mean(
        self,
        view: Pixels,
        target: Pixels,
        frame: Frame,
        tile: Tile,
        place: Place,
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
        place: Place,
        progress: Progress,
        dtype: np.dtype[Any],
        group: slice,
    ) -> Iterator[Strip]:
        """Yields the strips of a tile, of whose window `view` is, in values of `dtype`, judged, in the CPU's memory."""
        network = self.network(place)
        window = tile.window
        encoder_work = window.area * network.encoder_work // (network.blocks + 1)
        rows = Span(axes[0], tile.output.top, tile.output.bottom, window.top)
        columns = Span(axes[1], tile.output.left, tile.output.right, window.left)
        # The fused decoder writes final values; gray is mixed from three colours first.
        form = FORMS[dtype.name] if group.stop - group.start > 1 else torch.float32
        with exactly():
            pixels = to_tensor(view, place.device)
            feature_map = self._encode(network, pixels, lambda: progress.step(encoder_work))
            low, high = plausible(view)  # while a GPU computes
            if looks_while_computing(place) and busy.alternation(view) > busy.TOO_BUSY:
                raise _BusyTile
            finish = partial(finished, dtype=dtype, group=group)
            for strip in to_host(decoder.strips(network, feature_map, rows, columns, form=form, finish=finish)):
                judge(strip, low, high, place.precision)
                yield strip
                answers = (strip.stop - strip.start) * tile.output.width * axes[0].sides * axes[1].sides
                progress.step(answers * network.answer_work)

    def _encode(self, network: EdsrLiif, pixels: Tensor, on_layer: Callable[[], None]) -> Tensor:
        if pixels.device.type != "cuda":
            return network.encode(pixels, on_layer)
        if network not in self._graphs:
            self._graphs[network] = GraphedEncoder(network)
        return self._graphs[network](pixels, on_layer)

    def network(self, place: Place) -> EdsrLiif:
        """The model in a precision on a device, converted once and kept."""
        if place not in self._networks:
            network = checkpoint.copy_of(self._original)
            if place.precision != "fp32":
                network.reduce(DTYPE[place.precision])
            self._networks[place] = network.to(place.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        return self._networks[place]


def looks_while_computing(place: Place) -> bool:
    """Whether a tile's pixels are looked at while it is computed in half precision: a GPU leaves the time for it."""
    return place.device.type != "cpu" and place.precision != "fp32"


def place_for(source: Canvas, tile: Tile, place: Place) -> Place:
    """The place, in fp32 where half precision would miss the bound of docs/fidelity.md, if that is known beforehand."""
    if place.precision == "fp32" or looks_while_computing(place):
        return place
    return _exact(place) if busy.alternation(source.cut(tile.window)) > busy.TOO_BUSY else place


def _exact(place: Place) -> Place:
    log.info("a tile of dithering or single-pixel lines: computed in fp32, since %s strays there", place.precision)
    return Place(place.device, "fp32")


def on_cpu(place: Place) -> Place:
    """The CPU, in half precision if that was meant and it can."""
    cpu = torch.device("cpu")
    return Place(cpu, "fp32" if place.precision == "fp32" else choose_precision("auto", cpu))


def _rows_of(target: Pixels, tile: Tile, strip: Strip) -> Pixels:
    """A strip's rows of a tile's output."""
    return target[strip.start - tile.output.top : strip.stop - tile.output.top]
