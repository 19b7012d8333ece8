"""Whether `web` would be ahead of `published` on a picture that says nothing of its damage, guessed from its detail.

A picture that was reduced or enlarged after its compression keeps no grid of blocks and no steps, and light noise is
hard to tell from texture: what is left is what its calm places, its edges and its colours look like. Some eighty such
figures of a tile go through a small network of two layers, which `bench/train_advantage.py` fits to gains that were
measured.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from liif_engine.picture.damage import without_alpha
from liif_engine.picture.noise import COLOURS, LUMA, Plane, blocks, halved, response

#: Side of the tiles that are looked at [px], and how many along an axis at the most: damage is the same all over.
SIDE, TILES = 96, 4

#: A picture with a side below it is too small to look at.
SMALLEST = 32

#: What the network was fitted to; made by `bench/train_advantage.py`.
FITTED = Path(__file__).with_name("advantage.safetensors")

#: Percentiles that say how noise is spread over the blocks of a plane.
_SPREAD = (5, 10, 25, 50, 75, 95)

#: Ranges of the largest step within a block [levels]: noise beside an edge is what compression leaves. Between whole
#: numbers, which the steps of gray pictures are: rounding would put those on either side.
_STEPS = (0, 3.5, 15.5, 63.5, 256)

#: A response below it is none: the pixel continues its neighbours' slope to within rounding. [levels]
_CALM = 0.34

#: What a logarithm is kept above. [levels]
_LEAST = 0.05


def guess(pixels: NDArray[Any]) -> float | None:
    """The logarithm of the odds that `web` is ahead at x2, by what it is worth; None: the picture is too small to say.

    The mean over tiles that are spread over the picture. Above 0 more is to be gained than lost.

    Args:
        pixels: (H, W), (H, W, 1 to 4) uint8 or uint16; gray, or RGB with or without alpha.
    """
    if min(pixels.shape[:2]) < SMALLEST:
        return None
    described = np.stack([describe(without_alpha(tile)) for tile in _tiles(pixels)])
    return float(_answer(described).mean())


def describe(tile: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The figures of one tile.

    Args:
        tile: (h, w, 1 or 3) uint8, 32 to 96 pixels along an axis.

    Returns:
        (F,) fp32: of luma and two colours the spread of noise, at full and at half size, and how it goes from pixel to
        pixel; of luma the steps along both axes, and how calm blocks are by the largest step within.
    """
    pixels = tile.astype(np.float32)
    pixels = np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3)))
    figures = list[float]()
    for colour in (LUMA, *COLOURS):
        plane = pixels @ colour
        full = response(plane)
        figures += [*_spread(full), *_spread(response(halved(plane)))]
        figures += [float(np.log((np.abs(full) < _CALM).mean() + 0.01)), *_likeness(full)]
    luma: Plane = pixels @ LUMA
    for steps in (np.abs(np.diff(luma, axis=1)), np.abs(np.diff(luma, axis=0))):
        sizes = [steps.mean(), np.sqrt(np.square(steps).mean()), np.percentile(steps, 99)]
        figures += [*np.log(np.array(sizes) + _LEAST), (steps < 0.5).mean(), (steps < 1.5).mean()]
    figures += _beside_edges(luma)
    return np.array(figures, np.float32)


def _spread(noise: Plane) -> list[float]:
    """Logarithms of percentiles of the blocks' deviations, and of the deviation of all."""
    each = np.sqrt(np.square(blocks(noise, 8 if min(noise.shape) >= 16 else 4)).mean(1))
    deviations = [*np.percentile(each, _SPREAD), np.sqrt(np.square(noise).mean())]
    return [float(value) for value in np.log(np.array(deviations) + _LEAST)]


def _likeness(noise: Plane) -> list[float]:
    """Correlation of neighbours, and of pixels two apart, across and down."""
    centred = noise - noise.mean()
    variance = np.square(centred).mean() + 1e-3
    pairs = [(centred[:, step:], centred[:, :-step]) for step in (1, 2)]
    pairs += [(centred[step:], centred[:-step]) for step in (1, 2)]
    return [float((one * other).mean() / variance) for one, other in pairs]


def _beside_edges(luma: Plane) -> list[float]:
    """For blocks of each range of largest step: how calm their calmest pixels are, and half of them."""
    noise = blocks(np.abs(response(luma)), 4)
    largest = blocks(np.abs(np.diff(luma, axis=1))[1:-1, :-1], 4).max(1)
    calmest = list[float]()
    for least, most in pairwise(_STEPS):
        kept = noise[(largest >= least) & (largest < most)]
        calmest += [float(np.median(calm)) if len(kept) else 0.0 for calm in (kept.min(1), np.median(kept, 1))]
    return [float(value) for value in np.log(np.array(calmest) + 0.02)]


def _tiles(pixels: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """Spread evenly, from edge to edge."""
    height, width = pixels.shape[:2]
    for top in _starts(height):
        for left in _starts(width):
            yield pixels[top : top + SIDE, left : left + SIDE]


def _starts(length: int) -> list[int]:
    count = min(TILES, max(1, length // SIDE))
    return [round(start) for start in np.linspace(0, max(0, length - SIDE), count)]


def _answer(described: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N, F) to (N,): what the fitted network says."""
    fitted = _fitted()
    normal = ((described - fitted["mean"]) / fitted["deviation"]).clip(-4, 4)
    hidden = np.maximum(normal @ fitted["hidden"] + fitted["hidden_bias"], 0)
    answer: NDArray[np.float32] = hidden @ fitted["last"] + fitted["last_bias"]
    return answer


@cache
def _fitted() -> dict[str, NDArray[np.float32]]:
    from safetensors.numpy import load_file

    return load_file(FITTED)
