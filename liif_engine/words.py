"""Figures as people read them."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """``1 folder``, ``2,000 folders``; for nouns that take an s."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def rate(per_second: float) -> str:
    """``1,234.50``, ``12.30``, ``0.0042``: two decimals, and for small ones two digits that say something."""
    return f"{per_second:,.2f}" if per_second >= 0.1 or per_second <= 0 else f"{per_second:.2g}"
