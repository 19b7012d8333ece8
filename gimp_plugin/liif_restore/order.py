"""What was asked for, and how large the result is then."""

from __future__ import annotations

import os
from dataclasses import dataclass

#: What a result may have along one side; GIMP's own limit. [pixels]
MAX_SIDE = 524_288


class Refusal(Exception):  # noqa: N818 - not a fault: a reason
    """The image or the options do not allow it; the message says what to do."""


@dataclass(frozen=True)
class Order:
    """What was asked for; the arguments of the PDB procedure.

    Attributes:
        scale: output per input pixel, at least 1; used where neither width nor height is given.
        width, height: of the result in pixels; 0 for "as the other one says".
        only_artifacts: keep the size, and change only what is selected.
        model: ``auto``, a shipped name, or the path of a checkpoint; nothing for the engine's own.
        device: that the engine must work on: auto, cpu, cuda or mps.
        result: ``image``, ``layer`` or ``new-image``.
        layers: ``every``, ``chosen`` or ``merged``.
    """

    scale: float = 2.0
    width: int = 0
    height: int = 0
    only_artifacts: bool = False
    model: str = "auto"
    device: str = "auto"
    result: str = "image"
    layers: str = "every"

    def size(self, width: int, height: int) -> tuple[int, int]:
        """(width, height) of the result of an image of that size."""
        if self.only_artifacts:
            return width, height
        across = self.width / width if self.width else None
        down = self.height / height if self.height else None
        found = (
            self.width or rounded(width * (down or self.scale)),
            self.height or rounded(height * (across or self.scale)),
        )
        if found[0] < width or found[1] < height:
            raise Refusal(
                f"{found[0]}x{found[1]} pixels is smaller than the image, {width}x{height}: "
                "ask for a larger size, or use Image > Scale Image"
            )
        if max(found) > MAX_SIDE:
            raise Refusal(f"{found[0]}x{found[1]} pixels is more than GIMP can hold: ask for a smaller size")
        return found

    def scaled(self, point: tuple[int, int], width: int, height: int) -> tuple[int, int]:
        """Where a point of an image of that size lies in the result, rounded as GIMP rounds: so layers stay aligned."""
        after = self.size(width, height)
        return rounded(point[0] * after[0] / width), rounded(point[1] * after[1] / height)

    def outcome(self, width: int, height: int, *, has_selection: bool, has_palette: bool) -> str:
        """What an image of that size will become, in words for people."""
        wide, high = self.size(width, height)
        if (wide, high) == (width, height):
            words = f"The size stays; {'the selection' if has_selection else 'the image'} is restored."
        elif self.result == "layer":
            words = f"The image stays {width} × {height}; the new layer is as large as in one of {wide} × {high} pixels"  # noqa: RUF001
            words += ": Image > Fit Canvas to Layers shows all of it."
        else:
            words = f"{width} × {height} becomes {wide} × {high} pixels."  # noqa: RUF001
        if has_palette:
            rgb = "the new image is" if self.result == "new-image" else "it becomes"
            words += f" The image has a palette, which cannot hold the result: {rgb} RGB."
        return words

    def engine_options(self) -> dict:
        """What the engine is told beyond the pixels and the size."""
        # The engine takes no `~`. Without a model it takes its own, the one that its settings name.
        return {"priority": "person", "model": os.path.expanduser(self.model) or None}  # noqa: PTH111 - may be a name


def rounded(value: float) -> int:
    """To the nearest, halves up, as GIMP and the engine do."""
    return int(value + 0.5) if value >= 0 else -int(0.5 - value)
