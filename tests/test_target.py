"""How large a result is to be."""

from __future__ import annotations

import json
from dataclasses import asdict
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liif_engine import Target
from liif_engine.errors import UsageError
from liif_engine.target import parse_size


@given(st.integers(1, 5000), st.integers(1, 5000), st.floats(1, 16))
def test_a_scale_gives_the_rounded_size(width: int, height: int, scale: float) -> None:
    result = Target(scale=scale).size_of_result(width, height)
    assert abs(result[0] - width * scale) <= 0.5
    assert abs(result[1] - height * scale) <= 0.5


def test_the_other_ways_to_ask() -> None:
    assert Target(size=(30, 50)).size_of_result(10, 20) == (30, 50)
    assert Target(long_edge=400).size_of_result(100, 50) == (400, 200)
    assert Target(long_edge=400).size_of_result(50, 100) == (200, 400)
    assert Target(megapixels=2).size_of_result(1000, 500) == (2000, 1000)
    assert Target(scale=1).size_of_result(3, 4) == (3, 4)


def test_numbers_of_numpy_are_numbers() -> None:
    target = Target(size=np.array([48, 40]))  # type: ignore[arg-type]
    assert target == Target(size=(48, 40))
    assert json.dumps(asdict(target))
    assert Target(long_edge=np.int64(20)) == Target(long_edge=20)  # type: ignore[arg-type]
    scaled = Target(scale=np.float32(1.5))  # type: ignore[arg-type]
    assert scaled.size_of_result(4, 2) == (6, 3)
    assert json.dumps(asdict(scaled)) == json.dumps(asdict(Target(scale=1.5)))
    assert Target(scale=Fraction(3, 2)).label((6, 3)) == "1.5x"  # type: ignore[arg-type]


def test_names_for_results() -> None:
    assert Target(scale=2).label((8, 8)) == "2x"
    assert Target(scale=2.37).label((8, 8)) == "2.37x"
    assert Target(long_edge=9).label((9, 4)) == "9x4"


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"scale": 2, "long_edge": 5},
        {"scale": 0.99},
        {"scale": float("inf")},
        {"scale": float("nan")},
        {"scale": 1e300},
        {"megapixels": 1e300},
        {"megapixels": 0},
        {"size": (0, 5)},
        {"long_edge": 0},
        {"scale": Fraction(1, 2)},
        {"megapixels": Fraction(-1, 2)},
        {"scale": "2"},
        {"scale": True},
        {"megapixels": True},
        {"size": (True, 40)},
        {"long_edge": True},
        {"megapixels": "4"},
        {"size": (48, 40.0)},
        {"size": (float("nan"), 40)},
        {"size": (48,)},
        {"size": (48, 40, 3)},
        {"size": "48x40"},
        {"size": 48},
        {"size": (None, 3)},
        {"long_edge": 1.5},
        {"long_edge": float("nan")},
        {"long_edge": "300"},
        {"long_edge": 10**400},
        {"scale": 10**400},
        {"megapixels": 10**400},
        {"size": (10**30, 3)},
        {"size": {4, 5}},
        {"size": {4: 1, 5: 2}},
        {"size": b"45"},
        {"size": iter([True, 5])},
    ],
)
def test_nonsense_is_refused(fields: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        Target(**fields)  # type: ignore[arg-type]


@pytest.mark.parametrize("target", [Target(size=(9, 30)), Target(long_edge=15), Target(megapixels=0.0001)])
def test_reducing_is_refused(target: Target) -> None:
    with pytest.raises(UsageError, match="smaller than the picture"):
        target.size_of_result(10, 20)


def test_sizes_are_read() -> None:
    assert parse_size("1920x1080") == (1920, 1080)
    for text in ("1920", "x", "-1x5", "1.5x2", "9999999x1"):
        with pytest.raises(UsageError, match="WIDTHxHEIGHT"):
            parse_size(text)
