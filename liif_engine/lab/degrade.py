"""Damages a clean picture as the web does: reduced once, perhaps dithered or noisy, then compressed once or twice.

Real encoders do the compression (Pillow's libjpeg-turbo and libwebp), so nothing about them is an approximation;
an 80 x 80 canvas takes about a millisecond. Everything is drawn from one seeded generator, and all of it before the
first pixel is touched: a `Plan` says what happens, `apply` does it.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

Pixels = NDArray[np.uint8]
Kernel = Literal["bicubic", "lanczos", "area", "bilinear", "blur"]
Codec = Literal["jpeg", "webp", "avif", "heif", "gif"]

MAX_SCALE = 4.0

#: Largest step between two JPEG grids; a JPEG block is 8 pixels wide.
MAX_SHIFT = 7

#: Pillow widens each kernel by the reduction, as picture editors do; "blur" is bicubic after a light blur.
FILTERS: Mapping[str, Image.Resampling] = MappingProxyType(
    {
        "bicubic": Image.Resampling.BICUBIC,
        "lanczos": Image.Resampling.LANCZOS,
        "area": Image.Resampling.BOX,
        "bilinear": Image.Resampling.BILINEAR,
        "blur": Image.Resampling.BICUBIC,
    }
)

#: Tables of a well-known editor's "save for web" and "save as", which no quality number of libjpeg gives.
EDITOR_TABLES = ("web_low", "web_medium", "web_high", "web_very_high", "low", "medium", "high")


@dataclass(frozen=True)
class Compression:
    """One pass through a lossy encoder.

    Attributes:
        codec: the encoder.
        quality: 0-100 on the encoder's own scale, or the name of a set of JPEG tables in `EDITOR_TABLES`; of a GIF the
            number of its colours, which are dithered.
        subsampling: chroma of a JPEG: 0 is 4:4:4, 1 is 4:2:2, 2 is 4:2:0. The others have 4:2:0.
        shift: rows and columns cut off at the top left before this pass [pixels], 0-7 each: where the new grid starts.
    """

    codec: Codec
    quality: int | str
    subsampling: int = 2
    shift: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class Plan:
    """What happens to one picture, in this order.

    Attributes:
        scale: ground-truth pixels per damaged pixel, 1-4.
        kernel: of the reduction; says nothing at scale 1.
        blur: radius of the Gaussian before the reduction [ground-truth pixels per unit of scale]; 0 is none.
        gray: the picture loses its colour, and so does the ground truth.
        noise: standard deviation of Gaussian noise [8-bit levels]; 0 is none.
        colours: size of a GIF-like palette, 2-256; 0 is none.
        dither: the palette is dithered by error diffusion.
        passes: the lossy encoders, first to last.
    """

    scale: float = 1.0
    kernel: Kernel = "bicubic"
    blur: float = 0.0
    gray: bool = False
    noise: float = 0.0
    colours: int = 0
    dither: bool = False
    passes: tuple[Compression, ...] = ()

    @property
    def clean(self) -> bool:
        """Nothing but the reduction happens."""
        return not (self.passes or self.noise or self.colours)


@dataclass(frozen=True)
class Shares:
    """How often each kind of damage is drawn; each a probability in [0, 1].

    Attributes:
        unscaled: of all pairs at scale exactly 1; the others are uniform in (1, 4].
        clean: of all pairs, nothing but the reduction.
        webp: of the damaged pairs, WebP instead of JPEG.
        palette: of the damaged pairs, a GIF-like palette; half of these stay so, half become a JPEG.
        twice: of the JPEGs, saved again with a shifted grid.
        editor: of the JPEG passes, an editor's tables instead of a libjpeg quality.
        noise: of the damaged pairs, light noise before the compression.
        gray: of all pairs, without colour.
    """

    unscaled: float = 0.25
    clean: float = 0.18
    webp: float = 0.06
    palette: float = 0.04
    twice: float = 0.2
    editor: float = 0.05
    noise: float = 0.05
    gray: float = 0.05


def draw(rng: np.random.Generator, shares: Shares | None = None) -> Plan:
    """A random plan.

    Args:
        rng: the only source of chance; the same state gives the same plan.
        shares: how often each kind of damage comes.
    """
    shares = shares or Shares()
    unscaled = rng.random() < shares.unscaled
    scale = 1.0 if unscaled else float(MAX_SCALE - (MAX_SCALE - 1.0) * rng.random())  # (1, 4]
    kernel: Kernel = "bicubic"
    blur = 0.0
    if not unscaled:
        kernel, blur = _draw_kernel(rng)
    gray = bool(rng.random() < shares.gray)
    if rng.random() < shares.clean:
        return Plan(scale, kernel, blur, gray)
    noise = float(rng.uniform(0.5, 5.0)) if rng.random() < shares.noise else 0.0
    kind = rng.random()
    if kind < shares.webp:
        return Plan(scale, kernel, blur, gray, noise, passes=(Compression("webp", int(rng.integers(5, 96))),))
    colours = int(2 ** rng.uniform(4.0, 8.0)) if kind < shares.webp + shares.palette else 0
    dither = bool(colours and rng.random() < 0.6)
    passes = () if colours and rng.random() < 0.5 else _draw_jpegs(rng, shares)
    return Plan(scale, kernel, blur, gray, noise, colours, dither, passes)


def _draw_kernel(rng: np.random.Generator) -> tuple[Kernel, float]:
    kernels: tuple[Kernel, ...] = ("bicubic", "lanczos", "area", "bilinear", "blur")
    kernel = kernels[int(np.searchsorted([0.55, 0.75, 0.85, 0.93], rng.random(), side="right"))]
    return kernel, float(rng.uniform(0.2, 0.5)) if kernel == "blur" else 0.0


def _draw_jpegs(rng: np.random.Generator, shares: Shares) -> tuple[Compression, ...]:
    first = _draw_jpeg(rng, shares)
    if rng.random() >= shares.twice:
        return (first,)
    down, right = (int(step) for step in rng.integers(0, MAX_SHIFT + 1, 2))
    return first, _draw_jpeg(rng, shares, (down, right))


def _draw_jpeg(rng: np.random.Generator, shares: Shares, shift: tuple[int, int] = (0, 0)) -> Compression:
    subsampling = int(np.searchsorted([0.3, 0.4], rng.random(), side="right"))
    if rng.random() < shares.editor:
        return Compression("jpeg", EDITOR_TABLES[int(rng.integers(len(EDITOR_TABLES)))], subsampling, shift)
    # Half of the draws below 50: little of the web is there, but most of the damage that a reader notices.
    low, high = (5, 50) if rng.random() < 0.5 else (30, 95)
    return Compression("jpeg", int(rng.integers(low, high + 1)), subsampling, shift)


def to_gray(pixels: Pixels) -> Pixels:
    """The luma (BT.601) in all three channels; (H, W, 3) uint8 in and out."""
    return np.asarray(Image.fromarray(pixels).convert("L").convert("RGB"))


def reduce(ground_truth: Pixels, size: int, plan: Plan) -> Pixels:
    """The square ground truth at the damaged picture's size, before any compression.

    Args:
        ground_truth: (M, M, 3) uint8, M = scale x size up to rounding.
        size: pixels of the result along each axis.
        plan: the kernel and the blur are used.

    Returns:
        (size, size, 3) uint8.
    """
    if ground_truth.shape[0] == size:
        return ground_truth
    image = Image.fromarray(ground_truth)
    if plan.blur:
        image = image.filter(ImageFilter.GaussianBlur(plan.blur * ground_truth.shape[0] / size))
    return np.asarray(image.resize((size, size), FILTERS[plan.kernel]))


def compress(image: Image.Image, step: Compression) -> Image.Image:
    """One pass through a real encoder and back.

    Args:
        image: mode RGB or L.
        step: which encoder, how strong, and where its grid starts.

    Returns:
        The same mode, smaller by the shift.
    """
    down, right = step.shift
    if down or right:
        image = image.crop((right, down, image.width, image.height))
    options: dict[str, Any] = {"quality": step.quality}
    if step.codec == "gif":
        assert isinstance(step.quality, int)
        return _dither(image, step.quality, dither=True, method=Image.Quantize.MEDIANCUT).convert(image.mode)
    if step.codec == "jpeg":
        if isinstance(step.quality, str):
            options = {"qtables": step.quality}
        if image.mode == "RGB":  # a gray JPEG has no chroma to subsample
            options["subsampling"] = step.subsampling
    elif step.codec == "webp":
        options["method"] = 2  # the strength of the search, not of the damage; 4 takes twice as long
    file = io.BytesIO()
    image.save(file, step.codec.upper(), **options)
    return Image.open(file).convert(image.mode)


def apply(reduced: Pixels, plan: Plan, rng: np.random.Generator) -> tuple[Pixels, tuple[int, int]]:
    """Noise, palette and encoders, as planned.

    Args:
        reduced: (S, S, 3) uint8, at the damaged picture's size.
        plan: the plan.
        rng: for the noise.

    Returns:
        The damaged pixels, (S - down, S - right, 3) uint8, and (down, right): how much the shifted grids
        cut off at the top and at the left.
    """
    if plan.noise:
        noisy = reduced + rng.standard_normal(reduced.shape, np.float32) * np.float32(plan.noise)
        reduced = np.rint(noisy).clip(0, 255).astype(np.uint8)
    image = Image.fromarray(reduced)
    if plan.colours:
        image = _dither(image, plan.colours, plan.dither)
    if plan.gray:
        image = image.convert("L")
    for step in plan.passes:
        image = compress(image, step)
    down = sum(step.shift[0] for step in plan.passes)
    right = sum(step.shift[1] for step in plan.passes)
    return np.asarray(image.convert("RGB")), (down, right)


def _dither(
    image: Image.Image, colours: int, dither: bool, method: Image.Quantize = Image.Quantize.FASTOCTREE
) -> Image.Image:
    # Pillow diffuses errors only towards a palette it is given, hence two steps.
    palette = image.quantize(colours, method, dither=Image.Dither.NONE)
    kind = Image.Dither.FLOYDSTEINBERG if dither else Image.Dither.NONE
    return image.quantize(palette=palette, dither=kind).convert("RGB")
