"""Figures as people read them."""

from __future__ import annotations

import pytest

from liif_engine.words import counted, rate


@pytest.mark.parametrize(
    ("number", "words"), [(0, "0 folders"), (1, "1 folder"), (2, "2 folders"), (1234, "1,234 folders")]
)
def test_one_of_a_thing_is_no_plural(number: int, words: str) -> None:
    assert counted(number, "folder") == words


@pytest.mark.parametrize(
    ("per_second", "words"), [(1234.5, "1,234.50"), (12.3, "12.30"), (0.1, "0.10"), (0.0042, "0.0042"), (0.0, "0.00")]
)
def test_a_slow_rate_is_not_told_as_none(per_second: float, words: str) -> None:
    assert rate(per_second) == words
