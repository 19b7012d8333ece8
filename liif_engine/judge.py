"""Whether a tile's answers can be right: finite, and not far beyond what the tile's own pixels give reason for."""

from __future__ import annotations

import logging
import math
from typing import Any

from numpy.typing import NDArray

from liif_engine.errors import NonFiniteError
from liif_engine.network.decode import Strip
from liif_engine.network.device import Precision
from liif_engine.picture import planes

log = logging.getLogger(__name__)

#: How far beyond the least and greatest pixel of a tile's window an answer in half precision may lie before the tile
#: is redone in fp32, as a share of full scale: for a flat window, and more for its contrast. Of colour noise of one
#: bit, the hardest there is, `published` makes 1.1 beyond a contrast of 1; photographs stay far below.
OVERSHOOT, OVERSHOOT_OF_CONTRAST = 0.25, 2.0


class ImplausibleTile(Exception):  # noqa: N818 - a signal to `restore.py`, not an error for users
    """A strip held infinities, not-a-numbers, or colours beyond what the window gives reason for."""


def plausible(view: NDArray[Any]) -> tuple[float, float]:
    """The least and the greatest answer that a window's pixels give reason for: theirs, and what may lie beyond."""
    full = planes.FULL_SCALE[view.dtype.name]
    least, greatest = float(view.min()) / full, float(view.max()) / full
    beyond = OVERSHOOT + OVERSHOOT_OF_CONTRAST * (greatest - least)
    return least - beyond, greatest + beyond


def judge(strip: Strip, low: float, high: float, precision: Precision) -> None:
    """Passes a strip whose answers are plausible; in fp32, any that are finite, since there is nothing better.

    Raises:
        ImplausibleTile: the tile is to be redone in fp32.
        NonFiniteError: it was in fp32.
    """
    least, greatest = strip.extent.tolist()
    if low <= least and greatest <= high:  # not so for not-a-numbers
        return
    if math.isfinite(least) and math.isfinite(greatest):
        if precision != "fp32":
            raise ImplausibleTile(f"has colours from {least:.2f} to {greatest:.2f}, beyond what its pixels allow,")
        log.info("a tile has colours from %.2f to %.2f, also in fp32: they are the network's answer", least, greatest)
    elif precision != "fp32":
        raise ImplausibleTile("overflowed")
    else:
        raise NonFiniteError("the network gave infinities or not-a-numbers")
