"""Pictures of high dynamic range: their samples mean light far above white, which the models were not made for."""

from __future__ import annotations

import struct

from liif_engine.errors import UnsupportedError

#: Transfer characteristics of CICP (ITU-T H.273) that are curves of HDR.
_CURVES = {16: "PQ", 18: "HLG"}
_ICC_TAGS = 128  # where an ICC profile lists its tags
_MOST_TAGS = 200  # real profiles have a few dozen


def refuse_transfer(transfer: int) -> None:
    """Refuses HDR.

    Args:
        transfer: of CICP.

    Raises:
        UnsupportedError: it is a curve of HDR.
    """
    if transfer in _CURVES:
        words = f"is HDR ({_CURVES[transfer]}), which the models were not made for"
        raise UnsupportedError(words, remedy="Convert it to sRGB first.")


def refuse_profile(icc: bytes) -> None:
    """Refuses HDR that an ICC profile tells of by the numbers of CICP in it (ICC.1:2022, 9.2.17).

    Raises:
        UnsupportedError: it is a profile of HDR.
    """
    count = int.from_bytes(icc[_ICC_TAGS : _ICC_TAGS + 4])
    for index in range(min(count, _MOST_TAGS)):
        entry = icc[_ICC_TAGS + 4 + 12 * index :][:12]
        if len(entry) == 12 and entry.startswith(b"cicp"):
            offset, size = struct.unpack(">4xII", entry)
            value = icc[offset : offset + size]
            if value.startswith(b"cicp") and len(value) >= 12:
                refuse_transfer(value[9])
