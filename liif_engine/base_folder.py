"""A user's base folders by the XDG specification, which says that a relative path in its variables counts as none."""

from __future__ import annotations

import os
from pathlib import Path

from liif_engine.errors import ConfigError


def base_folder(variable: str, below_home: str) -> Path:
    """The folder that a variable names, such as ``XDG_STATE_HOME``, or the usual one below the home folder.

    Raises:
        ConfigError: neither is there.
    """
    named = Path(os.environ.get(variable, ""))
    return named if named.is_absolute() else home(variable) / below_home


def home(variable: str = "") -> Path:
    """The user's home folder.

    Args:
        variable: names a folder that is as good.

    Raises:
        ConfigError: this user has none, as one that only a container's number names.
    """
    try:
        return Path.home()
    except RuntimeError as error:
        remedy = f"Set HOME, or {variable}." if variable else "Set HOME."
        raise ConfigError("this user has no home folder", remedy=remedy) from error
