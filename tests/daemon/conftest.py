"""A fresh workshop for each test."""

from __future__ import annotations

from pathlib import Path

import pytest

from .workshop import Workshop, ledgers_are_closed

__all__ = ["ledgers_are_closed"]  # a fixture


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path)
