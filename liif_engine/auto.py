"""The default model, `auto`: for each picture either `web`, which removes the damage of compression, of palettes
and noise, or `published`.

`web` pays for that with detail on clean photographs, so those without a trace of damage go to `published`; drawings and
screenshots it makes better though they are clean.
Never `fast`: what replaces an original should be the best there is.
"""

from __future__ import annotations

from typing import NamedTuple

from liif_engine.model_names import CLEAN, DAMAGED
from liif_engine.picture.damage import VISIBLE, Damage

#: The highest quality of JPEG at which `web` beats `published` on the held-out training pictures, and loses nothing to
#: speak of on the photographs among them; docs/training.md has the curves, and the command that measures them.
HIGHEST_QUALITY = 98

#: Noise from which `web` gives more than `published` does, which takes it for detail and enlarges it [8-bit levels].
#: docs/training.md has the curve, and the command that measures it.
NOISY = 2.9


class Choice(NamedTuple):
    """A model's name, and why it was chosen, as a clause for the log: "JPEG quality 40 by the file's own tables"."""

    model: str
    reason: str


def choose(damage: Damage) -> Choice:
    """The shipped model that suits a picture.

    Args:
        damage: from `liif_engine.picture.damage.estimate`.
    """
    file, pixels = damage.file, damage.pixel_quality
    if pixels is not None and pixels <= HIGHEST_QUALITY and (file is None or pixels < file.quality):
        return Choice(DAMAGED, f"its pixels keep to the steps of JPEG quality {pixels}")
    if file is not None:
        about = f"{'JPEG' if file.codec == 'jpeg' else 'WebP'} quality {'' if file.exact else 'about '}{file.quality}"
        # Of WebP that is all that is lossy: its colours have less detail than its luma at any quality.
        if file.codec == "webp" or file.quality <= HIGHEST_QUALITY:
            return Choice(DAMAGED, f"{about} by the file's own tables")
    if damage.halved_chroma is not None:
        return Choice(DAMAGED, f"lossy {damage.halved_chroma}: its colours have less detail than its luma")
    if damage.colours is not None:
        return Choice(DAMAGED, f"a photograph that was reduced to {damage.colours} colours")
    if damage.grid_strength >= VISIBLE:
        return Choice(DAMAGED, f"8x8 blocks stand out (strength {damage.grid_strength:.2f})")
    if damage.noise >= NOISY:
        return Choice(DAMAGED, f"noise of some {damage.noise:.0f} levels of 255")
    if damage.drawn:
        return Choice(DAMAGED, "a drawing or a screenshot by its flat colours")
    if file is not None:
        return Choice(CLEAN, f"{about} by the file's own tables leaves no damage to remove")
    if pixels is not None:
        return Choice(CLEAN, f"its pixels keep to the steps of JPEG quality {pixels}, which leaves no damage to remove")
    return Choice(CLEAN, "no trace of lossy compression or noise")
