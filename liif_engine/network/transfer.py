"""Pixels on their way to a GPU, and strips from it: each is copied to pinned memory while the next one computes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache

import torch
from torch import Tensor

from liif_engine.network.decode import Strip
from liif_engine.network.waits import waiting


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor of the CPU's on a device; nobody waits for the copy, which follows what the device has to do already."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def to_host(strips: Iterator[Strip]) -> Iterator[Strip]:
    """The same strips with their tensors in the CPU's memory, where a CPU's own are left as they are.

    One strip is launched ahead, so two are in memory at a time.
    """
    ahead: _Copy | None = None
    for strip in strips:
        if strip.values.device.type != "cuda":
            yield replace(strip, values=strip.values.cpu(), extent=strip.extent.cpu())
            continue
        copy = _Copy(strip)
        if ahead is not None:
            yield ahead.finished()
        ahead = copy
    if ahead is not None:
        yield ahead.finished()


class _Copy:
    """A copy under way, on a stream of its own."""

    def __init__(self, strip: Strip) -> None:
        self.strip = strip
        stream = _stream(strip.values.device)
        stream.wait_stream(torch.cuda.current_stream(strip.values.device))
        with torch.cuda.stream(stream):
            self.values, self.extent = _pinned(strip.values), _pinned(strip.extent)
            self.done = torch.cuda.Event()
            self.done.record(stream)
        for tensor in (strip.values, strip.extent):
            tensor.record_stream(stream)  # not to be used anew before it is copied

    def finished(self) -> Strip:
        """The copy, when it is whole."""
        with waiting():
            self.done.synchronize()
        return replace(self.strip, values=self.values, extent=self.extent)


def _pinned(tensor: Tensor) -> Tensor:
    # torch keeps pinned memory for the next strip; to ask the system for it each time would cost more than the copy.
    return torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True).copy_(tensor, non_blocking=True)


@cache
def _stream(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)
