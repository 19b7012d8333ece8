"""A made-up photograph: what the estimates and the training pairs need to see, without a file."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]


def photograph(height: int, width: int, *, seed: int = 0) -> Pixels:
    """(height, width, 3) uint8: noise with a photograph's spectrum, amplitude 1 / frequency, and a few hard edges."""
    random = np.random.default_rng(seed)
    rows, columns = np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)
    falling = 1 / np.maximum(np.hypot(rows, columns), 1 / max(height, width))
    planes = []
    for _ in range(3):
        plane = np.fft.ifft2(np.fft.fft2(random.standard_normal((height, width))) * falling).real
        planes.append(plane / plane.std())
    luma = planes[0] + 1.5 * (np.add.outer(np.arange(height), np.arange(width)) % 90 < 45)
    colour = luma[..., None] + 0.3 * np.stack([planes[1], -planes[1], planes[2]], axis=-1)
    return np.rint((colour - colour.mean()) * 30 + 128).clip(2, 253).astype(np.uint8)


def jpeg(pixels: Pixels, quality: int | str, **options: Any) -> bytes:
    """A JPEG file by libjpeg-turbo."""
    file = io.BytesIO()
    tables: dict[str, Any] = {"qtables": quality} if isinstance(quality, str) else {"quality": quality}
    Image.fromarray(pixels).save(file, "JPEG", **tables, **options)
    return file.getvalue()


def decoded(file: bytes) -> Pixels:
    """A file's pixels."""
    with Image.open(io.BytesIO(file)) as image:
        return np.asarray(image)
