"""Fresh thumbnails, for the place of the stale one that a picture carried."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from liif_engine.picture.image_file.contents import Frame
from liif_engine.picture.image_file.exif import MakeThumbnail, Thumbnail

#: EXIF's own size for thumbnails is 160 x 120.
LONGEST_SIDE = 160  # [pixels]
_QUALITIES = (85, 70, 50, 30, 15)


def thumbnail_of(frame: Frame, layout: str) -> MakeThumbnail:
    """A function that draws a frame's thumbnail as a JPEG of at most so many bytes, or gives None."""

    def make(most_bytes: int) -> Thumbnail | None:
        small = _small(frame, layout)
        for quality in _QUALITIES:
            file = io.BytesIO()
            small.save(file, "JPEG", quality=quality)
            if file.tell() <= most_bytes:
                return Thumbnail(file.getvalue(), *small.size)
        return None

    return make


def _small(frame: Frame, layout: str) -> Image.Image:
    pixels = frame.pixels
    step = max(1, max(pixels.shape[:2]) // (4 * LONGEST_SIDE))
    pixels = pixels[::step, ::step]
    if pixels.dtype == np.uint16:
        pixels = (pixels >> 8).astype(np.uint8)
    if layout == "CMYK":  # as light: R = C' x K'
        pixels = (pixels[..., :3].astype(np.uint16) * pixels[..., 3:] // 255).astype(np.uint8)
    elif layout in {"LA", "RGBA"}:
        pixels = pixels[..., :-1]
    image = Image.fromarray(np.ascontiguousarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels))
    image.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.BICUBIC)
    return image
