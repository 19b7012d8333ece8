"""A smaller network that begins as part of a larger one, so that a distillation need not find everything anew."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from liif_engine.errors import ModelError
from liif_engine.network.model import EdsrLiif


@torch.no_grad()
def inherit(student: EdsrLiif, parent: EdsrLiif, blocks: Sequence[int] = ()) -> None:
    """Gives `student` what fits it of `parent`, in place; the rest stays as it is.

    The encoder's first and last convolution are taken whole, and of its residual blocks as many as the student has:
    each adds a little to the same sum, so the others still make sense when one is left out. Of the decoder's first
    layer the student takes the units that weigh most, by the norms of what goes in and what comes out.

    Args:
        student: no more blocks, and no wider a first decoder layer, than the parent.
        parent: with the same number of channels.
        blocks: numbers of the parent's blocks to take, from 0; spread evenly by default.

    Raises:
        ModelError: the networks do not fit.
    """
    if student.channels != parent.channels or student.blocks > parent.blocks or student.hidden[0] > parent.hidden[0]:
        raise ModelError(
            f"a network of {student.channels} channels, {student.blocks} blocks and {student.hidden[0]} first units"
            f" is no part of one of {parent.channels}, {parent.blocks} and {parent.hidden[0]}"
        )
    places = tuple(blocks) or tuple(np.linspace(0, parent.blocks - 1, student.blocks).round().astype(int))
    if len(places) != student.blocks or not all(0 <= place < parent.blocks for place in places):
        raise ModelError(f"{student.blocks} blocks cannot be blocks {places} of {parent.blocks}")
    student.encoder.head.load_state_dict(parent.encoder.head.state_dict())
    for own, place in zip(student.encoder.body, (*places, -1), strict=True):
        own.load_state_dict(parent.encoder.body[place].state_dict())

    first, second = parent.imnet.linears[:2]
    chosen = _heaviest(first.weight, second.weight, student.hidden[0])
    student.imnet.linears[0].weight.copy_(first.weight[chosen])
    student.imnet.linears[0].bias.copy_(first.bias[chosen])


def _heaviest(before: Tensor, after: Tensor, count: int) -> Tensor:
    """Indices of the `count` hidden units that weigh most, in rising order."""
    weight = before.norm(dim=1) * after.norm(dim=0)
    indices: Tensor = weight.topk(count).indices
    return indices.sort().values
