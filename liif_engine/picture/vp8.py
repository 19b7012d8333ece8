"""How coarse the first frame of VP8 is, which a lossy WebP holds; from its header alone (RFC 6386)."""

from __future__ import annotations

import numpy as np


def mean_quantiser(frame: bytes) -> float:
    """The mean quantiser of the segments of a VP8 key frame, 0-127 (RFC 6386, sections 9.2 to 9.6)."""
    if frame[3:6] != b"\x9d\x01\x2a":
        raise ValueError("not a VP8 key frame")
    bits = _BoolDecoder(frame[10:])
    bits.number(2)  # colour space, clamping
    segments: list[int] = []
    absolute = False
    if bits.number(1):
        new_map = bits.number(1)
        if bits.number(1):
            absolute = bool(bits.number(1))
            segments = [bits.optional_signed(7) for _ in range(4)]
            for _ in range(4):
                bits.optional_signed(6)  # strength of the loop filter
        if new_map:
            for _ in range(3):
                bits.optional(8)  # probabilities
    bits.number(1 + 6 + 3)  # the loop filter's kind, level, sharpness
    if bits.number(1) and bits.number(1):
        for _ in range(8):
            bits.optional_signed(6)
    bits.number(2)  # partitions
    base = bits.number(7)
    if not segments:
        return float(base)
    return float(np.mean([min(max(value if absolute else base + value, 0), 127) for value in segments]))


class _BoolDecoder:
    """VP8's arithmetic decoder at probability 1/2, which is all that the header needs (RFC 6386, section 7)."""

    def __init__(self, data: bytes) -> None:
        self._data = iter(data)
        self._value = next(self._data, 0) << 8 | next(self._data, 0)
        self._range, self._shifted = 255, 0

    def number(self, width: int) -> int:
        """An unsigned number of so many bits."""
        result = 0
        for _ in range(width):
            result = result << 1 | self._bit()
        return result

    def optional(self, width: int) -> int:
        """A number if a flag says that there is one, else 0."""
        return self.number(width) if self.number(1) else 0

    def optional_signed(self, width: int) -> int:
        """A number and its sign if a flag says that there are, else 0."""
        if not self.number(1):
            return 0
        magnitude = self.number(width)
        return -magnitude if self.number(1) else magnitude

    def _bit(self) -> int:
        split = 1 + (((self._range - 1) * 128) >> 8)
        bit = int(self._value >= split << 8)
        if bit:
            self._range -= split
            self._value -= split << 8
        else:
            self._range = split
        while self._range < 128:
            self._value <<= 1
            self._range <<= 1
            self._shifted += 1
            if self._shifted == 8:
                self._shifted = 0
                self._value |= next(self._data, 0)
        return bit
