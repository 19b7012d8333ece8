"""What compression did to one picture, and from which clues the network rebuilt it: the story, start reading here.

``explain("old.jpg").html()`` is the report that ``liif explain`` writes, ``.as_dict()`` the same for programs.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from liif_engine.errors import LiifError, UsageError
from liif_engine.file import NO_INTERVALS, NOT_ITS_SIZE
from liif_engine.lab import ablation, attribution, subject
from liif_engine.lab.ablation import Contributions
from liif_engine.lab.attribution import Attribution, Check
from liif_engine.lab.field import Field, one_thread
from liif_engine.lab.subject import Subject
from liif_engine.picture import consistency
from liif_engine.picture.consistency import Agreement
from liif_engine.picture.image_file import Limits
from liif_engine.picture.loss import expected_loss
from liif_engine.picture.tiles import Rect
from liif_engine.restore import Engine
from liif_engine.target import Target

Pixels = NDArray[np.uint8]

#: Called with the share of the work done, 0 to 1, and what is being done; what it raises ends the work.
OnProgress = Callable[[float, str], None]

#: Side of the patch that is chosen, of the largest one taken as asked for, and of the smallest [input pixels].
PATCH, LARGEST_PATCH, SMALLEST_PATCH = 16, 32, 8

#: So far from the border a patch is chosen [input pixels].
MARGIN = 24

#: What part of the time each step takes, by measurement.
STEPS = {
    "Reading the file": 0.02,
    "Restoring the picture": 0.18,
    "Asking which pixels made the patch": 0.55,
    "Testing that answer with noise": 0.1,
    "Taking parts of the network away": 0.13,
    "Comparing with what the file states": 0.02,
}


@dataclass(frozen=True)
class Explanation:
    """All that is known of how one patch of a picture was rebuilt.

    Attributes:
        subject: the picture.
        model, precision: what restored it; the experiments on the patch are done in fp32.
        scale: output per input pixel, as asked for.
        consistent: whether the result was moved into the file's intervals.
        region: what was asked for, in the picture's pixels; None: nothing.
        patch: the patch, in the window's pixels.
        result: (H', W', 1 or 3) uint8, the window restored.
        reduced: (H, W, 1 or 3) uint8, the result in the window's own size.
        loss: (rows, columns) expected loss of each block [grey levels]; None: unknown.
        field: the patch with all that the network can see for it.
        features: (C, h, w) the encoder's feature map of the field.
        attribution, check, contributions: the clues.
        before, after: the file and the result against the file's intervals; None: there are none.
        seconds: that it took.
    """

    subject: Subject
    model: str
    precision: str
    scale: float
    consistent: bool
    region: Rect | None
    patch: Rect
    result: Pixels
    reduced: Pixels
    loss: NDArray[np.float32] | None
    field: Field
    features: Tensor
    attribution: Attribution
    check: Check
    contributions: Contributions
    before: Agreement | None
    after: Agreement | None
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """The facts for programs: plain JSON values; shares are fractions, distances input pixels."""
        from liif_engine.lab import facts

        return facts.as_dict(self)

    def html(self) -> str:
        """The report: one page that needs nothing but itself."""
        from liif_engine.lab import report

        return report.html(self)


def explain(
    path: Path | str,
    *,
    at: tuple[int, int, int, int] | None = None,
    scale: float = 2.0,
    engine: Engine | str = "auto",
    consistent: bool = False,
    limits: Limits | None = None,
    on_progress: OnProgress | None = None,
) -> Explanation:
    """Restores a picture and finds out how.

    Args:
        path: a picture file; nothing is written to it.
        at: (x, y, width, height) in pixels of the picture as displayed, where to look; by default where most was
            damaged and most was changed. Of a large place, the patch within it for which that is true.
        scale: output per input pixel, at least 1.
        engine: what restores, or a model's name.
        consistent: whether to move the result into the file's quantisation intervals; at scale 1 only.
        limits: what is refused as too large.
        on_progress: called with the share done and what is being done.

    Raises:
        LiifError: the file, the place or the scale is refused; the error names the file.
    """
    started, path = time.monotonic(), Path(path)
    steps = _Steps(on_progress)
    try:
        steps.begin("Reading the file")
        Target(scale=scale)  # refuses a scale below 1
        region = None if at is None else Rect(at[1], at[1] + at[3], at[0], at[0] + at[2])
        picture = subject.read(path, scale=scale, region=region, limits=limits)
        region = None if region is None else _checked(region, picture)
        if consistent:
            check_consistent(picture, scale)

        steps.begin("Restoring the picture")
        chosen = (Engine(engine) if isinstance(engine, str) else engine).for_picture(picture.pixels, path)
        result = chosen.restore(picture.pixels, scale=scale, on_progress=steps.share)
        if consistent and picture.stored is not None:
            result = consistency.project(picture.stored, result)
        reduced = _reduced(result, picture.pixels)
        loss = None if picture.stored is None else expected_loss(picture.stored.luma)
        patch = _patch(picture, reduced, loss, region)
    except LiifError as error:
        raise error.at(path) from error.__cause__

    field = Field(chosen.network.requires_grad_(False), picture.pixels, patch, result.shape[1::-1])
    with one_thread():
        steps.begin("Asking which pixels made the patch")
        clues = attribution.attribute(field, on_step=steps.share)
        steps.begin("Testing that answer with noise")
        check = attribution.check(field, clues)
        steps.begin("Taking parts of the network away")
        parts = ablation.contributions(field, blocks_of(field, picture), on_step=steps.share)
        with torch.inference_mode():
            features = field.model.encode(field.pixels)[0]
    steps.begin("Comparing with what the file states")
    stored = picture.stored
    before = None if stored is None else consistency.agreement(stored, picture.pixels)
    after = None if stored is None else consistency.agreement(stored, reduced)
    steps.end()
    return Explanation(
        picture, chosen.model_name, chosen.precision_for(8), scale, consistent, region, patch, result, reduced, loss,
        field, features, clues, check, parts, before, after, time.monotonic() - started,
    )  # fmt: skip


def check_consistent(picture: Subject, scale: float) -> None:
    """Refuses to move a result into intervals that there are not.

    Raises:
        UsageError: not at scale 1, or the file states no intervals.
    """
    if scale != 1:
        raise UsageError(NOT_ITS_SIZE, remedy="Use --scale 1, or leave --consistent out.")
    if picture.stored is None or picture.stored.estimated:
        raise UsageError(NO_INTERVALS, path=picture.path, remedy="Leave --consistent out.")


def blocks_of(field: Field, picture: Subject) -> Rect:
    """The whole 8x8 blocks that hold a field's patch, in the field's window; of a picture without a grid, from 0."""
    phase = (0, 0) if picture.stored is None else displayed_phase(picture)
    spans = []
    for start, stop, origin, length, first in (
        (field.patch.top, field.patch.bottom, field.window.top, field.window.height, phase[0]),
        (field.patch.left, field.patch.right, field.window.left, field.window.width, phase[1]),
    ):
        low = (start - first) // 8 * 8 + first - origin
        high = -(-(stop - first) // 8) * 8 + first - origin
        spans += [max(low, 0), min(high, length)]
    return Rect(*spans)


def displayed_phase(picture: Subject) -> tuple[int, int]:
    """(y, x) of the first whole block of the file's own grid in the window as displayed, each 0-7."""
    assert picture.stored is not None
    if picture.stored.estimated:
        return picture.stored.phase
    y = picture.height % 8 if picture.orientation in {3, 4, 7, 8} else 0
    x = picture.width % 8 if picture.orientation in {2, 3, 6, 7} else 0
    return y, x


class _Steps:
    """Turns steps and their shares into one share."""

    def __init__(self, report: OnProgress | None) -> None:
        self._report, self._name, self._before = report, "", 0.0

    def begin(self, name: str) -> None:
        """The step before is done."""
        self._before += STEPS.get(self._name, 0.0)
        self._name = name
        self.share(0.0)

    def share(self, done: float) -> None:
        """So much of the present step is done."""
        if self._report is not None:
            self._report(min(self._before + done * STEPS[self._name], 1.0), self._name)

    def end(self) -> None:
        """All is done."""
        if self._report is not None:
            self._report(1.0, "Done")


def _checked(region: Rect, picture: Subject) -> Rect:
    """The region as far as it lies in the picture.

    Raises:
        UsageError: nothing of it does.
    """
    inside = Rect(
        max(region.top, 0), min(region.bottom, picture.height), max(region.left, 0), min(region.right, picture.width)
    )
    if inside.height <= 0 or inside.width <= 0:
        asked = f"{region.left},{region.top},{region.width},{region.height}"
        raise UsageError(
            f"nothing of {asked} lies in the picture, which is {picture.width}x{picture.height}",
            path=picture.path,
            remedy="Give --at as X,Y,WIDTH,HEIGHT in the picture's pixels.",
        )
    return inside


def _reduced(result: Pixels, pixels: Pixels) -> Pixels:
    """The result in the picture's own size, by the filter that made the training pictures small."""
    if result.shape == pixels.shape:
        return result
    image = Image.fromarray(result.squeeze(-1) if result.shape[2] == 1 else result)
    small = image.resize(pixels.shape[1::-1], Image.Resampling.BICUBIC)
    return np.asarray(small).reshape(pixels.shape)


def _patch(picture: Subject, reduced: Pixels, loss: NDArray[np.float32] | None, region: Rect | None) -> Rect:
    """The patch that was asked for, or else the most damaged and the most changed, in the window's pixels."""
    window, (height, width) = picture.window, picture.pixels.shape[:2]
    if region is None:
        # Where the patch has surroundings to see, if there is such a place.
        down, across = (MARGIN if side >= 3 * MARGIN else 0 for side in (height, width))
        place = Rect(down, height - down, across, width - across)
    else:
        top, left = max(region.top - window.top, 0), max(region.left - window.left, 0)
        place = Rect(top, min(region.bottom - window.top, height), left, min(region.right - window.left, width))
        if place.height <= LARGEST_PATCH and place.width <= LARGEST_PATCH:
            rows = _grown(place.top, place.bottom, height, SMALLEST_PATCH)
            columns = _grown(place.left, place.right, width, SMALLEST_PATCH)
            return Rect(*rows, *columns)
    change = (reduced.astype(np.float32) - picture.pixels).mean(-1) ** 2
    weight = np.sqrt(_means(change))
    phase = (0, 0)
    if loss is not None:
        phase = displayed_phase(picture)
        weight = weight * _means(spread(loss, picture))
    side_y, side_x = min(PATCH, height), min(PATCH, width)
    best, patch = -1.0, Rect(0, side_y, 0, side_x)
    for top in _starts(place.top, place.bottom, height, phase[0], side_y):
        for left in _starts(place.left, place.right, width, phase[1], side_x):
            if weight[top, left] > best:
                best, patch = float(weight[top, left]), Rect(top, top + side_y, left, left + side_x)
    return patch


def _starts(first: int, last: int, length: int, phase: int, side: int) -> list[int]:
    """Where a patch may start on the grid so that it lies in a stretch; if nowhere, its start."""
    low = first + (phase - first) % 8
    return list(range(low, last - side + 1, 8)) or [max(min(first, length - side), 0)]


def _means(plane: NDArray[Any]) -> NDArray[Any]:
    """(H, W) the mean over the patch that starts at each pixel, cut at the border."""
    height, width = plane.shape
    sums = np.zeros((height + PATCH, width + PATCH))
    sums[1 : height + 1, 1 : width + 1] = plane.cumsum(0, dtype=np.float64).cumsum(1)
    sums[height + 1 :] = sums[height]
    sums[:, width + 1 :] = sums[:, width : width + 1]
    bottom, right = sums[PATCH : PATCH + height], slice(PATCH, PATCH + width)
    patch = bottom[:, right] - sums[:height, right] - bottom[:, :width] + sums[:height, :width]
    means: NDArray[Any] = np.maximum(patch, 0) / PATCH**2
    return means


def spread(blocks: NDArray[np.float32], picture: Subject) -> NDArray[np.float32]:
    """A value for each stored block, (rows, columns), as one for each pixel of the window as displayed, (H, W)."""
    assert picture.stored is not None
    stored = picture.stored
    plane = blocks.repeat(8, 0).repeat(8, 1)
    rows = np.clip(np.arange(stored.height) - stored.phase[0], 0, len(plane) - 1)
    columns = np.clip(np.arange(stored.width) - stored.phase[1], 0, plane.shape[1] - 1)
    return consistency.displayed_view(plane[rows][:, columns][..., None], picture.orientation)[..., 0]


def _grown(start: int, stop: int, length: int, least: int) -> tuple[int, int]:
    """A stretch made at least so long, within a length."""
    if stop - start >= least:
        return start, stop
    start = min(max(start - (least - (stop - start)) // 2, 0), max(length - least, 0))
    return start, min(start + least, length)
