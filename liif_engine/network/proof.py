"""Whether the fused decoder is right on this GPU: seen before it is believed.

A fault of a compiler or a driver need not end in an error; it may as well end in wrong colours.
"""

from __future__ import annotations

import weakref

import torch

from liif_engine.network import kernels
from liif_engine.network.decode import decode
from liif_engine.network.grid import Span, axis
from liif_engine.network.kernels import FULL_SCALE, Launch
from liif_engine.network.model import EdsrLiif

#: The trial: noise of so many pixels a side, made so many times as large. That is more programs than any GPU has
#: processors, some of which share one, and too few queries for the last program; as often, since a fault in a barrier
#: need not show each time.
SIDE, SCALE, RUNS = 71, 3, 3

#: How far an answer may lie from `decode.py`'s in the same precision, and all of them on the average, as shares of full
#: scale. In Triton's interpreter the shipped models' answers in bf16 lie 0.004 and 0.001 apart; wrong sums lie far.
MOST, MEAN = 0.05, 0.005

#: What was proven in this process, by model.
_proven: weakref.WeakKeyDictionary[EdsrLiif, set[tuple[Launch, torch.dtype]]] = weakref.WeakKeyDictionary()


def prove(model: EdsrLiif, device: torch.device, launch: Launch, form: torch.dtype) -> None:
    """Decodes a little both ways, once a process for each way in which the kernel is compiled.

    Args:
        model: on the device, in the precision that is to be proven.
        device, launch, form: as for `kernels.decode`.

    Raises:
        ArithmeticError: the answers differ by more than rounding, or from one run to the next.
    """
    proven = _proven.setdefault(model, set())
    if (launch, form) in proven:
        return
    most, mean = _distances(model, device, launch, form)
    if not (most <= MOST and mean <= MEAN):  # not so for not-a-numbers
        raise ArithmeticError(f"on this GPU its answers are wrong by {mean:.3f} on the average, {most:.3f} at the most")
    proven.add((launch, form))


def _distances(model: EdsrLiif, device: torch.device, launch: Launch, form: torch.dtype) -> tuple[float, float]:
    """The greatest distance and the mean one.

    Raises:
        ArithmeticError: one run's answers are not the last one's.
    """
    pixels = torch.rand(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0)).to(device)
    feature_map = model.encode(pixels.contiguous(memory_format=torch.channels_last))
    span = Span(axis(SIDE, SCALE * SIDE), 0, SCALE * SIDE, 0)
    runs = []
    for _ in range(RUNS):
        strips = kernels.decode(model, feature_map, span, span, launch=launch, form=form)
        runs.append(torch.cat([strip.values for strip in strips]))
    fused = runs[-1]
    if not all(torch.equal(run.view(torch.uint8), fused.view(torch.uint8)) for run in runs):
        raise ArithmeticError("on this GPU its answers are not the same each time")
    plain = torch.cat([strip.values for strip in decode(model, feature_map, span, span)]).cpu()
    full = FULL_SCALE[form]
    distance = (fused.cpu().float() / full - plain.clamp(0, 1) if full else fused.cpu() - plain).abs()
    return float(distance.max()), float(distance.mean())
