"""Where a place in a stored picture lies in the result: turned upright, then enlarged."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import TypeVar

Number = TypeVar("Number", Fraction, Decimal)


@dataclass(frozen=True)
class Placement:
    """From the pixels of a file to those of its result.

    Attributes:
        orientation: of EXIF, 1 to 8, that was applied to the pixels.
        before: (width, height) as displayed.
        after: (width, height) of the result.
    """

    orientation: int
    before: tuple[int, int]
    after: tuple[int, int]

    @property
    def moves(self) -> bool:
        """Whether anything lies elsewhere than in the file."""
        return self.orientation != 1 or self.before != self.after

    @property
    def swaps(self) -> bool:
        """Whether rows became columns."""
        return self.orientation >= 5

    @property
    def scales(self) -> tuple[Fraction, Fraction]:
        """Output per input pixel, across and down the result."""
        return Fraction(self.after[0], self.before[0]), Fraction(self.after[1], self.before[1])

    def point(self, x: int, y: int) -> tuple[int, int]:
        """The pixel in the result that shows what the stored pixel (x, y) shows."""
        width, height = map(Fraction, self.before)
        across, down = self.upright(x + Fraction(1, 2), y + Fraction(1, 2), width, height)
        scale_x, scale_y = self.scales
        return _within(across * scale_x, self.after[0]), _within(down * scale_y, self.after[1])

    def upright(self, across: Number, down: Number, width: Number, height: Number) -> tuple[Number, Number]:
        """Where a place in the stored picture is seen, in any unit; `width` and `height` are the picture's as seen."""
        if self.swaps:
            across, down = down, across
        if self.orientation in {2, 3, 6, 7}:
            across = width - across
        if self.orientation in {3, 4, 7, 8}:
            down = height - down
        return across, down

    def extent(self, width: int, height: int) -> tuple[int, int]:
        """How wide and high the result shows what is so wide and high as stored."""
        scale_x, scale_y = self.scales
        across, down = (height, width) if self.swaps else (width, height)
        return round(across * scale_x), round(down * scale_y)


def _within(place: Fraction, length: int) -> int:
    return min(max(int(place), 0), length - 1)
