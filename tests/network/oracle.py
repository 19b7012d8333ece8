"""The formula of the LIIF paper (arXiv 2012.09161, section 3), written query by query, in float64, with no shortcut.

In one place it is not the paper's. Where a query lies on a code from which half a code leads over the picture's border,
as at a scale of 1 in the last row and column, all four areas are zero, and the published implementation takes the plain
mean: half of it a neighbour's. Here, along the axis on which both codes are the same, they share as they like, and the
other axis decides.

Nothing here is shared with the engine but the checkpoint's tensors, so that an error there cannot hide here.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

SMALL = 1e-6


def feature_map(tensors: dict[str, Tensor], pixels: Tensor) -> Tensor:
    """The encoder of the checkpoint's tensors: (3, H, W) in [0, 1] to (C, H, W), float64."""

    def convolution(x: Tensor, key: str) -> Tensor:
        return torch.nn.functional.conv2d(
            x, tensors[f"{key}.weight"].double(), tensors[f"{key}.bias"].double(), padding=1
        )

    shallow = convolution(((pixels.double() - 0.5) / 0.5)[None], "encoder.head.0")
    deep, block = shallow, 0
    while f"encoder.body.{block}.body.0.weight" in tensors:
        inside = convolution(deep, f"encoder.body.{block}.body.0").clamp(min=0)
        deep = deep + convolution(inside, f"encoder.body.{block}.body.2")
        block += 1
    return (convolution(deep, f"encoder.body.{block}") + shallow)[0]


def colour(tensors: dict[str, Tensor], features: Tensor, row: int, column: int, out: tuple[int, int]) -> list[float]:
    """The RGB answer to one query, the centre of an output pixel, around [0, 1]."""
    _, height, width = features.shape
    y, x = (2 * row + 1) / out[0] - 1, (2 * column + 1) / out[1] - 1
    cell = (2 / out[0] * height, 2 / out[1] * width)
    answers, areas, codes, distances = [], [], [], []
    for step_y in (-1, 1):
        for step_x in (-1, 1):
            code_row, centre_y = _nearest(y + step_y / height + SMALL, height)
            code_column, centre_x = _nearest(x + step_x / width + SMALL, width)
            relative = ((y - centre_y) * height, (x - centre_x) * width)
            code = _unfolded(features, code_row, code_column)
            answers.append(_mlp(tensors, [*code, *relative, *cell]))
            areas.append(abs(relative[0] * relative[1]) + 1e-9)
            codes.append((code_row, code_column))
            distances.append((abs(relative[0]), abs(relative[1])))
    if max(areas) < SMALL:
        one_row, one_column = (len({code[along] for code in codes}) == 1 for along in (0, 1))
        areas = [(1 if one_row else down) * (1 if one_column else across) for down, across in distances]
    opposite = areas[::-1]  # of the corner across: (-, -) and (+, +) change places, and so do the other two
    mixed = sum(answer * area for answer, area in zip(answers, opposite, strict=True)) / sum(areas)
    return [float(value) for value in mixed * 0.5 + 0.5]


def _nearest(coord: float, count: int) -> tuple[int, float]:
    coord = min(max(coord, -1 + SMALL), 1 - SMALL)
    index = math.floor((coord + 1) * count / 2)
    return index, (2 * index + 1) / count - 1


def _unfolded(features: Tensor, row: int, column: int) -> list[float]:
    """The 3x3 codes around one, channel by channel, zeros beyond the border."""
    channels, height, width = features.shape
    values = []
    for channel in range(channels):
        for y in (row - 1, row, row + 1):
            for x in (column - 1, column, column + 1):
                inside = 0 <= y < height and 0 <= x < width
                values.append(float(features[channel, y, x]) if inside else 0.0)
    return values


def _mlp(tensors: dict[str, Tensor], values: list[float]) -> np.ndarray:
    hidden = np.array(values)
    layer = 0
    while f"imnet.layers.{layer}.weight" in tensors:
        if layer:
            hidden = np.maximum(hidden, 0)
        hidden = tensors[f"imnet.layers.{layer}.weight"].double().numpy() @ hidden
        hidden = hidden + tensors[f"imnet.layers.{layer}.bias"].double().numpy()
        layer += 2
    return hidden
