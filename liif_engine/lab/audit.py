"""How far reduced arithmetic strays from fp32, tile by tile, so that no average hides a bad place.

A form of arithmetic (bf16, fp16, the small network `fast`) ships on by default only if the worst tile of the worst kind
of content passes `BOUND`.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]
Values = NDArray[np.float32]

#: Side of a tile of the result in pixels.
TILE = 64

#: One level of an 8-bit file, as a share of full scale; differences are given in these.
STEP = 1 / 255


@dataclass(frozen=True)
class Difference:
    """How two versions of the same pixels differ; in steps of an 8-bit file, over all channels.

    Attributes:
        mean: of the magnitudes.
        rms: root of the mean square.
        p999: the 99.9th percentile of the magnitudes.
        maximum: of the magnitudes.
    """

    mean: float
    rms: float
    p999: float
    maximum: float


@dataclass(frozen=True)
class AuditedTile:
    """One tile of one picture.

    Attributes:
        form: what was compared with fp32.
        kind: of content.
        difference: of the tile.
        saved: of the tile in fp32 to what a JPEG of the default quality keeps of it.
        source: the input below it, (h, w, 3) uint8.
        exact, reduced: the tile, (H, W, 3) fp32 in [0, 1].
    """

    form: str
    kind: str
    difference: Difference
    saved: Difference
    source: Pixels
    exact: Values
    reduced: Values


@dataclass(frozen=True)
class Bound:
    """The most that any tile of 64x64 pixels may differ from fp32; in steps of an 8-bit file.

    Both figures come from what becomes of a result anyway. Rounding it to 8 bits moves a value by up to half a step, so
    arithmetic may typically move one by no more. And it may not stray further, where it strays most, than saving the
    result as a JPEG of the default quality does in the same place; but where a tile is so flat that a JPEG keeps it
    exactly, one step is allowed, since two values that are almost equal may round to neighbouring levels.

    Attributes:
        rms: root of the mean square over a tile.
        p999: what one value in a thousand exceeds, where saving changes the tile less than that.
        quality: of the JPEG.
    """

    rms: float = 0.5
    p999: float = 1.0
    quality: int = 95

    def share(self, tile: AuditedTile) -> float:
        """How much of the bound a tile uses: at most 1 if it passes; a not-a-number is infinitely much."""
        used = max(tile.difference.rms / self.rms, tile.difference.p999 / max(self.p999, tile.saved.p999))
        return math.inf if math.isnan(used) else used


BOUND = Bound()


@dataclass(frozen=True)
class Summary:
    """A form on a kind of content: over all its pixels, and its worst tile.

    Attributes:
        form, kind: which.
        overall: over all pixels of the kind.
        worst: each figure from the tile where it is largest.
        tiles: how many.
        share: how much of the bound the worst tile uses.
    """

    form: str
    kind: str
    overall: Difference
    worst: Difference
    tiles: int
    share: float

    @property
    def passes(self) -> bool:
        """Whether every tile keeps to the bound."""
        return self.share <= 1

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self) | {"passes": self.passes}


class FloatRestorer(Protocol):
    """`Engine` is one."""

    def restore(self, pixels: Any, *, scale: float) -> Any:
        """(H, W, 3) float32 in [0, 1] to the same, `scale` times as large."""


def audit(
    exact: FloatRestorer, forms: Mapping[str, FloatRestorer], pictures: Iterable[tuple[str, Pixels]], *, scale: float
) -> Iterator[AuditedTile]:
    """Restores every picture exactly and in every form, and compares them before they are rounded.

    Args:
        exact: in fp32.
        forms: by name.
        pictures: (kind, (H, W, 3) uint8).
        scale: >= 1.

    Yields:
        Every tile, in reading order, form by form, picture by picture.
    """
    for kind, picture in pictures:
        source = picture.astype(np.float32) / 255
        truth = exact.restore(source, scale=scale)
        saved = _as_jpeg(truth, BOUND.quality)
        for form, restorer in forms.items():
            result = restorer.restore(source, scale=scale)
            for top in range(0, truth.shape[0], TILE):
                for left in range(0, truth.shape[1], TILE):
                    here = slice(top, top + TILE), slice(left, left + TILE)
                    below = tuple(slice(int(s.start / scale), math.ceil(s.stop / scale)) for s in here)
                    yield AuditedTile(
                        form,
                        kind,
                        compare(truth[here], result[here]),
                        compare(truth[here], saved[here]),
                        picture[below],
                        truth[here],
                        result[here],
                    )


def compare(exact: Values, reduced: Values) -> Difference:
    """The figures of two versions, (H, W, C) in [0, 1]."""
    magnitude = np.abs(exact.astype(np.float64) - reduced).ravel() / STEP
    # The value at or above the 99.9th percentile, not one between two: in a small tile it is the maximum.
    p999 = np.quantile(magnitude, 0.999, method="higher")
    return Difference(
        float(magnitude.mean()), float(np.sqrt((magnitude**2).mean())), float(p999), float(magnitude.max())
    )


def summaries(tiles: Sequence[AuditedTile], bound: Bound = BOUND) -> list[Summary]:
    """One for each form and kind, in the order they came."""
    groups: dict[tuple[str, str], list[AuditedTile]] = {}
    for tile in tiles:
        groups.setdefault((tile.form, tile.kind), []).append(tile)
    return [_summary(form, kind, group, bound) for (form, kind), group in groups.items()]


def _summary(form: str, kind: str, tiles: Sequence[AuditedTile], bound: Bound) -> Summary:
    exact = np.concatenate([tile.exact.reshape(-1, 1) for tile in tiles])
    reduced = np.concatenate([tile.reduced.reshape(-1, 1) for tile in tiles])
    each = [tile.difference for tile in tiles]
    worst = Difference(
        *(max(values) for values in zip(*((d.mean, d.rms, d.p999, d.maximum) for d in each), strict=True))
    )
    return Summary(form, kind, compare(exact, reduced), worst, len(tiles), max(map(bound.share, tiles)))


def worst_first(tiles: Iterable[AuditedTile], bound: Bound = BOUND) -> list[AuditedTile]:
    """The tiles by how near they come to the bound, or how far they miss it; the worst first."""
    return sorted(tiles, key=bound.share, reverse=True)


def _as_jpeg(values: Values, quality: int) -> Values:
    """What a JPEG of full chroma keeps, as our own results are saved."""
    file = io.BytesIO()
    Image.fromarray(np.rint(values * 255).astype(np.uint8)).save(file, "JPEG", quality=quality, subsampling=0)
    with Image.open(file) as image:
        return np.asarray(image, np.float32) / np.float32(255)
