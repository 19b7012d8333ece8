"""Which decoder: the fused kernel where there is a GPU for it, `decode.py` everywhere else."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from types import ModuleType

import torch
from torch import Tensor

from liif_engine import memory
from liif_engine.network.decode import Strip, decode
from liif_engine.network.grid import Span
from liif_engine.network.model import EdsrLiif

log = logging.getLogger(__name__)

#: Generations of GPUs (the first part of NVIDIA's compute capability) with the matrix and copy units that the kernel is
#: laid out for, and the shared memory. For 8.x and 12.x Triton either fails on it, with pages of its own on stderr, or
#: wants more shared memory than they have.
GENERATIONS = {9, 10}


def strips(
    model: EdsrLiif,
    feature_map: Tensor,
    rows: Span,
    columns: Span,
    *,
    form: torch.dtype = torch.float32,
    finish: Callable[[Tensor], Tensor] | None = None,
) -> Iterator[Strip]:
    """Decodes a rectangle with the fastest decoder that can; arguments as for `decode.decode`.

    In fp32 `decode.py` is as fast as a GPU multiplies, so the kernel has nothing to gain there.

    Args:
        model, feature_map, rows, columns, finish: as for `decode.decode`.
        form: what the values are wanted as; only the kernel gives other than float32, so look at what comes.
    """
    start = rows.start
    kernels = _kernels(feature_map)
    # Where an output pixel asks one code, not two, the kernel is compiled into another program. An H200 got wrong
    # answers, other ones each time, and by all signs of that one (docs/speed.md).
    usual = rows.axis.sides == columns.axis.sides == 2
    if kernels is not None and usual and kernels.serves(model, feature_map.dtype):
        try:
            for strip in _fused(kernels, model, feature_map, rows, columns, form):
                yield strip if finish is None else replace(strip, values=finish(strip.values))
                start = strip.stop
            return
        except Exception as error:
            if memory.is_out_of_memory(error):
                raise
            _give_up(f"the fused decoder failed ({(str(error).splitlines() or [type(error).__name__])[0]})")
    yield from decode(model, feature_map, rows.cut(start, rows.stop), columns, finish=finish)


def _fused(
    kernels: ModuleType, model: EdsrLiif, feature_map: Tensor, rows: Span, columns: Span, form: torch.dtype
) -> Iterator[Strip]:
    from liif_engine.network import proof, tuning

    queries = (rows.stop - rows.start) * (columns.stop - columns.start)
    launch = tuning.launch_for(model, feature_map.dtype, feature_map.device, queries)
    proof.prove(model, feature_map.device, launch, form)
    result: Iterator[Strip] = kernels.decode(model, feature_map, rows, columns, launch=launch, form=form)
    return result


def _kernels(feature_map: Tensor) -> ModuleType | None:
    """The module of the fused decoder, if it is of use here."""
    if feature_map.device.type != "cuda" or feature_map.dtype == torch.float32 or _given_up:
        return None
    # AMD's GPUs are "cuda" too, and their numbers mean other things.
    if torch.version.hip or torch.cuda.get_device_capability(feature_map.device)[0] not in GENERATIONS:
        return None
    return _import()


@cache
def _import() -> ModuleType | None:
    try:
        from liif_engine.network import kernels
    except ImportError as error:
        _give_up(f"the fused decoder needs Triton ({error})")
        return None
    return kernels


_given_up: list[str] = []


def _give_up(reason: str) -> None:
    """Says, once a process, that `decode.py` does the work from now on."""
    if not _given_up:
        log.warning("%s: going on with the one of separate steps, which is slower", reason)
    _given_up.append(reason)
