"""What the module of a format, its room, offers, and what it is given.

`source.py` and `result.py` do for all rooms what does not depend on the format; see their docstrings for what a room
need not do. `rooms.py` lists them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from liif_engine.picture.image_file.contents import Frame, Limits, Metadata

#: No limit that a picture could meet, in `Capacity.carries`.
ANY_SIZE = 1 << 62


@dataclass(frozen=True)
class Header:
    """What a format's room finds in a file before it decodes.

    Attributes:
        width, height: as stored, so before the EXIF orientation.
        layout, bits, frames: as in `Probe`.
        metadata: all that the result has to carry.
        orientation: of EXIF, 1 to 8.
        cut: why the file counts as truncated, or None.
        plan: whatever the room needs again to decode.
    """

    width: int
    height: int
    layout: str
    bits: int
    metadata: Metadata
    frames: int = 1
    orientation: int = 1
    cut: str | None = None
    plan: Any = None


@dataclass(frozen=True)
class Order:
    """What a format's room is asked to write.

    Attributes:
        frames: all of one shape and dtype.
        layout: theirs.
        metadata: already corrected for the result.
        quality: of a lossy result, 1 to 100.
    """

    frames: Sequence[Frame]
    layout: str
    metadata: Metadata
    quality: int

    @property
    def width(self) -> int:
        return int(self.frames[0].pixels.shape[1])

    @property
    def height(self) -> int:
        return int(self.frames[0].pixels.shape[0])

    @property
    def bits(self) -> int:
        return int(self.frames[0].pixels.dtype.itemsize) * 8


@dataclass(frozen=True)
class Capacity:
    """What a format can hold; a result that needs more is refused before any work.

    Attributes:
        longest_side: pixels.
        layouts: of its pictures, such as "RGBA".
        bits: per sample.
        animated: whether it holds several frames with timing.
        carries: the fields of `Metadata` it has a place for, each with the most bytes (for texts and comments: of the
            longest one). "density" counts as carried where the nearest whole number is.
        aspects: the narrowest and the widest pixel, for its height, that it can tell of where nothing else is known of
            the density; None if it tells of square ones alone.
        coding: bytes of memory that coding a picture, reading it back and decoding it take beyond the picture itself:
            for each pixel, and for each of its samples of 8 bits. Measured on photographs by `bench/file_memory.py`.
        turned_to_colour: the layouts that it stores as colours, which a gray profile does not fit.
    """

    longest_side: int
    layouts: frozenset[str]
    bits: frozenset[int]
    animated: bool
    carries: Mapping[str, int]
    coding: tuple[float, float]
    aspects: tuple[float, float] | None = None
    turned_to_colour: frozenset[str] = frozenset()


class Room(Protocol):
    """What the module of a format offers.

    Errors are `LiifError` without a path, which is added outside; anything else a room raises while it reads becomes
    "is damaged", so rooms need no catch-all of their own. A room whose library may be missing also has a
    `require_encoder`, which says so in words before any work.
    """

    CAPACITY: Capacity

    def inspect(self, data: bytes, limits: Limits) -> Header:
        """Header and metadata of a whole file, without decoding pixels or taking memory for them.

        Sizes over `limits.max_pixels` and `max_frames` are refused outside; `limits.max_metadata_bytes` and
        `max_pieces` are the room's own to keep. A file that ends early is not an error here but `Header.cut`.

        Raises:
            InputError, UnsupportedError, TooLargeError: in words.
        """
        ...

    def decode(self, data: bytes, header: Header, *, allow_truncated: bool) -> list[Frame]:
        """The pixels as stored, before `Header.orientation`; each frame (H, W, C) of the header's layout and bits.

        Called for a file with `Header.cut` only if `allow_truncated`; what is missing is then gray, black or
        transparent.

        Raises:
            TruncatedError: the data ends early, which only decoding could tell.
            InputError: it is damaged.
        """
        ...

    def encode(self, order: Order) -> tuple[bytes, list[str]]:
        """A file, and notes on what it could not carry; `order` is within `CAPACITY`.

        Metadata of another `home` is translated field by field; `pieces` of another home are left out (noted outside).
        """
        ...
