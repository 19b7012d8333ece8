"""Pixels to ask the service about."""

from __future__ import annotations

from ..conftest import picture

SHAPE = (5, 7, 3)
PIXELS = picture(*SHAPE).tobytes()
