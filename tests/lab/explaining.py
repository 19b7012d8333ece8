"""A tiny network to explain, and a patch of its pictures."""

from __future__ import annotations

import pytest

from liif_engine import Engine
from liif_engine.picture.tiles import Rect

from ..conftest import tiny_network

PATCH = Rect(24, 40, 16, 32)


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine(tiny_network(blocks=2), device="cpu", precision="fp32")
