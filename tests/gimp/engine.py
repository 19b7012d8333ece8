"""The engine of these tests' service: the real one for a checkpoint's path, a faulty stand-in for other names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from faults import Faulty

from liif_engine import Engine

#: The models asked for so far; the first one is that of the service's settings.
_asked: list[str] = []


def either(model: str, **rest: Any) -> Any:
    """The engine that the model's name asks for; ``auto``, as the dialog begins with, is that of the settings."""
    _asked.append(model)
    if model == "auto":
        model = _asked[0]
    # The daemon takes what cannot be a name, such as slow:1, for a file in the folder where it was started.
    return Engine(model, **rest) if model.endswith(".safetensors") else Faulty(Path(model).name, **rest)
