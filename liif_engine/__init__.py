"""liif-restore's engine: restores compressed pictures at any scale. ``from liif_engine import Engine``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from liif_engine.errors import LiifError
from liif_engine.target import Target

if TYPE_CHECKING:
    from liif_engine.file import Outcome, restore_file
    from liif_engine.restore import Engine

__version__ = "0.1.0"
__all__ = ["Engine", "LiifError", "Outcome", "Target", "__version__", "restore_file"]


def __getattr__(name: str) -> Any:
    # Torch takes seconds to load; importing the package alone must not.
    if name == "Engine":
        from liif_engine.restore import Engine

        return Engine
    if name in {"Outcome", "restore_file"}:
        from liif_engine import file as module

        return getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
