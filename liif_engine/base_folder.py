"""A user's base folders by the XDG specification, which says that a relative path in its variables counts as none."""

from __future__ import annotations

import os
from pathlib import Path


def base_folder(variable: str, below_home: str) -> Path:
    """The folder that a variable names, such as ``XDG_STATE_HOME``, or the usual one below the home folder."""
    named = Path(os.environ.get(variable, ""))
    return named if named.is_absolute() else Path.home() / below_home
