"""Scores a model on pictures with ground truth: PSNR on Y and RGB, SSIM, PSNR-B.

The protocol is the field's for super-resolution, with JPEG put in the middle:

- ground truth is cropped to a multiple of the scale (for a scale that is no integer, to the size that the scale gives
  from the reduced one);
- the input is its reduction by Pillow's bicubic filter, then, if a quality is given, a JPEG by Pillow with its default
  chroma subsampling (4:2:0), or what other encoders are asked for; at scale 1 there is no reduction;
- results are rounded to 8 bits, `scale` pixels (rounded up; none at scale 1) are shaved off each side;
- PSNR-Y, SSIM and PSNR-B are taken on BT.601 Y in 16..235, PSNR-RGB over the three channels; PSNR-B looks for the
  borders of 8x8 blocks of the input, where the result has them;
- gray pictures are shown to the model as gray, and their PSNR-RGB equals that of their gray values.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from liif_engine.errors import InputError, UsageError
from liif_engine.lab.degrade import Compression, compress

Pixels = NDArray[np.uint8]
Plane = NDArray[np.float64]

SUFFIXES = {".png", ".bmp", ".tif", ".tiff", ".webp", ".jpg", ".jpeg", ".avif"}

#: BT.601 from 8-bit RGB to Y in 16..235: the factors of 255 that give Y's range, and its foot.
Y_FACTORS = np.array([65.481, 128.553, 24.966]) / 255
Y_FOOT = 16.0


class Restorer(Protocol):
    """Anything that gives a larger picture; `Engine` is one."""

    def restore(self, pixels: Any, *, size: tuple[int, int]) -> Any:
        """(H, W, C) uint8 to (size[1], size[0], C) uint8."""


class Bicubic:
    """Pillow's bicubic filter as a restorer: the floor that a model must beat."""

    def restore(self, pixels: Any, *, size: tuple[int, int]) -> Any:
        """(H, W, C) uint8 to (size[1], size[0], C) uint8."""
        if pixels.shape[1::-1] == size:
            return pixels
        image = Image.fromarray(pixels.squeeze(-1) if pixels.shape[2] == 1 else pixels)
        return np.asarray(image.resize(size, Image.Resampling.BICUBIC)).reshape(size[1], size[0], -1)


@dataclass(frozen=True)
class Scores:
    """Means over the pictures of a folder, in dB but for `ssim`.

    Attributes:
        quality: JPEG quality of the input, None when it was not compressed.
        psnr_y, psnr_rgb: peak signal-to-noise ratio; infinite for an exact result.
        ssim: structural similarity, at most 1.
        psnr_b: PSNR-Y less the blocking effect (Yim and Bovik, 2011).
        images: how many.
    """

    quality: int | None
    psnr_y: float
    psnr_rgb: float
    ssim: float
    psnr_b: float
    images: int

    def as_dict(self) -> dict[str, float | int | None]:
        """The scores for JSON, which has no infinity: null stands for it."""
        return {key: None if isinstance(v, float) and math.isinf(v) else v for key, v in asdict(self).items()}


def evaluate(
    restorer: Restorer, images: Path, *, scale: float, qualities: Sequence[int | None] = (None,)
) -> Iterator[Scores]:
    """Scores a restorer on every picture of a folder.

    Args:
        restorer: an `Engine`, or `Bicubic`.
        images: a folder of ground-truth pictures.
        scale: >= 1.
        qualities: JPEG qualities of the input; None for an uncompressed one.

    Yields:
        One `Scores` per quality, in order.

    Raises:
        InputError: the folder has no pictures, or one is too small.
        UsageError: a scale below 1 or a quality outside 1..100.
    """
    if not (math.isfinite(scale) and scale >= 1):
        raise UsageError(f"the scale must be a number of at least 1, not {scale:g}")
    if any(quality is not None and not 1 <= quality <= 100 for quality in qualities):
        raise UsageError("a JPEG quality is a number from 1 to 100")
    paths = pictures_in(images)
    for quality in qualities:
        passes = () if quality is None else (Compression("jpeg", quality),)
        rows = []
        for path in paths:
            whole = read(path)
            if min(whole.shape[:2]) < scale:  # its reduction would have no pixels
                raise _too_small(scale, path)
            pixels, truth = degrade(whole, scale=scale, passes=passes)
            result = restorer.restore(pixels, size=(truth.shape[1], truth.shape[0]))
            rows.append(score(result, truth, scale=scale, path=path))
        psnr_y, psnr_rgb, similarity, with_blocks = (float(mean) for mean in np.mean(rows, axis=0))
        yield Scores(quality, psnr_y, psnr_rgb, similarity, with_blocks, images=len(rows))


def pictures_in(folder: Path) -> list[Path]:
    """The pictures of a folder, by name.

    Raises:
        InputError: there are none.
    """
    paths = sorted(path for path in folder.glob("*") if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise InputError("no pictures in this folder", path=folder, remedy="Give a folder of PNG files.")
    return paths


def degrade(truth: Pixels, *, scale: float, passes: Sequence[Compression] = ()) -> tuple[Pixels, Pixels]:
    """Ground truth to (input, cropped ground truth), both (H, W, C) uint8.

    The crop is the largest that the scale reaches from a whole number of input pixels, less what a shifted grid of
    the encoders cuts off.
    """
    height, width = (math.floor(n / scale + 1e-9) for n in truth.shape[:2])
    truth = truth[: round(height * scale), : round(width * scale)]
    image = Image.fromarray(truth.squeeze(-1) if truth.shape[2] == 1 else truth)
    if scale != 1:
        image = image.resize((width, height), Image.Resampling.BICUBIC)
    for step in passes:
        image = compress(image, step)
        down, right = step.shift
        if (down or right) and scale != round(scale):
            raise UsageError("a shifted grid needs a scale that is a whole number")
        truth = truth[round(down * scale) :, round(right * scale) :]
    return np.asarray(image).reshape(image.height, image.width, -1), truth


def luma(pixels: Pixels) -> Plane:
    """BT.601 Y in 16..235 of (H, W, 3) or (H, W, 1) uint8 pixels, (H, W) float64."""
    factors = Y_FACTORS.sum(keepdims=True) if pixels.shape[2] == 1 else Y_FACTORS
    weighted: Plane = pixels @ factors
    return weighted + Y_FOOT


def psnr(a: Plane, b: Plane) -> float:
    """Peak signal-to-noise ratio of two arrays of 8-bit range, dB."""
    return _decibels(float(np.mean((a - b) ** 2)))


def psnr_b(result: Plane, truth: Plane, *, scale: float = 1, shave: int = 0) -> float:
    """PSNR with the blocking effect of `result` added to the error (Yim and Bovik, 2011, equations 8 to 14), dB.

    Args:
        result, truth: (H, W) float64 of 8-bit range.
        scale: by which the blocks of 8x8 input pixels were enlarged; blocks are 8 scale pixels wide.
        shave: pixels that were cut off at the top and at the left, where the grid begins.
    """
    error = float(np.mean((result - truth) ** 2))
    across = [_boundary_and_inner(plane, 8 * scale, shave) for plane in (result, result.T)]
    boundary = _mean_square(np.concatenate([edges for edges, _ in across]))
    inner = _mean_square(np.concatenate([rest for _, rest in across]))
    effect = 0.0
    if boundary > inner:
        effect = math.log2(8 * scale) / math.log2(min(result.shape)) * (boundary - inner)
    return _decibels(error + effect)


def ssim(a: Plane, b: Plane) -> float:
    """Mean structural similarity with an 11x11 Gaussian window of sigma 1.5 (Wang et al., 2004), where it fits whole.

    Args:
        a, b: (H, W) float64 of 8-bit range, at least 11 on a side.
    """
    small, large = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    mean_a, mean_b = _blur(a), _blur(b)
    variance_a = _blur(a * a) - mean_a**2
    variance_b = _blur(b * b) - mean_b**2
    covariance = _blur(a * b) - mean_a * mean_b
    similarity = (2 * mean_a * mean_b + small) * (2 * covariance + large)
    similarity /= (mean_a**2 + mean_b**2 + small) * (variance_a + variance_b + large)
    return float(similarity.mean())


def score(result: Pixels, truth: Pixels, *, scale: float, path: Path) -> tuple[float, float, float, float]:
    """PSNR-Y, PSNR-RGB, SSIM and PSNR-B of a result, (H, W, C) uint8 as `truth`; `path` is for the error.

    Raises:
        InputError: too small to score.
    """
    height, width = truth.shape[:2]
    shave = 0 if scale == 1 else math.ceil(scale)
    inner = slice(shave, height - shave), slice(shave, width - shave)
    result, truth = result[inner], truth[inner]
    if min(result.shape[:2]) < 11:
        raise _too_small(scale, path)
    result_y, truth_y = luma(result), luma(truth)
    rgb = psnr(result.astype(np.float64), truth.astype(np.float64))
    with_blocks = psnr_b(result_y, truth_y, scale=scale, shave=shave)
    return psnr(result_y, truth_y), rgb, ssim(result_y, truth_y), with_blocks


def _too_small(scale: float, path: Path) -> InputError:
    remedy = "Leave it out, or ask for a smaller scale."
    return InputError(f"too small to score at scale {scale:g}", path=path, remedy=remedy)


def read(path: Path) -> Pixels:
    """A ground truth, (H, W, 3) or, if gray, (H, W, 1) uint8.

    Raises:
        InputError: not a picture.
    """
    try:
        with Image.open(path) as image:
            if image.mode in {"I", "F"}:
                raise InputError("has more than 16 bits, and scores are of 8", path=path, remedy="Save it as 8 bits.")
            if image.mode.startswith("I;16"):  # which Pillow would clip, not scale
                pixels = np.rint(np.asarray(image).astype(np.float64) / 257).astype(np.uint8)
            else:
                pixels = np.asarray(image.convert("L" if image.mode in {"1", "L"} else "RGB"))
    except (OSError, ValueError, SyntaxError) as error:
        raise InputError(f"not a picture ({error})", path=path) from error
    return pixels.reshape(*pixels.shape[:2], -1)


def _decibels(mean_square_error: float) -> float:
    return math.inf if mean_square_error == 0 else 10 * math.log10(255**2 / mean_square_error)


def _mean_square(steps: Plane) -> float:
    return float(np.mean(steps**2)) if steps.size else 0.0


def _boundary_and_inner(plane: Plane, block: float, shave: int) -> tuple[Plane, Plane]:
    """Steps between neighbouring columns: those from one block to the next, and all others."""
    steps = np.diff(plane, axis=1)
    blocks = np.floor((np.arange(plane.shape[1]) + shave + 0.5) / block)  # that each column's centre lies in
    on_border = np.diff(blocks) > 0
    return steps[:, on_border].ravel(), steps[:, ~on_border].ravel()


def _blur(plane: Plane) -> Plane:
    """A separable 11-tap Gaussian of sigma 1.5, only where all taps lie inside."""
    taps = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    taps /= taps.sum()
    windows = np.lib.stride_tricks.sliding_window_view
    rows: Plane = windows(plane, 11, axis=0) @ taps
    columns: Plane = windows(rows, 11, axis=1) @ taps
    return columns
