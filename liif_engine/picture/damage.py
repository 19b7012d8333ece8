"""What lossy compression did to a picture: from the file's own quantisation, and from the pixels alone.

A PNG or a WebP may hold what was once a JPEG, cropped since; its pixels still tell where the 8x8 grid lay and how
coarse the quantisation was. A picture that was resized after compression keeps neither, and is reported as unknown.
Noise is told as well, and a palette's few colours: they are no compression, but they spoil an enlargement as much. And
whether it was drawn, which is no damage at all, but asks for the same network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from liif_engine.picture import colours, quantisation
from liif_engine.picture.drawing import is_drawn
from liif_engine.picture.noise import blocks
from liif_engine.picture.noise import measure as measure_noise
from liif_engine.picture.quantisation import LUMA_TABLE, FileQuality, scaled_table

Plane = NDArray[np.float32]

#: The middle of the picture, at most so many pixels along each axis, is looked at.
WINDOW = 1024

#: Frequencies (row, column) whose steps are judged: low ones, which survive even strong compression.
FREQUENCIES = tuple((row, column) for row in range(7) for column in range(7) if 1 <= row + column <= 6)

#: Spread of a coefficient around its quantised value after rounding to 8-bit RGB.
ROUNDING = 0.6

#: Part of the coefficients that may lie anywhere, whatever moved them.
STRAY = 0.1

#: Smaller coefficients may be rounding noise about zero, which fits every step.
SMALLEST = 2.5

#: Evidence per coefficient [nats] and number of coefficients from which the pixels are believed.
EVIDENCE, ENOUGH = 0.15, 48

#: Strength from which a grid is believed though the coefficients keep to no table.
VISIBLE = 0.15

#: Where a grid lies, compression left fewer coefficients than at any other phase; from this part on, fewer is chance
#: unless a table confirms it. So many are added on both sides, since a handful says nothing.
FEWER, HANDFUL = 0.9, 5

#: Evidence per coefficient ahead of every other phase [nats] by which a table is believed at a phase without the
#: fewest coefficients: at high quality few are lost. Beyond so many times the fewest nothing is believed there.
AHEAD, TOO_MANY = 0.2, 5

#: Fewer pixels along an axis hold too few block borders to count.
SMALLEST_SIDE = 24


@dataclass(frozen=True)
class Damage:
    """What is known about a picture's compression.

    Attributes:
        file: what the file says of itself; None: no file, or neither a JPEG nor a lossy WebP.
        grid_phase: (y, x) of the first whole 8x8 block in the pixels, each 0-7; None: no grid stands out, or what does
            is no grid by the coefficients.
        grid_strength: how much more often a jump between two pixels stands out on the grid than off it, 0-1.
        pixel_quality: libjpeg quality 1-100 that the pixels speak of; None: they do not speak.
        noise: standard deviation of its noise [8-bit levels]; 0 where it may be texture as well.
        halved_chroma: "AVIF" or "HEIC" if the file is one whose colours have less detail than its luma, as only lossy
            ones do; what quality it is they do not say.
        colours: of the palette that a photograph was reduced to, as for a GIF; None: it was not.
        drawn: whether it is a drawing or a screenshot, and no photograph.
    """

    file: FileQuality | None = None
    grid_phase: tuple[int, int] | None = None
    grid_strength: float = 0.0
    pixel_quality: int | None = None
    noise: float = 0.0
    halved_chroma: str | None = None
    colours: int | None = None
    drawn: bool = False

    @property
    def quality(self) -> int | None:
        """The lowest quality that anything speaks of: a picture saved twice shows the worse pass. None: unknown."""
        known = [self.file.quality if self.file else None, self.pixel_quality]
        return min((quality for quality in known if quality is not None), default=None)


def estimate(pixels: NDArray[Any], file: Path | str | bytes | None = None) -> Damage:
    """Looks at a picture's pixels, and at the headers of the file they come from if there is one.

    Takes some 0.2 s at most on one core, whatever the size: only the middle of a large picture is looked at.

    Args:
        pixels: (H, W), (H, W, 1 to 4) uint8 or uint16; gray, or RGB with or without alpha.
        file: the picture's file or its bytes; one that cannot be read says nothing, and is no error.
    """
    middle, said = _middle(pixels), Damage() if file is None else of_file(file)
    left, noise, drawn = colours.quantised(middle), max(measure_noise(middle)), is_drawn(middle)
    return replace(said, **_from_pixels(middle), noise=noise, colours=left, drawn=drawn)


def of_file(file: Path | str | bytes) -> Damage:
    """What a file's own headers say, in far less time than its pixels take.

    Args:
        file: as for `estimate`.
    """
    said = quantisation.read(file)
    return Damage(said, halved_chroma=None if said is not None else quantisation.halved_chroma(file))


def estimate_file(path: Path | str) -> Damage:
    """The same for a file whose pixels are not at hand; of an animation the first frame is looked at.

    Raises:
        LiifError: the file cannot be read as a picture, or is larger than the usual limits.
    """
    from liif_engine.picture import image_file  # not needed by those who have pixels

    return estimate(image_file.read(Path(path)).frames[0].pixels, path)


def grid(luma: Plane) -> tuple[list[tuple[int, int]], float]:
    """Where an 8x8 grid is most visible, and how visible it is.

    A jump between two neighbours counts where it is larger than the jumps on both its sides. In a picture without
    blocks a third of all places count, at every phase; on a block border more do. (The idea of comparing phases is
    from Fan and de Queiroz, "Identification of Bitmap Compression History", 2003; the counting is ours.)

    Args:
        luma: (H, W), 0-255.

    Returns:
        (y, x) of the first whole block, the four likeliest, best first; and the strength of the best, 0-1: the
        smaller of the two axes' excess of counts. Up to about 0.05 is chance.
    """
    if min(luma.shape) < SMALLEST_SIDE:
        return [(0, 0)], 0.0
    (rows, strong_y), (columns, strong_x) = _axis_grid(luma), _axis_grid(luma.T)
    return [(y, x) for y in rows for x in columns], round(float(np.clip(min(strong_y, strong_x), 0, 1)), 4)


def _axis_grid(luma: Plane) -> tuple[list[int], float]:
    """The two likeliest phases along the first axis, and how many more places count at the first than elsewhere."""
    jumps = np.abs(np.diff(luma, axis=0))
    before, here, after = jumps[:-2], jumps[1:-1], jumps[2:]
    counts = (here > before) & (here > after)
    telling = (here != before) | (here != after)
    share = np.empty(8)
    for phase in range(8):  # row r of `here` is the jump between picture rows r + 1 and r + 2
        rows = slice((phase - 2) % 8, None, 8)
        share[phase] = counts[rows].sum() / max(telling[rows].sum(), 1)
    best, second, *others = np.argsort(-share)
    return [int(best), int(second)], float(share[best] - share[[second, *others]].mean())


class _Candidate:
    """A phase at which the grid may lie, and how well the DCT coefficients of its blocks fit.

    Coefficients of a decoded JPEG lie at multiples of the table's steps, give or take the rounding to 8 bits. For each
    quality the likelihood of the coefficients under "multiples of this step" is compared with "anywhere"; the larger
    the step that still fits, the stronger the evidence. The table may lie on its side. (Likelihood over steps as in Fan
    and de Queiroz 2003.)

    Args:
        luma: (H, W), 0-255.
        phase: (y, x) of the first whole block.
        clipped: (H, W), pixels that may have lain outside 0-255 before they were stored; the steps of their blocks say
            nothing.

    Attributes:
        phase: as given.
        blocks: how many whole ones there are.
        survivors: how many coefficients of all blocks are no rounding noise about zero.
    """

    def __init__(self, luma: Plane, phase: tuple[int, int], clipped: NDArray[np.bool_]) -> None:
        coefficients = _dct(_blocks(luma, phase))[(slice(None), *np.transpose(FREQUENCIES))]
        survive = np.abs(coefficients) > SMALLEST
        self.phase, self.blocks, self.survivors = phase, len(coefficients), int(survive.sum())
        survive &= ~_blocks(clipped, phase).reshape(-1, 64).any(1, keepdims=True)
        self._values = [values[kept] for values, kept in zip(coefficients.T, survive.T, strict=True)]
        self._count = sum(map(len, self._values))

    @cached_property
    def best(self) -> tuple[int, float]:
        """The libjpeg quality, 1-100, that the coefficients fit best, and the evidence per coefficient [nats]."""
        if not self._count:
            return 0, 0.0
        at_step = cache(lambda index, step: _evidence(self._values[index], step))
        evidence = np.zeros(101)
        for quality in range(1, 101):
            table = scaled_table(LUMA_TABLE, quality)
            # A picture that was turned on its side since has its rows' steps along its columns.
            evidence[quality] = max(
                sum(at_step(index, float(one[at])) for index, at in enumerate(FREQUENCIES)) for one in (table, table.T)
            )
        best = int(np.argmax(evidence[1:])) + 1
        return best, float(evidence[best]) / self._count

    @property
    def quality(self) -> int | None:
        """The quality whose steps the coefficients keep to; None: they keep to none, or the steps are too fine."""
        return self.best[0] if self._count >= ENOUGH and self.best[1] > EVIDENCE else None

    def share_of_fewest(self, others: Sequence[_Candidate]) -> float:
        """Its survivors against those of the other phase that has the fewest; below 1: it has fewer."""
        fewest = min((other.survivors * self.blocks / max(other.blocks, 1) for other in others), default=np.inf)
        return float((self.survivors + HANDFUL) / (fewest + HANDFUL))

    def is_ahead(self, others: Sequence[_Candidate]) -> bool:
        """Whether its coefficients fit a table better than those of every other phase fit any."""
        return self.best[1] - max((other.best[1] for other in others), default=0.0) >= AHEAD


def _evidence(values: Plane, step: float) -> float:
    """Log-likelihood ratio [nats] of "near multiples of step" against "anywhere"."""
    off = values - step * np.rint(values / step)
    near = step / (ROUNDING * np.sqrt(2 * np.pi)) * np.exp(-0.5 * (off / ROUNDING) ** 2)
    return float(np.log(STRAY + (1 - STRAY) * near).sum())


def _blocks(plane: NDArray[Any], phase: tuple[int, int]) -> NDArray[Any]:
    """The whole 8x8 blocks from a phase on, (B, 8, 8)."""
    return blocks(plane[phase[0] :, phase[1] :], 8).reshape(-1, 8, 8)


def _dct(blocks: Plane) -> Plane:
    """The orthonormal 8x8 DCT-II of each block, as JPEG scales it."""
    k = np.arange(8)
    basis = np.sqrt(2 / 8) * np.cos(np.pi * (2 * k + 1) * k[:, None] / 16)
    basis[0] /= np.sqrt(2)
    basis = basis.astype(np.float32)
    coefficients: Plane = basis @ (blocks - 128) @ basis.T
    return coefficients


def without_alpha(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """(H, W), (H, W, 1 to 4) uint8 or uint16 as (H, W, 1 or 3) uint8."""
    colours = pixels[..., None] if pixels.ndim == 2 else pixels[..., : 3 if pixels.shape[-1] >= 3 else 1]
    return np.asarray(colours >> 8 if colours.dtype == np.uint16 else colours, np.uint8)


def _middle(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """At most `WINDOW` pixels along each axis, (H, W, 1 or 3), 8-bit, no alpha; the 8x8 phase stays as it is."""
    starts = [max(length - WINDOW, 0) // 16 * 8 for length in pixels.shape[:2]]
    middle = pixels[starts[0] : starts[0] + WINDOW, starts[1] : starts[1] + WINDOW]
    return without_alpha(middle)


def _luma(pixels: NDArray[np.uint8]) -> Plane:
    """BT.601 luma, 0-255, which is JPEG's own Y."""
    weights = np.array([0.299, 0.587, 0.114] if pixels.shape[-1] == 3 else [1.0], np.float32)
    luma: Plane = pixels.astype(np.float32) @ weights
    return luma


def _from_pixels(pixels: NDArray[np.uint8]) -> dict[str, Any]:
    luma = _luma(pixels)
    clipped = ((pixels == 0) | (pixels == 255)).any(-1)
    phases, strength = grid(luma)
    # At high quality no border shows, but steps still do; and most pictures were never cropped.
    tried = [_Candidate(luma, phase, clipped) for phase in dict.fromkeys([phases[0], (0, 0), *phases[1:]])]
    for candidate in tried:
        if candidate.quality is not None:
            others = [other for other in tried if other is not candidate]
            share = candidate.share_of_fewest(others)
            # In a picture with few coefficients those of a wrong phase, from cut-up blocks, may fit some fine table.
            if share < 1 or (share < TOO_MANY and candidate.is_ahead(others)):
                return {"grid_phase": candidate.phase, "grid_strength": strength, "pixel_quality": candidate.quality}
    stands_out = strength >= VISIBLE and tried[0].share_of_fewest(tried[1:]) < FEWER
    return {"grid_phase": phases[0] if stands_out else None, "grid_strength": strength}
