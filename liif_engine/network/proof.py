"""Whether the fused decoder is right on this GPU: seen before it is believed.

A fault of a compiler or a driver need not end in an error; it may as well end in wrong colours.
"""

from __future__ import annotations

import weakref

import torch

from liif_engine.network import kernels
from liif_engine.network.decode import Span, axis, decode
from liif_engine.network.kernels import FULL_SCALE, Launch
from liif_engine.network.model import EdsrLiif

#: The trial: noise of so many pixels a side, made so many times as large along an axis of which both sides are asked,
#: which leaves a layout's last program too few queries.
SIDE, SCALE = 21, 3

#: How far an answer may lie from `decode.py`'s in the same precision, and all of them on the average, as shares of full
#: scale. In Triton's interpreter the shipped models' answers in bf16 lie 0.004 and 0.001 apart; wrong sums lie far.
MOST, MEAN = 0.05, 0.005

#: What was proven in this process, by model.
_proven: weakref.WeakKeyDictionary[EdsrLiif, set[tuple[Launch, torch.dtype, tuple[int, int]]]] = (
    weakref.WeakKeyDictionary()
)


def prove(
    model: EdsrLiif, device: torch.device, launch: Launch, form: torch.dtype, sides: tuple[int, int] = (2, 2)
) -> None:
    """Decodes a little both ways, once a process for each way in which the kernel is compiled.

    Args:
        model: on the device, in the precision that is to be proven.
        device, launch, form: as for `kernels.decode`.
        sides: how many are asked down and across, see `decode.sides`.

    Raises:
        ArithmeticError: the answers differ by more than rounding.
    """
    proven = _proven.setdefault(model, set())
    if (launch, form, sides) in proven:
        return
    most, mean = _distances(model, device, launch, form, sides)
    if not (most <= MOST and mean <= MEAN):  # not so for not-a-numbers
        raise ArithmeticError(f"on this GPU its answers are wrong by {mean:.3f} on the average, {most:.3f} at the most")
    proven.add((launch, form, sides))


def _distances(
    model: EdsrLiif, device: torch.device, launch: Launch, form: torch.dtype, sides: tuple[int, int]
) -> tuple[float, float]:
    """The greatest distance and the mean one."""
    pixels = torch.rand(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0)).to(device)
    feature_map = model.encode(pixels.contiguous(memory_format=torch.channels_last))
    axes = [axis(SIDE, SIDE if asked == 1 else SCALE * SIDE) for asked in sides]
    rows, columns = (Span(along, 0, along.n_out, 0) for along in axes)
    strips = kernels.decode(model, feature_map, rows, columns, launch=launch, form=form)
    fused = torch.cat([strip.values for strip in strips])
    plain = torch.cat([strip.values for strip in decode(model, feature_map, rows, columns)]).cpu()
    full = FULL_SCALE[form]
    distance = (fused.cpu().float() / full - plain.clamp(0, 1) if full else fused.cpu() - plain).abs()
    return float(distance.max()), float(distance.mean())
