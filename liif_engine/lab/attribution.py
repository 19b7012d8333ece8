"""Which input pixels made a patch: a local attribution map, and the experiment that puts it to the test.

Local attribution maps are from Gu and Dong, "Interpreting Super-Resolution Networks with Local Attribution Maps"
(CVPR 2021): a picture that is nothing but blur is sharpened step by step into the one that was given, and the growth of
what the network draws into the patch is put down to the pixels that changed (integrated gradients). What differs here:
the number explained is the mean edge strength of the patch in grey levels, smoothed so that it has a gradient
everywhere; the blur is half a JPEG block wide, so that the baseline shows no blocks either; and steps are laid so that
each changes the picture equally.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from liif_engine.lab.field import Field, luma, rms

Map = NDArray[np.float32]

#: Blur of the baseline: standard deviation [pixels].
BLUR = 4.0

#: Steps of the path, and how often they are doubled while the sum is further than `CLOSE` from what it should be.
STEPS, DOUBLINGS, CLOSE = 32, 2, 0.02

#: The smallest difference that counts as edge [grey levels].
SMOOTHING = 1.0

#: The part of the attribution that the top region holds, and the noise put there [grey levels].
TOP, NOISE, TRIALS = 0.8, 8.0, 6


@dataclass(frozen=True)
class Attribution:
    """What made a patch.

    Attributes:
        contributions: (h, w) of the field's window, signed: how much of the patch's edge strength each pixel gave.
        baseline, observed: the patch's edge strength, made of the blurred picture and of the picture [grey levels].
        steps: of the path.
        completeness_error: how far the contributions' sum is from `observed` - `baseline`, as a part of it. In
            theory 0.
    """

    contributions: Map
    baseline: float
    observed: float
    steps: int
    completeness_error: float

    @property
    def weights(self) -> Map:
        """(h, w) each pixel's part in the sum of all magnitudes, 0-1."""
        magnitudes = np.abs(self.contributions)
        total = magnitudes.sum()
        shares: Map = magnitudes / total if total else np.full_like(magnitudes, 1 / magnitudes.size)
        return shares

    @property
    def diffusion_index(self) -> float:
        """100 (1 - Gini coefficient) of the magnitudes: 0 one pixel did it all, 100 all did the same (LAM, eq. 9)."""
        ordered = np.sort(self.weights.ravel().astype(np.float64))
        count = len(ordered)
        gini = ((2 * np.arange(1, count + 1) - count - 1) * ordered).sum() / count
        return float(100 * (1 - gini))


@dataclass(frozen=True)
class Check:
    """The attribution, tested: how much the patch changes when its pixels, or others, are disturbed by equal noise.

    Attributes:
        top: (h, w) bool, the fewest pixels that hold `TOP` of the attribution, each averaged with its eight neighbours
            so that they make a region.
        inside, near, anywhere: root mean square change of the patch [grey levels] for noise on the top region; on the
            pixels nearest the patch that are not of it, as many; on as many others, at random.
    """

    top: NDArray[np.bool_]
    inside: float
    near: float
    anywhere: float


def edge_strength(colours: Tensor) -> Tensor:
    """The number that is explained: mean gradient magnitude of the luma, in grey levels per pixel, a scalar.

    Args:
        colours: (rows, columns, 3), [0, 1]; at least two rows and columns.
    """
    plane = luma(colours)
    down, across = plane[1:, :-1] - plane[:-1, :-1], plane[:-1, 1:] - plane[:-1, :-1]
    return (down.square() + across.square() + SMOOTHING**2).sqrt().mean() - SMOOTHING


def attribute(field: Field, *, on_step: Callable[[float], None] | None = None) -> Attribution:
    """Integrates the gradient of a patch's edge strength along the path from blur to picture.

    Args:
        field: the patch.
        on_step: called with the share done, 0-1; what it raises ends the work.
    """
    steps, result = STEPS, _integrate(field, STEPS, on_step)
    for _ in range(DOUBLINGS):
        if result.completeness_error <= CLOSE:
            break
        steps *= 2
        result = _integrate(field, steps, on_step)
    return result


def _integrate(field: Field, steps: int, on_step: Callable[[float], None] | None) -> Attribution:
    """Midpoint rule: the gradient half-way between two blurs, times what changes from one to the next."""
    sigmas = _even_path(field.pixels, 2 * steps)
    contributions = torch.zeros(field.pixels.shape[2:])
    before = blurred(field.pixels, sigmas[0])
    for step in range(steps):
        middle = blurred(field.pixels, sigmas[2 * step + 1]).requires_grad_()
        after = blurred(field.pixels, sigmas[2 * step + 2])
        (gradient,) = torch.autograd.grad(edge_strength(field.answer(middle)), middle)
        contributions += (gradient * (after - before)).sum((0, 1))
        before = after
        if on_step is not None:
            on_step((step + 1) / steps)
    with torch.inference_mode():
        baseline = float(edge_strength(field.answer(blurred(field.pixels, sigmas[0]))))
        observed = float(edge_strength(field.answer()))
    difference = observed - baseline
    error = abs(float(contributions.sum()) - difference) / max(abs(difference), 1e-6)
    return Attribution(contributions.numpy(), baseline, observed, steps, error)


def check(field: Field, attribution: Attribution, *, seed: int = 0) -> Check:
    """Adds equal noise to the map's top region and to others, and looks at what happens to the patch."""
    top = top_region(_smoothed(attribution.weights), TOP)
    count = int(top.sum())
    rest = np.flatnonzero(~top)
    nearest = rest[np.argsort(distance(field).ravel()[rest], kind="stable")][:count]
    random = np.random.default_rng(seed)
    changes: dict[str, list[float]] = {"inside": [], "near": [], "anywhere": []}
    with torch.inference_mode():
        quiet = field.answer()
        for _ in range(TRIALS):
            noise = torch.from_numpy(random.normal(0, NOISE / 255, (3, count)).astype(np.float32))
            places = {
                "inside": np.flatnonzero(top),
                "near": nearest,
                "anywhere": random.choice(rest, min(count, len(rest)), replace=False),
            }
            for name, at in places.items():
                disturbed = field.pixels.clone()
                disturbed.view(3, -1)[:, torch.from_numpy(at)] += noise[:, : len(at)]
                changes[name].append(rms(field.answer(disturbed) - quiet))
    return Check(top, **{name: float(np.mean(values)) for name, values in changes.items()})


def top_region(weights: Map, share: float) -> NDArray[np.bool_]:
    """The fewest pixels that hold a share of the attribution, (h, w) bool."""
    order = np.argsort(-weights, axis=None, kind="stable")
    count = int(np.searchsorted(np.cumsum(weights.ravel()[order], dtype=np.float64), share)) + 1
    top = np.zeros(weights.size, bool)
    top[order[: min(count, weights.size)]] = True
    return top.reshape(weights.shape)


def _smoothed(weights: Map) -> Map:
    """Each pixel averaged with its eight neighbours; the border repeated."""
    padded = np.pad(weights, 1, mode="edge")
    smoothed: Map = np.lib.stride_tricks.sliding_window_view(padded, (3, 3)).mean((2, 3))
    smoothed /= smoothed.sum()
    return smoothed


def distance(field: Field) -> NDArray[np.int64]:
    """(h, w) pixels from each pixel of the window to the patch, 0 inside; the larger of both directions."""
    rows, columns = np.arange(field.window.height), np.arange(field.window.width)
    down = np.maximum(np.maximum(field.inner.top - rows, rows - field.inner.bottom + 1), 0)
    across = np.maximum(np.maximum(field.inner.left - columns, columns - field.inner.right + 1), 0)
    return np.maximum(down[:, None], across)


def blurred(pixels: Tensor, sigma: float) -> Tensor:
    """(1, 3, h, w) under a Gaussian of a standard deviation in pixels, edges repeated."""
    if sigma < 0.05:
        return pixels.clone()
    reach = int(np.ceil(3 * BLUR))
    offsets = torch.arange(-reach, reach + 1, dtype=pixels.dtype)
    taps = torch.exp(-(offsets**2) / (2 * sigma**2))
    taps = (taps / taps.sum()).expand(3, 1, 1, -1)
    padded = F.pad(pixels, (reach, reach, reach, reach), mode="replicate")
    return F.conv2d(F.conv2d(padded, taps, groups=3), taps.transpose(2, 3), groups=3)


def _even_path(pixels: Tensor, steps: int) -> list[float]:
    """steps + 1 blurs from `BLUR` to none, between which the picture changes equally."""
    fine = [float(sigma) for sigma in np.geomspace(BLUR, 0.1, 48)] + [0.0]
    pictures = [blurred(pixels, sigma) for sigma in fine]
    changes = [float((b - a).norm()) for a, b in pairwise(pictures)]
    way = np.concatenate([[0.0], np.cumsum(changes)])
    even = np.interp(np.linspace(0, way[-1], steps + 1), way, fine) if way[-1] > 0 else np.linspace(BLUR, 0, steps + 1)
    return [float(sigma) for sigma in even]
