"""What a picture file holds, as values: pixels, what was said about them, and the limits of what is read.

What a format's module offers for them is in `room.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from numpy.typing import NDArray

from liif_engine.arguments import amount
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

    Raises:
        UsageError: one of them is no number, or none from 1 on.
    """

    max_pixels: int = 250_000_000
    max_frames: int = 5_000
    max_file_bytes: int = 1 << 30
    max_metadata_bytes: int = 64 << 20
    max_pieces: int = 100_000

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            object.__setattr__(self, name, amount(name, value))


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
    """A titled text of a PNG file, or what becomes one.

    Attributes:
        title, text: what it says.
        language: of the text, as in ``fr`` or ``pt-BR``; empty where that is not said.
        translation: the title in that language; likewise.
    """

    title: str
    text: str
    language: str = ""
    translation: str = ""

    def as_comment(self) -> str:
        """All of it as one text, as ``Author (Auteur, fr): Zoë``; of a mere comment its text alone."""
        about = ", ".join(filter(None, (self.translation, self.language)))
        if self.title == "Comment" and not about:
            return self.text
        return f"{self.title} ({about}): {self.text}" if about else f"{self.title}: {self.text}"


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
