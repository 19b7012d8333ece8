"""A candidate for the encoder on a GPU: the sum that runs past the blocks is taken in one pass over memory.

A block ends with a convolution whose answers are added to an fp32 sum, of which the next block reads a copy in half
precision. As separate operations that is three passes: bias, sum, copy. Here it is one Triton kernel, which reads
what the convolution wrote and the sum, and writes the sum and its copy: 12 bytes an element in place of 20, and three
launches a block in place of five. `bench/gpu.py` says what it brings; the engine does not use it, no GPU has run it.
"""

from __future__ import annotations

if __name__ == "__main__":
    raise SystemExit("a module for bench/gpu.py, no command: run `python -m bench.gpu --out FOLDER` on a GPU's machine")

from typing import cast

import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from torch import Tensor, nn

from liif_engine.network import model as network
from liif_engine.network.model import EdsrLiif, ResidualBlock

#: Pixels of a program.
PIXELS = 64


@triton.jit
def _sum(deep, bias, before, after, copy, pixels, C: tl.constexpr, PIXELS: tl.constexpr):
    """after = before + deep + bias, and a copy of it in another dtype; (pixels, C) each, C a power of two."""
    pixel, channel = tl.program_id(0).to(tl.int64) * PIXELS + tl.arange(0, PIXELS), tl.arange(0, C)
    at, inside = pixel[:, None] * C + channel[None, :], (pixel < pixels)[:, None]
    value = tl.load(before + at, inside) + tl.load(bias + channel).to(tl.float32)[None, :]
    value += tl.load(deep + at, inside).to(tl.float32)
    tl.store(after + at, value, inside)
    tl.store(copy + at, value.to(copy.dtype.element_ty), inside)


def encode(model: EdsrLiif, pixels: Tensor) -> Tensor:
    """As `EdsrLiif.encode` of a reduced model, channels last, without gradients."""
    encoder = model.encoder
    *blocks, last = encoder.body
    dtype = last.weight.dtype
    shallow = encoder.head((pixels - 0.5) / 0.5).contiguous(memory_format=torch.channels_last)
    total, given = shallow, shallow.to(dtype)
    for block in blocks:
        first, second = (cast(nn.Conv2d, cast(ResidualBlock, block).body[at]) for at in (0, 2))
        if network._has_fused_relu(first, given):
            inside = network._convolved_relu(first, given)
        else:
            inside = F.relu(first(given))
        deep = F.conv2d(inside, second.weight, None, padding=1)
        total, given = _summed(deep, cast(Tensor, second.bias), total, in_place=total is not shallow)
    return cast(Tensor, (last(given) + shallow).to(dtype))


def _summed(deep: Tensor, bias: Tensor, before: Tensor, *, in_place: bool) -> tuple[Tensor, Tensor]:
    """The sum with a block's answers, (1, C, H, W) fp32 and in the dtype of `deep`."""
    deep = deep.contiguous(memory_format=torch.channels_last)
    after, copy = before if in_place else torch.empty_like(before), torch.empty_like(deep)
    channels = deep.shape[1]
    pixels = deep.numel() // channels
    _sum[(triton.cdiv(pixels, PIXELS),)](deep, bias, before, after, copy, pixels, C=channels, PIXELS=PIXELS)
    return after, copy
