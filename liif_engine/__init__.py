"""liif-restore's engine: restores compressed pictures at any scale. ``from liif_engine import Engine``."""

from __future__ import annotations

TYPE_CHECKING = False  # `typing` itself is loaded when it is needed; type checkers know the name
if TYPE_CHECKING:
    from liif_engine.errors import LiifError
    from liif_engine.file import Outcome, restore_file
    from liif_engine.restore import Engine
    from liif_engine.target import Target

__version__ = "0.1.0"
__all__ = ["Engine", "LiifError", "Outcome", "Target", "__version__", "restore_file"]

_MODULES = {"Engine": "restore", "LiifError": "errors", "Outcome": "file", "Target": "target", "restore_file": "file"}


def __getattr__(name: str) -> object:
    # Torch takes seconds to load; importing the package alone must not, so that Ctrl+C has its words from the start.
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
