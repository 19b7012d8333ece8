"""What each part of the way gives to a patch: it is taken away, and the change of the patch is measured.

A change says how much the trained network leans on a part, not what a network trained without it could do, and not
whether the part made the picture better: nobody knows the true pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from liif_engine.lab.field import Field, rms
from liif_engine.lab.query import ask
from liif_engine.network import checkpoint
from liif_engine.network.model import EdsrLiif
from liif_engine.picture.tiles import Rect

#: Pixels of surroundings that are left to the network, in turn.
REACHES = (0, 2, 4, 8, 16, 24)

OnStep = Callable[[float], None]


@dataclass(frozen=True)
class Contribution:
    """One part taken away.

    Attributes:
        name: "feature_unfolding", "local_ensemble", "beyond_block" or "encoder_body".
        change: of the patch [grey levels, root mean square over pixels and colours].
        patch: (rows, columns, 3) what the patch would be without the part, [0, 1].
    """

    name: str
    change: float
    patch: Tensor


@dataclass(frozen=True)
class Contributions:
    """All parts, and two curves.

    Attributes:
        parts: taken away one at a time.
        by_depth: (residual blocks kept, change) from none to all.
        by_reach: (pixels of surroundings kept, change) from none to all.
        restoring: what the whole network changes of the patch against simple interpolation [grey levels], to compare.
    """

    parts: tuple[Contribution, ...]
    by_depth: tuple[tuple[int, float], ...]
    by_reach: tuple[tuple[int, float], ...]
    restoring: float


@torch.inference_mode()
def contributions(field: Field, blocks: Rect, *, on_step: OnStep | None = None) -> Contributions:
    """Takes one part after the other away.

    Args:
        field: the patch.
        blocks: the whole JPEG blocks that hold the patch, in the window's pixels.
        on_step: called with the share done.
    """
    depths = sorted({round(field.model.blocks * part / 4) for part in range(5)})
    reaches = [reach for reach in REACHES if reach <= field.model.halo]
    total, done = 4 + len(depths) + len(reaches), 0

    def step(patch: Tensor) -> Tensor:
        nonlocal done
        done += 1
        if on_step is not None:
            on_step(min(done / total, 1.0))
        return patch

    whole = step(field.answer())
    taken = {
        "beyond_block": step(field.answer(field.outside(0, blocks))),
        "feature_unfolding": step(field.answer(model=without_unfolding(field.model))),
        "local_ensemble": step(nearest_alone(field)),
        "encoder_body": step(field.answer(model=shallower(field.model, 0))),
    }
    parts = [Contribution(name, rms(patch - whole), patch) for name, patch in taken.items()]
    by_depth = [(depth, rms(step(field.answer(model=shallower(field.model, depth))) - whole)) for depth in depths]
    by_reach = [(reach, rms(step(field.answer(field.outside(reach))) - whole)) for reach in reaches]
    restoring = rms(interpolated(field) - whole)
    return Contributions(tuple(parts), tuple(by_depth), tuple(by_reach), restoring)


def without_unfolding(model: EdsrLiif) -> EdsrLiif:
    """The model whose decoder takes each latent code for all of its eight neighbours too: LIIF's feature unfolding."""
    changed = checkpoint.copy_of(model).requires_grad_(False)
    first = changed.imnet.linears[0]
    taps = first.weight[:, : 9 * model.channels].view(-1, model.channels, 9)
    total = taps.sum(-1)
    taps.zero_()
    taps[..., 4] = total
    return changed.eval()


def shallower(model: EdsrLiif, blocks: int) -> EdsrLiif:
    """The model with its first residual blocks only; the others pass on what they get."""
    changed = checkpoint.copy_of(model).requires_grad_(False)
    layers = list(changed.encoder.body)
    changed.encoder.body = nn.Sequential(*layers[:blocks], layers[-1])
    return changed.eval()


def nearest_alone(field: Field) -> Tensor:
    """The patch when each query asks its nearest latent code only, and mixes nothing: without LIIF's local ensemble."""
    return field.shape(ask(field.model, field.model.encode(field.pixels), field.coord, field.cell)[None] * 0.5 + 0.5)


def interpolated(field: Field) -> Tensor:
    """The patch by bicubic interpolation of the file's pixels, (rows, columns, 3)."""
    grid = field.coord.flip(-1).float().view(1, field.output.height, field.output.width, 2)
    sampled = F.grid_sample(field.pixels, grid, mode="bicubic", padding_mode="border", align_corners=False)
    return sampled[0].permute(1, 2, 0).clamp(0, 1)
