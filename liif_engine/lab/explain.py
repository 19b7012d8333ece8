"""What compression did to one picture, and from which clues the network rebuilt it: the story, start reading here.

``explain("old.jpg").html()`` is the report that ``liif explain`` writes, ``.as_dict()`` the same for programs.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from operator import index
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from liif_engine.errors import LiifError, UsageError
from liif_engine.lab import ablation, attribution, patch, subject
from liif_engine.lab.ablation import Contributions
from liif_engine.lab.attribution import Attribution, Check
from liif_engine.lab.blocks import blocks_of
from liif_engine.lab.field import Field, one_thread
from liif_engine.lab.subject import Subject
from liif_engine.model_names import plain
from liif_engine.picture import consistency
from liif_engine.picture.consistency import Agreement
from liif_engine.picture.image_file import Limits
from liif_engine.picture.loss import expected_loss
from liif_engine.picture.tiles import Rect
from liif_engine.plan import NO_INTERVALS, NOT_ITS_SIZE
from liif_engine.restore import Engine
from liif_engine.target import Target

log = logging.getLogger(__name__)

Pixels = NDArray[np.uint8]

#: Called with the share of the work done, 0 to 1, and what is being done; what it raises ends the work.
OnProgress = Callable[[float, str], None]

#: The largest scale: beyond it even the smallest patch has more answers than can be asked for in a minute or two.
MOST_SCALE = patch.MOST_ANSWERS**0.5 / patch.SMALLEST_PATCH

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
        scale: output per input pixel, 1 to 16.
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
        if scale > MOST_SCALE:
            remedy = f"Use --scale {MOST_SCALE:g} or less; what compression destroyed is the same at every scale."
            raise UsageError(f"a scale of {scale:g} is too large to explain", remedy=remedy)
        region = None if at is None else _asked(at)
        picture = subject.read(path, scale=scale, region=region, limits=limits)
        region = None if region is None else _checked(region, picture)
        if consistent:
            check_consistent(picture, scale)

        steps.begin("Restoring the picture")
        chosen = (Engine(engine) if isinstance(engine, str) else engine).for_picture(picture.pixels, path)
        if (one := plain(chosen.model_name)) != chosen.model_name:
            words = "%s: restored by %s, which mixes eight answers; explained by %s alone, which gave one of them"
            log.warning(words, path, chosen.model_name, one)
        result = chosen.restore(picture.pixels, scale=scale, on_progress=steps.share)
        if consistent and picture.stored is not None:
            result = consistency.project(picture.stored, result)
        reduced = _reduced(result, picture.pixels)
        loss = None if picture.stored is None else expected_loss(picture.stored.luma)
        place = patch.choose(picture, reduced, loss, region, largest=patch.largest_side(scale))
    except LiifError as error:
        raise error.at(path) from error.__cause__

    field = Field(chosen.network.requires_grad_(False), picture.pixels, place, result.shape[1::-1])
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
        picture, chosen.model_name, chosen.precision_for(8), scale, consistent, region, place, result, reduced, loss,
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


def _asked(at: Any) -> Rect:
    """A place as (x, y, width, height).

    Raises:
        UsageError: it is something else.
    """
    try:
        x, y, width, height = map(index, at)
    except (TypeError, ValueError) as error:
        raise UsageError(f"a place is (x, y, width, height) in whole pixels, not {at!r}") from error
    return Rect(y, y + height, x, x + width)


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
