"""What models are called: a shipped name, a checkpoint's path, or `auto`; with `+` at the end, a self-ensemble."""

from __future__ import annotations

import re
from pathlib import Path

#: The name that stands for the choice.
AUTO = "auto"

#: What ends the name of a model that is asked about a picture in all eight ways to lay it, and answers with the mean;
#: the sign that papers give such results (EDSR+).
SELF_ENSEMBLE = "+"

#: What `auto` may choose: for damaged pictures and drawings, for clean photographs.
DAMAGED, CLEAN = "web", "published"


def plain(model: str) -> str:
    """A model's name or path without the sign of a self-ensemble."""
    return model.removesuffix(SELF_ENSEMBLE)


def names_a_file(model: str) -> bool:
    """Whether a model is asked for by the path of its checkpoint: what cannot be a name is one."""
    return re.fullmatch(r"[\w-]+", plain(model)) is None


def like(asked: str, model: str) -> str:
    """A plain name with the sign of a self-ensemble if `asked` has it."""
    return model + SELF_ENSEMBLE if asked.endswith(SELF_ENSEMBLE) else model


def makers(asked: str) -> frozenset[str]:
    """The names that results may bear which were made by asking for a model.

    Args:
        asked: a name or a path, perhaps ``auto``, perhaps with the sign of a self-ensemble.
    """
    names = (DAMAGED, CLEAN) if plain(asked) == AUTO else (Path(plain(asked)).stem,)
    return frozenset(like(asked, name) for name in names)
