"""One query of the decoder, laid open: the four latent codes it asks, what each answers, and how much each weighs."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from liif_engine.lab.field import Field
from liif_engine.network.model import COORD_EPSILON, DISTANCE_EPSILON, ENSEMBLE, EdsrLiif


@dataclass(frozen=True)
class Answer:
    """What one latent code says.

    Attributes:
        row, column: the code's input pixel, in the field's window.
        relative: (y, x) from the code to the query, in input pixels.
        weight: its part in the mixture, 0-1.
        colour: (R, G, B) around [0, 1].
    """

    row: int
    column: int
    relative: tuple[float, float]
    weight: float
    colour: tuple[float, float, float]


@dataclass(frozen=True)
class Query:
    """One output pixel.

    Attributes:
        y, x: its centre in the field's window, in input pixels from the upper left corner.
        answers: of the four codes, which may coincide at the picture's border.
        mixed: the colour that the answers make.
    """

    y: float
    x: float
    answers: tuple[Answer, ...]
    mixed: tuple[float, float, float]


@torch.inference_mode()
def query(field: Field, row: int, column: int) -> Query:
    """The query of one output pixel of a field's patch.

    Args:
        field: the patch.
        row, column: in the patch's output.
    """
    at = row * field.output.width + column
    coord, cell = field.coord[:, at : at + 1], field.cell[:, at : at + 1]
    feature_map = field.model.encode(field.pixels)
    size = coord.new_tensor(feature_map.shape[-2:])
    found = []
    for step in ENSEMBLE:
        code, relative = _nearest(coord, size, step)
        colour = ask(field.model, feature_map, coord, cell, step)[0] * 0.5 + 0.5
        found.append((code[0, 0].tolist(), relative[0, 0], colour))
    distances = [relative.abs() + DISTANCE_EPSILON for _, relative, _ in found]
    weights = [float((far / (near + far)).prod()) for near, far in zip(distances, reversed(distances), strict=True)]
    answers = tuple(
        Answer(code[0], code[1], (float(relative[0]) / 2, float(relative[1]) / 2), weight, _rgb(colour))
        for (code, relative, colour), weight in zip(found, weights, strict=True)
    )
    mixed = torch.stack([colour * weight for (_, _, colour), weight in zip(found, weights, strict=True)]).sum(0)
    y, x = ((coord[0, 0] + 1) * size / 2).tolist()
    return Query(y, x, answers, _rgb(mixed))


def ask(model: EdsrLiif, feature_map: Tensor, coord: Tensor, cell: Tensor, step: tuple[int, int] = (0, 0)) -> Tensor:
    """What the latent codes nearest to queries, after a step of half a code, answer; not mixed.

    Args:
        model, feature_map, coord, cell: as for `EdsrLiif.decode`, of one picture.
        step: (y, x), each -1, 0 or 1.

    Returns:
        (Q, 3), around [-1, 1].
    """
    kernel, bias, coord_columns, cell_columns = model.first_layer()
    grid = F.conv2d(feature_map, kernel, bias, padding=1)[0].permute(1, 2, 0)  # (h, w, K)
    size = coord.new_tensor(feature_map.shape[-2:])
    nearest, relative = _nearest(coord, size, step)
    hidden = grid[nearest[0, :, 0], nearest[0, :, 1]]  # (Q, K)
    hidden = hidden + F.linear(relative[0].float(), coord_columns) + F.linear((cell * size)[0].float(), cell_columns)
    for linear in model.imnet.linears[1:]:
        hidden = linear(F.relu(hidden))
    return hidden


def _nearest(coord: Tensor, size: Tensor, step: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """(1, Q, 2) int64 codes, and the way from each to its query in the decoder's units, half an input pixel."""
    shifted = coord + coord.new_tensor(step) / size + COORD_EPSILON
    shifted = shifted.clamp(-1 + COORD_EPSILON, 1 - COORD_EPSILON)
    nearest = ((shifted + 1) * size / 2).floor().long()
    return nearest, (coord - ((2 * nearest + 1) / size - 1)) * size


def _rgb(colour: Tensor) -> tuple[float, float, float]:
    red, green, blue = colour.tolist()
    return red, green, blue
