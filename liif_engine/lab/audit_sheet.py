"""The worst tiles of an audit as one picture, for the eye."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from liif_engine.lab.audit import STEP, AuditedTile, Pixels, Values

PANEL, GAP, CAPTION = 192, 8, 22  # [pixels]

#: Gray levels for one step of difference.
AMPLIFIED = 32


def sheet(tiles: Sequence[AuditedTile]) -> Image.Image:
    """One row a tile: the input, fp32, the reduced form, and the difference about mid-gray, amplified."""
    titles = ("input", "fp32", "reduced", f"difference, 1 level as {AMPLIFIED}")
    width = GAP + len(titles) * (PANEL + GAP)
    image = Image.new("RGB", (width, CAPTION + len(tiles) * (PANEL + CAPTION + GAP)), "white")
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(13)
    for column, title in enumerate(titles):
        pen.text((GAP + column * (PANEL + GAP), 4), title, "black", font)
    for row, tile in enumerate(tiles):
        top = CAPTION + row * (PANEL + CAPTION + GAP)
        figures = tile.difference
        caption = (
            f"{tile.form}, {tile.kind}: rms {figures.rms:.2f}, 99.9% {figures.p999:.2f}, max {figures.maximum:.2f}"
        )
        pen.text((GAP, top + 3), caption, "black", font)
        difference = 128 + (tile.reduced - tile.exact) / STEP * AMPLIFIED
        panels = (tile.source, _levels(tile.exact * 255), _levels(tile.reduced * 255), _levels(difference))
        for column, panel in enumerate(panels):
            image.paste(_fitted(panel), (GAP + column * (PANEL + GAP), top + CAPTION))
    return image


def _fitted(pixels: Pixels) -> Image.Image:
    """Enlarged without smoothing to fit a panel, so that single pixels can be seen; gray beside it."""
    height, width = pixels.shape[:2]
    factor = PANEL / max(height, width)
    size = max(1, round(width * factor)), max(1, round(height * factor))
    panel = Image.new("RGB", (PANEL, PANEL), (225, 225, 225))
    panel.paste(Image.fromarray(pixels).resize(size, Image.Resampling.NEAREST), (0, 0))
    return panel


def _levels(values: Values) -> Pixels:
    return np.rint(np.nan_to_num(values)).clip(0, 255).astype(np.uint8)
