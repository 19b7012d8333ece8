"""The engine of these tests' service: the real one for a checkpoint's path, a faulty stand-in for other names."""

from __future__ import annotations

from typing import Any

from faults import Faulty

from liif_engine import Engine


def either(model: str, **rest: Any) -> Any:
    """The engine that the model's name asks for."""
    return Engine(model, **rest) if model.endswith(".safetensors") else Faulty(model, **rest)
