"""How good a model is on the held-out pictures: PSNR on a few fixed columns, cheap enough for every few minutes.

These figures choose checkpoints and are no result: patches, all three channels, no shaving. `evaluate.py` has
the field's protocol.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from liif_engine.lab.degrade import Compression, Plan
from liif_engine.lab.pairs import PairShape, Pool, pair_from

#: What the held-out pictures go through, by column.
COLUMNS: Mapping[str, Plan] = MappingProxyType(
    {
        **{
            f"x{scale} q{quality}": Plan(float(scale), passes=(Compression("jpeg", quality),))
            for scale in (1, 2)
            for quality in (10, 20, 40)
        },
        **{f"x{scale} clean": Plan(float(scale)) for scale in (2, 3, 4)},
    }
)

SHAPE = PairShape(patch=64, queries=2304)

#: Pairs answered at once; bounds the memory.
BATCH = 8

#: A model as validation sees it: pixels (N, 3, P, P), coord and cell (N, Q, 2) to RGB (N, Q, 3).
Answer = Callable[[Tensor, Tensor, Tensor], Tensor]


def validation_pairs(
    pool: Pool, pictures: int, shape: PairShape = SHAPE, plans: Mapping[str, Plan] = COLUMNS
) -> dict[str, NDArray[Any]]:
    """The fixed pairs of each column.

    Args:
        pool: the held-out pictures.
        pictures: at most so many are used, spread over the pool; one pair of each, from its middle.
        shape: sizes of a pair.
        plans: what the pictures go through, by column.

    Returns:
        For each column a (pictures,) array of ``shape.record``; empty where no picture is large enough.
    """
    chosen = sorted({round(index) for index in np.linspace(0, len(pool) - 1, min(pictures, len(pool)))})
    columns = {}
    for column, plan in plans.items():
        pairs = []
        for index in chosen:
            picture = pool[index]
            side = round(plan.scale * shape.canvas)
            top, left = ((length - side) // 2 for length in picture.shape[:2])
            if min(top, left) >= 0:
                middle = np.ascontiguousarray(picture[top : top + side, left : left + side])
                pairs.append(pair_from(middle, plan, shape, np.random.default_rng(index)))
        columns[column] = np.array(pairs, shape.record)
    return columns


def tensors(pairs: NDArray[Any], device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """A batch of pairs for the network.

    Args:
        pairs: (N,) array of ``PairShape.record``.
        device: where the tensors go; to CUDA from pinned memory, without waiting.

    Returns:
        pixels (N, 3, P, P) in [0, 1] and channels last, coord (N, Q, 2), cell (N, Q, 2), rgb (N, Q, 3) in
        [0, 1]; all fp32.
    """

    def move(name: str) -> Tensor:
        tensor = torch.from_numpy(np.ascontiguousarray(pairs[name]))
        return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.clone()

    pixels = move("pixels").permute(0, 3, 1, 2).float().div_(255)  # (N, 3, P, P)
    coord = move("coord")
    cell = move("cell").unsqueeze(1).expand_as(coord)
    return pixels, coord, cell, move("rgb").float().div_(255)


def validate(answer: Answer, columns: Mapping[str, NDArray[Any]], device: torch.device) -> dict[str, float]:
    """PSNR [dB] in RGB, the mean over the pictures, of each column and of all columns as "mean"."""
    scores = {}
    with torch.no_grad():
        for column, pairs in columns.items():
            per_picture = []
            for start in range(0, len(pairs), BATCH):
                pixels, coord, cell, rgb = tensors(pairs[start : start + BATCH], device)
                levels = answer(pixels, coord, cell).float().clamp(0, 1).mul(255).round() / 255
                error = (levels - rgb).square().mean((1, 2)).clamp_min(1e-6)  # no picture counts for more than 60 dB
                per_picture.append(-10 * error.log10())
            if per_picture:
                scores[column] = round(float(torch.cat(per_picture).mean()), 3)
    scores["mean"] = round(float(np.mean(list(scores.values()))), 3)
    return scores
