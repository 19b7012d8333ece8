"""A header that claims more than its data can unpack to lies, or the data is cut: caught before memory is taken."""

from __future__ import annotations

from math import ceil

from liif_engine.errors import TruncatedError
from liif_engine.picture.image_file.contents import FETCH_AGAIN


def shortage(format: str, octets: int, most: float, needed: int, of: str = "the picture") -> str | None:
    """Why a file counts as truncated, or None.

    Args:
        format: its name.
        octets: bytes of pixel data that are there.
        most: what they can unpack to at the most, in any unit.
        needed: what the header claims, in the same unit.
        of: what the data belongs to.
    """
    if most >= needed:
        return None
    if octets == 0:
        return f"the {format} data ends early, before the pixels of {of}"
    percent = ceil(100 * most / needed)
    share = f"at most {percent}%" if percent < 100 else "not quite all"
    return f"the {format} data ends early: {octets:,} bytes can hold {share} of {of}"


def require_pixels(format: str, octets: int) -> None:
    """Refuses a file that holds nothing but its header.

    Raises:
        TruncatedError: `octets`, the bytes of pixel data, is 0.
    """
    if octets == 0:
        message = f"the {format} data ends early: nothing of the picture is there"
        raise TruncatedError(message, remedy=FETCH_AGAIN)
