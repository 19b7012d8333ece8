"""Where output pixels fall on the grid of latent codes, along each axis; numbers on the host, in float64."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from liif_engine.network.model import COORD_EPSILON, DISTANCE_EPSILON

#: How many axes are kept: a folder's pictures are often of a few sizes.
KEPT_AXES = 32


@dataclass(frozen=True)
class Axis:
    """Where the output pixels of one axis fall on the latent grid, computed from global coordinates.

    Attributes:
        n_in: input pixels along the axis.
        n_out: output pixels along the axis.
        nearest: (2, n_out) int64, the nearest latent code after a step of half a code down or up.
        relative: (2, n_out) float64, the distance to that code in code units.
    """

    n_in: int
    n_out: int
    nearest: NDArray[np.int64]
    relative: NDArray[np.float64]

    @property
    def cell(self) -> float:
        """The size of an output pixel in latent-grid units, where the grid spans 2."""
        return 2 * self.n_in / self.n_out

    @property
    def sides(self) -> int:
        """How many sides are asked; of one, it is the first."""
        return sides(self.n_in, self.n_out)


@lru_cache(KEPT_AXES)
def axis(n_in: int, n_out: int) -> Axis:
    """The axis from `n_in` input to `n_out` output pixels, in float64 on the host; kept, and not to be written to.

    In half precision the shifts of 1e-6 would vanish and codes would be chosen wrongly.
    """
    centre = (2 * np.arange(n_out, dtype=np.float64) + 1) / n_out - 1
    step = np.array([[-1.0], [1.0]]) / n_in
    shifted = np.clip(centre + step + COORD_EPSILON, -1 + COORD_EPSILON, 1 - COORD_EPSILON)
    nearest = np.floor((shifted + 1) * n_in / 2).astype(np.int64)
    relative = (centre - ((2 * nearest + 1) / n_in - 1)) * n_in
    nearest.flags.writeable = relative.flags.writeable = False
    return Axis(n_in, n_out, nearest, relative)


@dataclass(frozen=True)
class Span:
    """A range of output pixels along one axis, on a feature map that starts at input pixel `origin`."""

    axis: Axis
    start: int
    stop: int
    origin: int

    def nearest(self) -> NDArray[np.int64]:
        """(sides, length): the codes of the span as indices into the feature map."""
        return self.axis.nearest[: self.axis.sides, self.start : self.stop] - self.origin

    def relative(self) -> NDArray[np.float64]:
        """(sides, length): the relative coordinates of the span."""
        return self.axis.relative[: self.axis.sides, self.start : self.stop]

    def shares(self) -> NDArray[np.float64]:
        """(sides, length): what each side's answers are of the mix, as much as the way to the other side's code."""
        if self.axis.sides == 1:
            return np.ones((1, self.stop - self.start))
        near, far = np.abs(self.relative()) + DISTANCE_EPSILON
        shares: NDArray[np.float64] = np.stack([far, near]) / (near + far)
        return shares

    def cut(self, start: int, stop: int) -> Span:
        """The part of the span from output pixel `start` to `stop`."""
        return Span(self.axis, start, stop, self.origin)


def sides(n_in: int, n_out: int) -> int:
    """How many codes along an axis an output pixel asks: at a scale of 1 it lies on one, the other has no weight."""
    return 1 if n_in == n_out else 2
