"""Pictures for the report: arrays become small images inside the page, as data: addresses.

What shows pixels is lossless and enlarged by the browser; whole pictures are WebP. Colours of maps are laid over the
picture by the page, so that light and dark pages share them.
"""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]

#: Longest side of a whole picture in the page [pixels].
LONGEST = 900

#: Colours of the maps, (R, G, B): loss warm, change blue, contradiction red, clues green.
LOSS, CHANGE, BEYOND, CLUES = (232, 119, 34), (46, 120, 220), (214, 40, 57), (0, 150, 110)


def photograph(pixels: Pixels, *, longest: int = LONGEST) -> str:
    """A whole picture, (H, W, 1 or 3) uint8, at most so long."""
    image = _image(pixels)
    if max(image.size) > longest:
        image.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    return _encoded(image, "WEBP", quality=88, method=4)


def exact(pixels: Pixels) -> str:
    """A piece whose very pixels matter, (H, W, 1, 3 or 4) uint8."""
    return _encoded(_image(pixels), "PNG", optimize=True)


def veil(strength: NDArray[Any], colour: tuple[int, int, int]) -> str:
    """A map to lie over a picture: one colour, the more opaque the stronger.

    Args:
        strength: (H, W), 0 nothing to 1 opaque.
        colour: RGB, 0-255.
    """
    strength = np.clip(np.nan_to_num(strength), 0, 1)
    rgba = np.empty((*strength.shape, 4), np.uint8)
    rgba[..., :3] = colour
    rgba[..., 3] = np.rint(strength * 255)
    return exact(rgba)


def scaled(values: NDArray[Any], *, percentile: float = 99.0) -> NDArray[np.float64]:
    """Magnitudes as 0-1, where all but a percent or so fit."""
    magnitudes = np.abs(np.asarray(values, np.float64))
    top = float(np.percentile(magnitudes, percentile)) or float(magnitudes.max()) or 1.0
    return np.clip(magnitudes / top, 0, 1)


def difference(after: Pixels, before: Pixels, *, gain: float) -> Pixels:
    """What was changed, around a middle gray, `gain` times as strong; (H, W, 1 or 3) uint8."""
    off = after.astype(np.float32) - before.astype(np.float32)
    shown: Pixels = np.rint((128 + gain * off).clip(0, 255)).astype(np.uint8)
    return shown


def principal_colours(features: NDArray[np.float32]) -> Pixels:
    """A feature map as colours: its three principal components as R, G and B.

    Args:
        features: (C, h, w).

    Returns:
        (h, w, 3) uint8, each component from its 1st to its 99th percentile.
    """
    channels, height, width = features.shape
    flat = features.reshape(channels, -1).T.astype(np.float64)
    flat = flat - flat.mean(0)
    _, directions = np.linalg.eigh(flat.T @ flat)
    best = directions[:, ::-1][:, :3]
    best = best * np.where(best.sum(0) < 0, -1, 1)  # one sign of the two, always the same
    components = np.zeros((len(flat), 3))
    components[:, : best.shape[1]] = flat @ best
    low, high = np.percentile(components, [1, 99], axis=0)
    colours = (components - low) / np.maximum(high - low, 1e-9)
    shown: Pixels = np.rint(colours.clip(0, 1) * 255).astype(np.uint8).reshape(height, width, 3)
    return shown


def _image(pixels: Pixels) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(pixels.squeeze(-1) if pixels.shape[2] == 1 else pixels))


def _encoded(image: Image.Image, format: str, **options: Any) -> str:
    file = io.BytesIO()
    image.save(file, format, **options)
    return f"data:image/{format.lower()};base64,{base64.b64encode(file.getvalue()).decode()}"
