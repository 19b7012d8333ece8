"""The pixels of a layer as bytes, in the form the engine takes, and back: every precision, gray, alpha, any profile."""

from __future__ import annotations

import math
from array import array

from gi.repository import Babl, Gegl
from order import Refusal

#: Pixels read or written between two reports of progress; 2 million take GIMP about 0.02 s.
STRIP_PIXELS = 2_000_000

#: What is said of pixels in float that no screen shows.
ENDLESS = (
    "%s holds infinite values or ones that are no numbers, which the network cannot see: choose an integer in "
    "Image > Precision, or, where they are but infinite, Colors > RGB Clip"
)

#: What 0..1 keeps of its contrast at least, whatever lies beyond. With a pixel of 100 among them, a photograph of JPEG
#: quality 40 was restored to 31.83 dB so, to 11.88 dB in proportion to the whole range, and without the pixel to 32.12.
LEAST_SHARE = 0.5


class Encoding:
    """How a layer's pixels are handed over.

    The network learned pictures as they are in files, so it is shown gamma-encoded values, in the image's own colour
    space: nothing is converted to sRGB, and a wide gamut stays as wide as it is. 8 and 16 bits go as they are; what is
    wider, and everything linear, goes as 32-bit float, which loses nothing that a screen could show.

    Args:
        layer: an RGB, gray or indexed layer.

    Attributes:
        format: name of the babl format for GIMP.
        dtype: u8, u16 or f32, for the engine.
        channels: 1 to 4.
        has_alpha: whether the last channel is alpha.
        pixel_bytes: bytes of a pixel.
    """

    def __init__(self, layer):
        own = layer.get_format()
        kind = Babl.get_name(Babl.format_get_type(own, 0))
        encoding = Babl.format_get_encoding(own)
        self.has_alpha = layer.has_alpha()
        mark = "~" if "~" in encoding else "'"
        if layer.is_indexed():
            kind = "u8"
        elif "~" not in encoding and "'" not in encoding:
            kind, mark = "float", "~"  # linear light
        self.dtype = kind if kind in ("u8", "u16") else "f32"
        letters = "Y" if layer.is_gray() else "RGB"
        name = "".join(letter + mark for letter in letters) + ("A" if self.has_alpha else "")
        name += " " + {"f32": "float"}.get(self.dtype, self.dtype)
        # A bare name means sRGB.
        self.format = Babl.get_name(Babl.format_with_space(name, own))
        self.channels = len(letters) + self.has_alpha
        self.pixel_bytes = self.channels * {"u8": 1, "u16": 2, "f32": 4}[self.dtype]


def read(drawable, encoding, rect, on_strip):
    """The pixels in a rectangle.

    Args:
        drawable: a layer.
        encoding: its `Encoding`.
        rect: (x, y, width, height) in the layer's own coordinates.
        on_strip: called without arguments after each strip.

    Returns:
        bytes: rows from the top, channels interleaved.
    """
    buffer = drawable.get_buffer()
    strips = []
    for x, y, width, height in _strips(rect):
        strips.append(buffer.get(Gegl.Rectangle.new(x, y, width, height), 1.0, encoding.format, Gegl.AbyssPolicy.NONE))
        on_strip()
    return b"".join(strips)


def write(buffer, encoding, rect, data, on_strip):
    """Puts pixels into a rectangle of a buffer and flushes it.

    Args:
        buffer: a layer's own buffer, which knows neither undo nor selection, or its shadow buffer.
        encoding, rect, on_strip: as in `read`.
        data: bytes, as `read` returns them; not a memoryview, which is a hundred times slower.
    """
    row_bytes = rect[2] * encoding.pixel_bytes
    for x, y, width, height in _strips(rect):
        start = (y - rect[1]) * row_bytes
        strip = data[start : start + height * row_bytes]
        buffer.set(Gegl.Rectangle.new(x, y, width, height), encoding.format, strip)
        # At once, since to flush a large layer takes GIMP half a second.
        buffer.flush()
        on_strip()


class Range:
    """Float pixels brought into 0..1, where the network sees, and back.

    Out-of-gamut colours and highlights lie outside; the engine would clip them. They go by their logarithm, so that one
    highlight does not press all the rest into a contrast so low that the network takes it for noise.

    Args:
        data: float32 pixels as bytes.
        encoding: theirs.
        name: what people know them by.
        on_strip: called without arguments after each strip.

    Attributes:
        low, high: the range of the colours, at least 0..1.

    Raises:
        Refusal: some are no numbers, or infinite.
    """

    def __init__(self, data, encoding, name, on_strip):
        self.encoding, self.low, self.high = encoding, 0.0, 1.0
        for values in _pieces(data, encoding):
            if not math.isfinite(sum(values)):
                raise Refusal(ENDLESS % name)
            for channel in self._colours():
                colour = values[channel :: encoding.channels]
                self.low, self.high = min(self.low, min(colour)), max(self.high, max(colour))
            on_strip()
        below, above = math.log1p(-self.low), math.log1p(self.high - 1)
        # What 0..1 gets of it, as much as a unit of logarithm if that is enough, and where it begins.
        self._share = max(1 / (1 + below + above), LEAST_SHARE)
        self._unit = (1 - self._share) / (below + above) if below + above else 0.0
        self._start = self._unit * below

    @property
    def is_plain(self):
        """Whether everything lies in 0..1 already."""
        return (self.low, self.high) == (0.0, 1.0)

    def narrow(self, data, on_strip):
        """The pixels with their range mapped to 0..1."""
        start, share = self._start, self._share
        return self._map(
            data, lambda colour: [start + share * v if 0 <= v <= 1 else self._squeezed(v) for v in colour], on_strip
        )

    def widen(self, data, on_strip):
        """The way back."""
        start, share = self._start, self._share
        end = start + share
        return self._map(
            data, lambda colour: [(v - start) / share if start <= v <= end else self._free(v) for v in colour], on_strip
        )

    def _squeezed(self, value):
        """Where a value outside of 0..1 goes; for what is no number, no number."""
        if value < 0:
            return self._start - self._unit * math.log1p(-value)
        return self._start + self._share + self._unit * math.log1p(value - 1)

    def _free(self, value):
        """The inverse of `_squeezed`; rounding leads no further than the range."""
        steps = (value - self._start) / self._unit
        if steps < 0:
            return max(self.low, -math.expm1(-steps))
        return min(self.high, 1 + math.expm1(steps - self._share / self._unit))

    def _map(self, data, call, on_strip):
        pieces = []
        for values in _pieces(data, self.encoding):
            for channel in self._colours():
                values[channel :: self.encoding.channels] = array("f", call(values[channel :: self.encoding.channels]))
            pieces.append(values.tobytes())
            on_strip()
        return b"".join(pieces)

    def _colours(self):
        return range(self.encoding.channels - self.encoding.has_alpha)


def _strips(rect):
    """Rectangles of full width that make up one, from the top."""
    x, y, width, height = rect
    rows = max(1, STRIP_PIXELS // max(width, 1))
    for top in range(y, y + height, rows):
        yield x, top, width, min(rows, y + height - top)


def _pieces(data, encoding):
    """Arrays of whole pixels, small enough for a step of Python's own."""
    step = STRIP_PIXELS // 20 * encoding.pixel_bytes
    for start in range(0, len(data), step):
        yield array("f", data[start : start + step])
