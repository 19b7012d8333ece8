"""What memory the work takes, and how large tiles may be so that it is there; no torch."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from liif_engine import memory
from liif_engine.errors import MemoryExhaustedError, TooLargeError
from liif_engine.picture.tiles import Grid

log = logging.getLogger(__name__)

#: Longest side of a tile's core in input pixels, by kind of device. Larger tiles repeat less of the encoder's work in
#: their halos (1.3 times at 512); smaller ones need less memory. Fixed, so that equal input gives equal bytes.
TILE_CORE = {"cpu": 512, "cuda": 1024, "mps": 512}

#: Smaller cores are not tried: their halo would be nearly all of the work.
SMALLEST_CORE = 32

#: Copies of a window's feature map alive at once while encoding: the shallow one, the block's input, its inside and its
#: result, and one for the convolution's own workspace.
ENCODER_COPIES = 5

#: Bytes that the libraries' workspaces take, and a strip of the decoder, of which each thread has one: by measurement
#: on CPU, where it is 25 MB at x1 in fp32 with the widest shipped decoder.
LIBRARY_BYTES, STRIP_BYTES = 136 << 20, 32 << 20

#: What making something of a result takes on top of it where nobody says more, as a share of it.
FILE_COPIES = 1.5


@dataclass(frozen=True)
class Budget:
    """What a model's work takes.

    Attributes:
        halo: input pixels around a tile's core that its network sees.
        channels: of its feature map.
        threads: that decode.
        strip_queries: output pixels that a thread decodes at once.
        sums: whether several answers are added up.
        limit: the most bytes that may be taken; None: what the system allows.
    """

    halo: int
    channels: int
    threads: int
    strip_queries: int
    sums: bool = False
    limit: int | None = None

    def available(self) -> int:
        """Bytes that may be taken now."""
        return _free(None, self.limit)

    def tile_bytes(self, core: int, enlargement: float = 1.0) -> int:
        """Bytes of work for a tile of this core size; the wider itemsize, since a tile may be redone in fp32."""
        side, pixels = core + 2 * self.halo, int(core * core * enlargement)
        sums = pixels * 3 * 4 if self.sums else 0
        strips = min(1 + pixels // self.strip_queries, self.threads)
        maps = ENCODER_COPIES * side * side * self.channels * 4
        return maps + LIBRARY_BYTES + strips * STRIP_BYTES + sums

    def fitting_core(self, core: int, room: int, enlargement: float = 1.0) -> int:
        """The core size, or half of it as often as the memory does not hold it."""
        while core > SMALLEST_CORE and self.tile_bytes(core, enlargement) > room:
            core //= 2
        return core

    def core_size(self, device: str, grid: Grid, room: int) -> int:
        """The fixed tile size of a kind of device, or less where so many bytes do not hold it."""
        core = TILE_CORE[device]
        if device == "cpu":
            core = self.fitting_core(core, room, enlargement_of(grid))
        if core < min(TILE_CORE[device], max(grid.height, grid.width)):
            log.warning("little memory (%s free): working in tiles of %d pixels", memory.readable(room), core)
        return core

    def room_beside(self, width: int, height: int, result: int, beside: int) -> int:
        """Bytes left for the work.

        Args:
            width, height: of the result, in pixels.
            result: its bytes.
            beside: bytes that something else takes.

        Raises:
            TooLargeError, MemoryExhaustedError: as `free_for`, of the smallest tile.
        """
        needed = result + beside + self.tile_bytes(SMALLEST_CORE)
        return free_for(width, height, needed, self.limit) - result - beside


def free_for(width: int, height: int, needed: int, limit: int | None) -> int:
    """Bytes that may be taken now, if they are enough for a result.

    Args:
        width, height: of the result, in pixels.
        needed: bytes.
        limit: as of `Budget`.

    Raises:
        TooLargeError: the limit itself is less.
        MemoryExhaustedError: it does not fit now; when others need less, it may.
    """
    free = _free(needed, limit)
    if needed <= free:
        return free
    words = f"the result, {width}x{height}, needs {memory.readable(needed)} of memory"
    words += f" and {memory.readable(free)} are free"
    if limit is not None and needed > limit:
        raise TooLargeError(words)
    raise MemoryExhaustedError(words, remedy="Ask for a smaller scale, or close other programs.")


def _free(needed: int | None, limit: int | None) -> int:
    free = memory.available_bytes(needed)
    return free if limit is None else min(free, limit)


def enlargement_of(grid: Grid) -> float:
    """Output pixels for each input pixel."""
    return (grid.out_height / grid.height) * (grid.out_width / grid.width)
