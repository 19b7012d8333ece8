"""What a folder's restoration is asked for, and which results may come of it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

from liif_engine.model_names import AUTO, makers
from liif_engine.picture.image_file import Marker
from liif_engine.target import Target


@dataclass(frozen=True)
class Order:
    """What is to be done.

    Attributes:
        source: the folder of the originals; nothing in it is written to.
        destination: the folder of the results; made if need be.
        target: how large each result is to be.
        model, precision: as `Engine` takes them.
        quality: of lossy results.
        overwrite: whether a file that has a result's name and is none of ours may be replaced.
        allow_truncated: whether to restore what is there of pictures that end early.
        consistent: whether results are moved into their JPEGs' own quantisation intervals; at scale 1 only.
        max_pixels: larger sources are refused.
        again: whether results of ours that lie among the originals are restored too.
    """

    source: Path
    destination: Path
    target: Target
    model: str = AUTO
    precision: str = "auto"
    quality: int = 95
    overwrite: bool = False
    allow_truncated: bool = False
    consistent: bool = False
    max_pixels: int | None = None
    again: bool = False

    @cached_property
    def settings(self) -> str:
        """What two results must share to be the same."""
        asked = {key: value for key, value in asdict(self.target).items() if value is not None}
        how = {"model": self.model, "precision": self.precision, "quality": self.quality}
        return json.dumps({**asked, **how, **({"consistent": True} if self.consistent else {})})

    def may_have_made(self, marker: Marker) -> bool:
        """Whether a result with this marker was made with these settings, its size aside.

        What an older version's marker does not say counts as the same.
        """
        precisions = {"fp32", "bf16", ""} if self.precision == "auto" else {self.precision, ""}
        return (
            marker.model in makers(self.model)
            and marker.precision in precisions
            and marker.quality in {None, self.quality}
            and marker.consistent in {None, self.consistent}
        )
