"""How long frames are shown, in the units of another format."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction

#: What is less than two of a format's units is taken by viewers for a mistake, and shown for a tenth of a second.
_LEAST = 2


def in_ticks(durations: Iterable[tuple[int, int]], *, per_second: int, most: int) -> list[int]:
    """Whole units; what one frame is too short for rounding, the next is longer, so that a film keeps its length.

    Args:
        durations: of each frame, as a fraction of a second.
        per_second: how many units a second has.
        most: the largest number of units that can be said.
    """
    ticks, owed = [], Fraction(0)
    for numerator, denominator in durations:
        exact = Fraction(numerator, denominator or per_second) * per_second
        whole = max(round(exact + owed), min(round(exact), _LEAST))
        owed = min(max(exact + owed - whole, Fraction(-1, 2)), Fraction(1, 2))
        ticks.append(min(whole, most))
    return ticks


def as_small_fraction(duration: tuple[int, int], *, most: int) -> tuple[int, int]:
    """The nearest duration whose numerator and denominator are at most so large: itself, where it can be.

    Args:
        duration: a fraction of a second; a denominator of 0 means 100, as in PNG.
        most: what a number can say.
    """
    if max(duration) <= most:
        return duration
    exact = Fraction(duration[0], duration[1] or 100)
    if exact >= most:
        return most, 1
    near = exact.limit_denominator(most // max(1, -(-exact.numerator // exact.denominator)))
    return near.numerator, near.denominator
