"""How large the result is to be: a scale, or a size that gives the scale."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Set
from dataclasses import dataclass
from numbers import Real
from operator import index
from typing import Any

from liif_engine.errors import LargerAlreadyError, UsageError

#: Beyond these a number was mistyped: no picture file holds the result.
MOST_SCALE, MOST_MEGAPIXELS, MOST_SIDE = 10_000, 1_000_000, (1 << 31) - 1


@dataclass(frozen=True)
class Target:
    """Exactly one of the fields is set.

    Attributes:
        scale: output per input pixel, >= 1; 1 only removes artifacts.
        size: (width, height) of the result in pixels; the axes may have different scales.
        long_edge: the longer side of the result in pixels.
        megapixels: millions of pixels of the result.
    """

    scale: float | None = None
    size: tuple[int, int] | None = None
    long_edge: int | None = None
    megapixels: float | None = None

    def __post_init__(self) -> None:
        given = [value for value in (self.scale, self.size, self.long_edge, self.megapixels) if value is not None]
        if len(given) != 1:
            raise UsageError("give exactly one of scale, size, long edge and megapixels")
        # As numbers of Python, also where they are numpy's.
        if self.scale is not None:
            object.__setattr__(self, "scale", _number("the scale", self.scale))
        if self.megapixels is not None:
            object.__setattr__(self, "megapixels", _number("megapixels", self.megapixels))
        if self.size is not None:
            object.__setattr__(self, "size", _whole_size(self.size))
        if self.long_edge is not None:
            object.__setattr__(self, "long_edge", _whole_side(self.long_edge))
        if self.scale is not None and not 1 <= self.scale <= MOST_SCALE:
            raise UsageError(f"the scale must be a number of at least 1 and at most {MOST_SCALE:,}, not {self.scale:g}")
        if self.megapixels is not None and not 0 < self.megapixels <= MOST_MEGAPIXELS:
            words = f"megapixels must be a positive number of at most {MOST_MEGAPIXELS:,}"
            raise UsageError(f"{words}, not {self.megapixels:g}")
        sides = [*(self.size or ()), *([] if self.long_edge is None else [self.long_edge])]
        if not all(1 <= side <= MOST_SIDE for side in sides):
            raise UsageError(f"a size must be at least one pixel and at most {MOST_SIDE:,}")

    def size_of_result(self, width: int, height: int) -> tuple[int, int]:
        """(width, height) of the result for a picture of this size.

        Raises:
            LargerAlreadyError: the result would be smaller than the picture.
        """
        result = self._size(width, height)
        if self.is_below(width, height):
            raise LargerAlreadyError(f"{result[0]}x{result[1]} is smaller than the picture, {width}x{height}")
        return result

    def is_below(self, width: int, height: int) -> bool:
        """Whether a picture of this size is larger already than what it was to become."""
        out_width, out_height = self._size(width, height)
        return out_width < width or out_height < height

    def label(self, result: tuple[int, int]) -> str:
        """What marks the result's file name: ``2x``, or ``1920x1080`` where a size was asked for."""
        return f"{self.scale:g}x" if self.scale is not None else f"{result[0]}x{result[1]}"

    def _size(self, width: int, height: int) -> tuple[int, int]:
        if self.size is not None:
            return self.size
        scale = self._one_scale(width, height)
        return max(1, math.floor(width * scale + 0.5)), max(1, math.floor(height * scale + 0.5))

    def _one_scale(self, width: int, height: int) -> float:
        if self.scale is not None:
            return self.scale
        if self.long_edge is not None:
            return self.long_edge / max(width, height)
        assert self.megapixels is not None  # one of the four is set
        return math.sqrt(self.megapixels * 1e6 / (width * height))


def _number(what: str, asked: Any) -> float:
    if isinstance(asked, bool) or not isinstance(asked, Real | int | float):
        raise UsageError(f"{what} must be a number, not {asked!r}")
    try:
        number = float(asked)
    except OverflowError:
        return math.inf
    return asked if isinstance(asked, int) else number


def _refuse_truth(*asked: Any) -> None:
    """Python takes true and false for 1 and 0."""
    if any(isinstance(one, bool) for one in asked):
        raise TypeError


def _whole_size(asked: Any) -> tuple[int, int]:
    try:
        if isinstance(asked, Set | Mapping | bytes | bytearray):  # which have no first side, or letters for sides
            raise TypeError
        sides = tuple(asked)
        _refuse_truth(*sides)
        width, height = map(index, sides)
    except (TypeError, ValueError) as error:
        raise UsageError(f"a size is a width and a height in whole pixels, not {asked!r}") from error
    return width, height


def _whole_side(asked: Any) -> int:
    try:
        _refuse_truth(asked)
        return index(asked)
    except TypeError as error:
        raise UsageError(f"a long edge is a whole number of pixels, not {asked!r}") from error


def parse_size(text: str) -> tuple[int, int]:
    """``1920x1080`` to (1920, 1080).

    Raises:
        UsageError: not of that form.
    """
    match = re.fullmatch(r"(\d{1,6})\s*[xX]\s*(\d{1,6})", text.strip())
    if match is None:
        raise UsageError(f"a size is WIDTHxHEIGHT in pixels, like 1920x1080, not {text!r}")
    return int(match[1]), int(match[2])
