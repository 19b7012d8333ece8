"""The encoder as CUDA graphs: a small window costs a GPU less time than its hundred kernel launches cost the CPU."""

from __future__ import annotations

import logging
import weakref
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from liif_engine import memory
from liif_engine.network.model import EdsrLiif

log = logging.getLogger(__name__)

#: Shapes whose graphs are kept; each holds the memory of a window's encoding.
KEPT_GRAPHS = 8

#: Pixels of the largest window worth a graph; a larger one keeps the GPU busy longer than the CPU takes to launch it.
LARGEST_WINDOW = 512 * 512

#: Shapes that are counted; when there are more, counting starts anew.
COUNTED_SHAPES = 1000

#: A graph is captured when a shape comes for this time; a folder of pictures of many sizes captures nothing.
CAPTURED_AT = 2

#: Encodes a window of one shape; a later call overwrites an earlier one's result.
Replay = Callable[[Tensor], Tensor]

#: All of this process: what one of them holds, another model's work may be short of.
_all: weakref.WeakSet[GraphedEncoder] = weakref.WeakSet()


def clear_all() -> None:
    """Gives the memory of every model's graphs back."""
    for encoder in list(_all):
        encoder.clear()


class GraphedEncoder:
    """`EdsrLiif.encode` for a GPU, replayed from graphs for windows that are small and come again.

    A graph runs the kernels that its capture recorded: those of the call without a graph for the same shape, so a
    picture gets the same bytes either way.

    Args:
        network: the model.
        capture: makes a replay for a window; tests put a stand-in here.
    """

    def __init__(self, network: EdsrLiif, capture: Callable[[EdsrLiif, Tensor], Replay] | None = None) -> None:
        self.network = network
        self._capture = capture or _capture
        self._seen: Counter[tuple[int, ...]] = Counter()
        self._replays: OrderedDict[tuple[int, ...], Replay] = OrderedDict()
        self._usable = True
        _all.add(self)

    def __call__(self, pixels: Tensor, on_layer: Callable[[], None]) -> Tensor:
        """As `EdsrLiif.encode`."""
        replay = self._replay(pixels)
        if replay is None:
            return self.network.encode(pixels, on_layer)
        # Of its own: urgent work, which is done amid this one while it reports, may replay the same graph.
        feature_map = replay(pixels).clone()
        for _ in range(self.network.blocks + 1):
            on_layer()
        return feature_map

    def clear(self) -> None:
        """Gives the graphs' memory back."""
        self._replays.clear()
        self._seen.clear()

    def _replay(self, pixels: Tensor) -> Replay | None:
        shape = tuple(pixels.shape)
        if not self._usable or shape[-1] * shape[-2] > LARGEST_WINDOW:
            return None
        if shape not in self._replays:
            if len(self._seen) > COUNTED_SHAPES:
                self._seen.clear()
            self._seen[shape] += 1
            if self._seen[shape] < CAPTURED_AT:
                return None
            try:
                self._replays[shape] = self._capture(self.network, pixels)
            except Exception as error:
                if memory.is_out_of_memory(error):
                    self.clear()
                    raise
                self._usable = False
                self.clear()
                log.warning("the encoder cannot be captured as a CUDA graph (%s): going on without", error)
                return None
        self._replays.move_to_end(shape)
        while len(self._replays) > KEPT_GRAPHS:
            self._replays.popitem(last=False)
        return self._replays[shape]


def _capture(network: EdsrLiif, pixels: Tensor) -> Replay:
    """Records the encoding of windows of this shape."""
    with torch.cuda.device_of(pixels):
        window = pixels.clone(memory_format=torch.channels_last)
        # On a stream of its own: libraries set themselves up at their first call, which a graph must not record.
        stream, own = torch.cuda.Stream(pixels.device), torch.cuda.current_stream(pixels.device)
        stream.wait_stream(own)
        with torch.cuda.stream(stream):
            network.encode(window)
        own.wait_stream(stream)
        graph: Any = torch.cuda.CUDAGraph()
        try:
            # Other threads of this process, such as a reader of the next file, may pin memory meanwhile.
            with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
                feature_map = network.encode(window)
        finally:
            torch.cuda.set_stream(own)  # a capture that fails as it ends leaves the thread on its stream

    def replay(given: Tensor) -> Tensor:
        window.copy_(given)
        graph.replay()
        return feature_map

    return replay
