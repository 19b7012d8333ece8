"""The encoder as CUDA graphs: a small window costs a GPU less time than its hundred kernel launches cost the CPU."""

from __future__ import annotations

import logging
import weakref
from collections import Counter, OrderedDict
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor

from liif_engine import memory
from liif_engine.network.model import EdsrLiif

log = logging.getLogger(__name__)

#: Pixels of the largest window worth a graph; a larger one keeps the GPU busy longer than the CPU takes to launch it.
LARGEST_WINDOW = 512 * 512

#: Pixels of all windows whose graphs a model keeps, and how many graphs at the most. A graph holds the memory of its
#: window's encoding, so thumbnails of a hundred sizes cost no more than eight of the largest windows.
KEPT_PIXELS, KEPT_GRAPHS = 8 * LARGEST_WINDOW, 128

#: A graph is captured when a shape comes for this time; a folder of pictures of many sizes captures nothing.
CAPTURED_AT = 2

#: After so many windows each shape's uses are halved, so that what a folder was full of yesterday makes room.
MEMORY_OF_WINDOWS = 1000

#: Where the room is taken, a shape must come so many times as often as all those together whose graphs have to go for
#: its own. Else shapes that come in turn would each be captured anew each time, which costs more than a graph saves.
WORTH_A_CHANGE = 2

#: Encodes a window of one shape; a later call overwrites an earlier one's result.
Replay = Callable[[Tensor], Tensor]

Shape = tuple[int, ...]

#: All of this process: what one of them holds, another model's work may be short of.
_all: weakref.WeakSet[GraphedEncoder] = weakref.WeakSet()


def clear_all() -> None:
    """Gives the memory of every model's graphs back."""
    for encoder in list(_all):
        encoder.clear()


class GraphedEncoder:
    """`EdsrLiif.encode` for a GPU, replayed from graphs for windows that are small and come again.

    A graph runs the kernels that its capture recorded: those of the call without a graph for the same shape, so a
    picture gets the same bytes either way. A capture takes longer than some encodings, and a graph holds memory, so
    graphs are kept of the shapes that come most: what comes rarely never drives out what comes often.

    Args:
        network: the model.
        capture: makes a replay for a window; tests put a stand-in here.
    """

    def __init__(self, network: EdsrLiif, capture: Callable[[EdsrLiif, Tensor], Replay] | None = None) -> None:
        self.network = network
        self._capture = capture or _capture
        self._uses: Counter[Shape] = Counter()
        self._counted = 0
        self._replays: OrderedDict[Shape, Replay] = OrderedDict()
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
        _let_finish(self.network)
        self._replays.clear()
        self._uses.clear()

    def _replay(self, pixels: Tensor) -> Replay | None:
        shape: Shape = tuple(pixels.shape)
        if not self._usable or _pixels(shape) > LARGEST_WINDOW:
            return None
        self._count(shape)
        if shape not in self._replays:
            if self._uses[shape] < CAPTURED_AT or not self._make_room(shape):
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
        return self._replays[shape]

    def _count(self, shape: Shape) -> None:
        """One more use; from time to time all are halved, and shapes that came once are forgotten."""
        self._uses[shape] += 1
        self._counted += 1
        if self._counted % MEMORY_OF_WINDOWS == 0:
            self._uses = Counter({one: uses // 2 for one, uses in self._uses.items() if uses > 1})

    def _make_room(self, shape: Shape) -> bool:
        """Whether a shape's graph may be kept; those that are used least go for it, if it is used much more."""
        kept = sorted(self._replays, key=lambda one: self._uses[one])  # of equals, the one not used for longest
        pixels, worth, going = sum(map(_pixels, kept)) + _pixels(shape), 0, 0
        while pixels > KEPT_PIXELS or len(kept) - going >= KEPT_GRAPHS:
            pixels -= _pixels(kept[going])
            worth += self._uses[kept[going]]
            going += 1
        if self._uses[shape] < WORTH_A_CHANGE * worth:
            return False
        if going:
            _let_finish(self.network)
        for one in kept[:going]:
            del self._replays[one]
        return True


def _pixels(shape: Shape) -> int:
    return shape[-1] * shape[-2]


def _let_finish(network: EdsrLiif) -> None:
    """Waits for replays that were launched on a model's GPU: a graph that goes is to be at rest."""
    device = next(network.parameters()).device
    if device.type == "cuda":
        with suppress(RuntimeError):  # a GPU that has failed; who uses it next will say so
            torch.cuda.synchronize(device)


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
