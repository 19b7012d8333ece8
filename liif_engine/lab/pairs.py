"""From a folder of clean pictures to training pairs: damaged patch, queries, and the true colours there.

Pictures are decoded once into one flat file that every worker process maps; pair number i of a seed is the same
pair whoever makes it, so a run may stop and go on anywhere. No torch here: workers start fast.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from liif_engine.errors import InputError, UsageError
from liif_engine.lab.degrade import Pixels, Plan, Shares, apply, draw, reduce, to_gray
from liif_engine.words import counted

SUFFIXES = frozenset({".avif", ".png", ".webp"})

#: One picture in so many is held out: never trained on, the only ones on which a checkpoint is chosen.
HELD_OUT_ONE_IN = 20

#: Damaged pixels of the canvas beside the patch: 16 grid phases, 7 for a shifted second grid, 5 that the reduction
#: or the last block's padding may have touched, at each end.
CANVAS_MARGIN = 32
FIRST_PHASE = 12
PHASES = 16

#: A crop whose levels differ by less teaches nothing; it gets one second chance.
FLAT_LEVELS = 12


def is_held_out(name: str) -> bool:
    """Whether the picture of this file name is for validation only; the same answer on every machine."""
    digest = hashlib.sha256(Path(name).stem.encode()).digest()
    return int.from_bytes(digest[:8], "big") % HELD_OUT_ONE_IN == 0


@dataclass(frozen=True)
class PairShape:
    """Sizes of a pair.

    Attributes:
        patch: damaged pixels P along each axis.
        queries: ground-truth pixels Q asked for, drawn anew for each pair.
    """

    patch: int = 48
    queries: int = 1152

    @property
    def canvas(self) -> int:
        """Damaged pixels along each axis before the patch is cut out at a random grid phase."""
        return self.patch + CANVAS_MARGIN

    @cached_property
    def record(self) -> np.dtype[Any]:
        """One pair: pixels (P, P, 3) uint8; coord (Q, 2) and cell (2,) fp32 as (y, x); rgb (Q, 3) uint8."""
        fields = [
            ("coord", np.float32, (self.queries, 2)),
            ("cell", np.float32, (2,)),
            ("pixels", np.uint8, (self.patch, self.patch, 3)),
            ("rgb", np.uint8, (self.queries, 3)),
        ]
        return np.dtype(fields, align=True)


@dataclass(frozen=True)
class Pool:
    """Decoded pictures, one after the other in one file of uint8 RGB.

    Attributes:
        path: the file.
        names: file names of the pictures, sorted.
        sizes: (height, width) of each.
    """

    path: Path
    names: tuple[str, ...]
    sizes: tuple[tuple[int, int], ...]

    @cached_property
    def _pixels(self) -> NDArray[np.uint8]:
        return np.memmap(self.path, np.uint8, "r")

    @cached_property
    def _starts(self) -> NDArray[np.int64]:
        return np.cumsum([0, *(3 * height * width for height, width in self.sizes)])

    @cached_property
    def _odds(self) -> NDArray[np.float64]:
        # By the square root of the area: a large picture has more to show, but not ten times as much.
        weights = np.sqrt([height * width for height, width in self.sizes])
        odds: NDArray[np.float64] = np.cumsum(weights) / weights.sum()
        return odds

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Pixels:
        """Picture number `index`, a read-only view, (H, W, 3) uint8."""
        height, width = self.sizes[index]
        return self._pixels[self._starts[index] : self._starts[index + 1]].reshape(height, width, 3)

    def draw(self, rng: np.random.Generator) -> Pixels:
        """A random picture, a read-only view, (H, W, 3) uint8."""
        return self[int(np.searchsorted(self._odds[:-1], rng.random(), side="right"))]


def build_pool(
    folders: Sequence[Path], file: Path, *, keep: Callable[[str], bool], threads: int, smallest: int, use: str = ""
) -> Pool:
    """Decodes the pictures of some folders, and of the folders in them, into one file.

    Args:
        folders: where the pictures lie: AVIF, PNG or WebP, 8-bit.
        file: written here; 3 bytes a pixel.
        keep: which file names are wanted.
        threads: how many decode at once; Pillow lets go of Python's lock meanwhile.
        smallest: pictures with fewer pixels along an axis are left out.
        use: what they are for, as `to learn from`; for the error.

    Raises:
        UsageError: no such folder, or no picture in them.
        InputError: a picture cannot be decoded.
    """
    for folder in folders:
        if not folder.is_dir():
            raise UsageError("there is no such folder", path=folder)
    # By name, since a run's pairs are numbered in this order; two folders may have pictures of the same name.
    found = {path.absolute() for folder in folders for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES}
    kept = []
    for path in sorted(found, key=lambda path: (path.name, path)):
        if keep(path.name):
            width, height = _size(path)
            if min(width, height) >= smallest:
                kept.append((path, (height, width)))
    if not kept:
        raise UsageError(
            f"of {counted(len(found), 'picture')} in {', '.join(map(str, folders))} none is {use or 'wanted here'}"
            f" and at least {smallest}x{smallest} pixels",
            remedy="Give folders with more AVIF, PNG or lossless WebP. One in twenty, by a hash of its name, is held"
            " out to validate with, and the others are to learn from.",
        )
    paths, sizes = zip(*kept, strict=True)
    starts = np.cumsum([0, *(3 * height * width for height, width in sizes)])
    pixels = np.memmap(file, np.uint8, "w+", shape=(int(starts[-1]),))

    def decode(index: int) -> None:
        path = paths[index]
        try:
            with Image.open(path) as image:
                pixels[starts[index] : starts[index + 1]] = np.asarray(image.convert("RGB")).reshape(-1)
        except (OSError, ValueError) as error:
            raise InputError(f"cannot be decoded ({error})", path=path) from error

    with ThreadPoolExecutor(threads) as executor:
        list(executor.map(decode, range(len(paths))))
    pixels.flush()
    return Pool(file, tuple(path.name for path in paths), sizes)


def _size(path: Path) -> tuple[int, int]:
    try:
        with Image.open(path) as image:
            return image.size
    except (OSError, ValueError, SyntaxError) as error:
        raise InputError(f"cannot be read as a picture ({error})", path=path) from error


def make_pair(pool: Pool, seed: int, index: int, shape: PairShape, shares: Shares) -> NDArray[Any]:
    """Pair number `index` of a seed.

    Args:
        pool: where the ground truth comes from.
        seed: of the whole run.
        index: any number from 0; pairs do not depend on each other.
        shape: sizes of the pair.
        shares: how often each kind of damage comes.

    Returns:
        One record, a 0-dimensional array of dtype ``shape.record``.
    """
    rng = np.random.default_rng([seed, index])
    plan = draw(rng, shares)
    ground_truth = _draw_crop(pool, plan.scale, shape.canvas, rng)
    if np.ptp(ground_truth[::4, ::4]) < FLAT_LEVELS:
        ground_truth = _draw_crop(pool, plan.scale, shape.canvas, rng)
    return pair_from(_turn(ground_truth, int(rng.integers(8))), plan, shape, rng)


def _draw_crop(pool: Pool, scale: float, canvas: int, rng: np.random.Generator) -> Pixels:
    picture = pool.draw(rng)
    height, width = picture.shape[:2]
    side = min(round(scale * canvas), height, width)
    top, left = int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1))
    return picture[top : top + side, left : left + side]


def _turn(pixels: Pixels, which: int) -> Pixels:
    """One of the eight ways to lay a square."""
    turned = pixels.transpose(1, 0, 2) if which & 4 else pixels
    return np.ascontiguousarray(turned[:: -1 if which & 2 else 1, :: -1 if which & 1 else 1])


def pair_from(ground_truth: Pixels, plan: Plan, shape: PairShape, rng: np.random.Generator) -> NDArray[Any]:
    """Damages a ground truth and asks for some of its pixels.

    The ground truth is reduced to a canvas larger than the patch, so that no border of the reduction and no grid
    phase is special; what counts as scale is the canvas's own, M / canvas.

    Args:
        ground_truth: (M, M, 3) uint8, M at least ``shape.canvas``.
        plan: what happens to it.
        shape: sizes of the pair.
        rng: for the noise, the patch's place and the queries.

    Returns:
        One record, a 0-dimensional array of dtype ``shape.record``.
    """
    if plan.gray:
        ground_truth = to_gray(ground_truth)
    damaged, cut = apply(reduce(ground_truth, shape.canvas, plan), plan, rng)
    corner = FIRST_PHASE + rng.integers(0, PHASES, 2)  # in the canvas, as (y, x)
    top, left = (int(at - lost) for at, lost in zip(corner, cut, strict=True))

    # The ground-truth pixel j lies at (j + 1/2) / step in canvas pixels; the patch asks for those inside it.
    step = ground_truth.shape[0] / shape.canvas
    first = np.ceil(corner * step - 0.5).astype(np.int64)
    count = np.ceil((corner + shape.patch) * step - 0.5).astype(np.int64) - first
    inside = int(count.prod())
    chosen = rng.choice(inside, shape.queries, replace=inside < shape.queries)
    at = first + np.stack(np.divmod(chosen, count[1]), axis=1)  # (Q, 2)

    pair = np.zeros((), shape.record)
    pair["pixels"] = damaged[top : top + shape.patch, left : left + shape.patch]
    pair["coord"] = 2 * ((at + 0.5) / step - corner) / shape.patch - 1
    pair["cell"] = 2 / (step * shape.patch)
    pair["rgb"] = ground_truth[at[:, 0], at[:, 1]]
    return pair
