"""The default model, `auto`: for each picture either `web`, which removes the damage of compression, of palettes
and noise, or `published`.

`web` pays for that with detail on clean photographs, so a picture goes to `published` if nothing names its damage and
its fine detail is not like that of damaged ones either. Drawings and screenshots `web` makes better though they are
clean.
Never `fast`: what replaces an original should be the best there is.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from liif_engine.model_names import CLEAN, DAMAGED
from liif_engine.picture import advantage
from liif_engine.picture.damage import VISIBLE, Damage, estimate, of_file
from liif_engine.picture.quantisation import FileQuality

#: The highest quality of JPEG at which `web` beats `published` on the held-out training pictures, and loses nothing to
#: speak of on the photographs among them; docs/training.md has the curves, and the command that measures them.
HIGHEST_QUALITY = 98

#: Noise from which `web` gives more than `published` does, which takes it for detail and enlarges it [8-bit levels].
#: docs/training.md has the curve, and the command that measures it.
NOISY = 2.9

#: Logarithm of the odds from which a picture without a name for its damage goes to `web`; docs/training.md has what
#: right and wrong guesses are worth, and the command that measures it.
LEAST_ODDS = 1.5


class Choice(NamedTuple):
    """A model's name, and why it was chosen, as a clause for the log: "JPEG quality 40 by the file's own tables"."""

    model: str
    reason: str


def choose_for(pixels: NDArray[Any], file: Path | None = None) -> Choice:
    """The shipped model that suits a picture.

    Of a file that is lossy by its own word the pixels are not looked at, which takes longer than to read it.

    Args:
        pixels: (H, W), (H, W, 1 to 4) uint8, uint16, or float in [0, 1].
        file: the picture's file, whose quantisation tables say more of the damage than pixels can.
    """
    if pixels.dtype.kind == "f":
        pixels = (np.nan_to_num(pixels).clip(0, 1) * 255 + 0.5).astype(np.uint8)
    said = None if file is None else _by_its_word(of_file(file))
    return said or choose(estimate(pixels, file), partial(advantage.guess, pixels))


def choose(damage: Damage, guess: Callable[[], float | None] = lambda: None) -> Choice:
    """The shipped model that suits a picture.

    Args:
        damage: from `liif_engine.picture.damage.estimate`.
        guess: of the picture, `liif_engine.picture.advantage.guess`; asked where the damage has no name.
    """
    named = _by_name(damage)
    odds = guess() if named.model == CLEAN else None
    if odds is None or odds < LEAST_ODDS:
        return named
    return Choice(DAMAGED, "nothing names its damage, but its fine detail is like that of damaged pictures")


def _by_its_word(damage: Damage) -> Choice | None:
    """By what the file says of itself, if that is enough."""
    file = damage.file
    # Of WebP that is all that is lossy: its colours have less detail than its luma at any quality.
    if file is not None and (file.codec == "webp" or file.quality <= HIGHEST_QUALITY):
        return Choice(DAMAGED, f"{_in_words(file)} by the file's own tables")
    if damage.halved_chroma is not None:
        return Choice(DAMAGED, f"lossy {damage.halved_chroma}: its colours have less detail than its luma")
    return None


def _by_name(damage: Damage) -> Choice:
    """By what the file and its pixels name."""
    said, file, pixels = _by_its_word(damage), damage.file, damage.pixel_quality
    if said is not None:
        return said
    if pixels is not None and pixels <= HIGHEST_QUALITY and (file is None or pixels < file.quality):
        return Choice(DAMAGED, f"its pixels keep to the steps of JPEG quality {pixels}")
    if damage.colours is not None:
        return Choice(DAMAGED, f"a photograph that was reduced to {damage.colours} colours")
    if damage.grid_strength >= VISIBLE:
        return Choice(DAMAGED, f"8x8 blocks stand out (strength {damage.grid_strength:.2f})")
    if damage.noise >= NOISY:
        return Choice(DAMAGED, f"noise of some {damage.noise:.0f} levels of 255")
    if damage.drawn:
        return Choice(DAMAGED, "a drawing or a screenshot by its flat colours")
    if file is not None:
        return Choice(CLEAN, f"{_in_words(file)} by the file's own tables leaves no damage to remove")
    if pixels is not None:
        return Choice(CLEAN, f"its pixels keep to the steps of JPEG quality {pixels}, which leaves no damage to remove")
    return Choice(CLEAN, "no trace of lossy compression or noise")


def _in_words(file: FileQuality) -> str:
    return f"{'JPEG' if file.codec == 'jpeg' else 'WebP'} quality {'' if file.exact else 'about '}{file.quality}"
