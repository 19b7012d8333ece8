"""Whole numbers in SQLite, whose own have 64 bits: times of files after April 2262, in nanoseconds, have more."""

from __future__ import annotations


def to_sqlite(number: int) -> int | bytes:
    """What to store: the number itself, or its digits where it is too large. As text SQLite would round it."""
    return number if -(1 << 63) <= number < 1 << 63 else b"%d" % number


def from_sqlite(value: int | bytes) -> int:
    """The number that `to_sqlite` was given."""
    return int(value)
