"""What a picture file holds, as values: pixels, what was said about them, and the limits of what is read.

Each format is a room, a module of this package with the four names of `Room`. `source.py` and `result.py` do for all of
them what does not depend on the format; see their docstrings for what a room need not do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Protocol

from numpy.typing import NDArray

from liif_engine.errors import TooLargeError, UnsupportedError

Pixels = NDArray[Any]


@dataclass(frozen=True)
class Limits:
    """What is refused as too large, from the header, before memory is taken.

    Attributes:
        max_pixels: input pixels over all frames; the default is 250 megapixels.
        max_frames: frames of an animation.
        max_file_bytes: the file itself; it is read whole.
        max_metadata_bytes: EXIF, ICC, XMP, text and so on together, after decompression.
        max_pieces: segments, chunks, boxes or tags; a real file has a few hundred.
    """

    max_pixels: int = 250_000_000
    max_frames: int = 5_000
    max_file_bytes: int = 1 << 30
    max_metadata_bytes: int = 64 << 20
    max_pieces: int = 100_000


#: What to do about a file that is cut off so early that nothing can be had of it.
FETCH_AGAIN = "Fetch the file again."

#: What to do about an input of more pixels than `Limits.max_pixels`.
RAISE_THE_LIMIT = "If you trust the file, raise engine.max_megapixels in config.yaml."


def too_much_metadata(words: str = "holds more metadata than the limit") -> TooLargeError:
    """The refusal of a file for its metadata: no scale and no setting makes that less."""
    remedy = "Take out what it does not need, such as previews and histories, with a metadata editor like exiftool."
    return TooLargeError(words, remedy=remedy)


def too_many_pieces(words: str) -> TooLargeError:
    """The refusal of a file for more pieces than any program writes."""
    return TooLargeError(words, remedy="It may be damaged, or made to do damage; a picture editor can save it anew.")


def signed_credentials() -> UnsupportedError:
    """The refusal of a file with Content Credentials (C2PA): of a result they would be false."""
    return UnsupportedError(
        "carries Content Credentials, signed for the original pixels",
        remedy="Remove them from a copy of the file first.",
    )


@dataclass(frozen=True)
class Density:
    """Pixels per unit, as two fractions, so that each format's own numbers survive.

    Attributes:
        x, y: (numerator, denominator).
        unit: "inch", "metre", "cm", or "aspect" when only the ratio x : y is meant: a pixel is y as wide as x high.
    """

    x: tuple[int, int]
    y: tuple[int, int]
    unit: str

    def per_inch(self) -> tuple[float, float] | None:
        """Dots per inch, or None for a mere aspect ratio."""
        factor = {"inch": 1.0, "metre": 0.0254, "cm": 2.54}.get(self.unit)
        if factor is None or not (self.x[1] and self.y[1]):
            return None
        return self.x[0] / self.x[1] * factor, self.y[0] / self.y[1] * factor

    def turned(self) -> Density:
        """Of the same picture when its rows have become columns."""
        return Density(self.y, self.x, self.unit)

    def aspect(self) -> Fraction | None:
        """How wide a pixel is for its height; None where the numbers make no sense."""
        if not (self.x[0] and self.x[1] and self.y[0] and self.y[1]):
            return None
        return Fraction(*self.y) / Fraction(*self.x)


@dataclass(frozen=True)
class Text:
    """A titled text of a PNG file, or what becomes one."""

    title: str
    text: str


@dataclass(frozen=True)
class Piece:
    """One piece of a file in the format's own form, carried from a file to a result of the same format.

    Attributes:
        kind: the format's name for it, such as ``APP12`` or ``tEXt``; a name in capitals and brackets, such as
            ``<EXIF>``, marks the place of what `Metadata` holds as a field.
        data: its bytes.
        late: it stood after the pixels.
    """

    kind: str
    data: bytes = b""
    late: bool = False


@dataclass(frozen=True)
class Metadata:
    """What a file says beside its pixels. Opaque to callers; the rooms of this package read and write it.

    Attributes:
        home: the format it came from; `pieces` mean nothing in another.
        exif: a TIFF structure, without the ``Exif`` prefix that JPEG puts before it.
        icc, xmp: the profile and the packet, as they are.
        photoshop: Photoshop image resources (``8BIM``), which hold IPTC-IIM among others.
        iptc: an IPTC-IIM record outside of Photoshop resources (TIFF).
        density: pixels per inch and the like, where the format itself (not EXIF) says so.
        comments: plain comments.
        texts: titled texts.
        pieces: all else, in the order of the file.
        progressive: progressive or interlaced.
        lossless: the pixels were stored without loss.
        loop: how often an animation plays, 0 for ever; None if the file does not say.
        coding: how the pixels were stored where the result must follow, such as ``RGB`` in a JPEG file.
        turned: the pixels were turned to be upright, so orientation tags in `exif` and `xmp` are stale. The rooms set
            it only where the format itself turns pictures (HEIF); for `Header.orientation` it is set for them.
        orientation: of EXIF, 1 to 8, that was applied to the pixels; set for the rooms, from `Header.orientation`.
        bound_to_home: what decides colour or meaning and has no place in another format, in words; a result in
            another format is refused because of it.
        notes: what no result can carry, found while reading.
    """

    home: str
    exif: bytes | None = None
    icc: bytes | None = None
    xmp: bytes | None = None
    photoshop: bytes | None = None
    iptc: bytes | None = None
    density: Density | None = None
    comments: tuple[bytes, ...] = ()
    texts: tuple[Text, ...] = ()
    pieces: tuple[Piece, ...] = ()
    progressive: bool = False
    lossless: bool = False
    loop: int | None = None
    coding: str = ""
    turned: bool = False
    orientation: int = 1
    bound_to_home: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Frame:
    """One picture of a file; a still has one.

    Attributes:
        pixels: (H, W, C) uint8 or uint16, C-contiguous, upright. Alpha is straight (unassociated). CMYK is stored as
            light, not ink: full scale minus the ink, so that white paper is white in all four channels.
        duration: how long an animation shows it, as a fraction of a second (numerator, denominator).
        hidden: not part of the animation (the still that viewers without APNG show).
    """

    pixels: Pixels
    duration: tuple[int, int] = (0, 1000)
    hidden: bool = False


@dataclass(frozen=True)
class Probe:
    """What the header says; no pixel was decoded.

    Attributes:
        format: "JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "AVIF" or "HEIC".
        width, height: as displayed, so after the EXIF orientation.
        layout: of the arrays that `read` gives: "L", "LA", "RGB", "RGBA" or "CMYK".
        bits: per sample of those arrays, 8 or 16.
        frames: 1 for a still.
        metadata: what else the file says.
    """

    format: str
    width: int
    height: int
    layout: str
    bits: int
    frames: int
    metadata: Metadata = field(repr=False)


@dataclass(frozen=True)
class Picture:
    """A decoded file.

    Attributes:
        format, width, height, layout, bits: as in `Probe`.
        frames: one for a still.
        metadata: what else the file says; opaque, for `write`.
        sha256: of the file's bytes, in hexadecimal.
    """

    format: str
    width: int
    height: int
    layout: str
    bits: int
    frames: Sequence[Frame] = field(repr=False)
    metadata: Metadata = field(repr=False)
    sha256: str


@dataclass(frozen=True)
class Marker:
    """What a result says about its making, so that nothing is restored twice.

    Attributes:
        software, version: of this program.
        model: the model's name.
        scale_x, scale_y: output per input pixel.
        source_sha256: of the original file's bytes, in hexadecimal.
        quality: that was asked for, of a lossy result; None where an older version made it, which did not say.
        consistent: whether it was moved into its JPEG's quantisation intervals; None likewise.
        precision: fp32 or bf16; empty likewise.
    """

    software: str
    version: str
    model: str
    scale_x: float
    scale_y: float
    source_sha256: str
    quality: int | None = None
    consistent: bool | None = None
    precision: str = ""


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


#: No limit that a picture could meet, in `Capacity.carries`.
ANY_SIZE = 1 << 62


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
