"""Picture files and what they hold: pixels, and everything a file says about them.

``probe`` looks, ``read`` decodes, ``check_result`` refuses early, ``write`` keeps what the source carried. Formats are
found by content. Each format lives in a room (`room.Room`); `rooms.py` lists them.
"""

from liif_engine.picture.image_file.contents import Density, Frame, Limits, Marker, Metadata, Picture, Probe, Text
from liif_engine.picture.image_file.fitting import check_result
from liif_engine.picture.image_file.result import check_quality, write, writing_bytes
from liif_engine.picture.image_file.rooms import FORMATS, carries_marker, format_for, format_named
from liif_engine.picture.image_file.source import marker_of, probe, read, read_marker

__all__ = [
    "FORMATS",
    "Density",
    "Frame",
    "Limits",
    "Marker",
    "Metadata",
    "Picture",
    "Probe",
    "Text",
    "carries_marker",
    "check_quality",
    "check_result",
    "format_for",
    "format_named",
    "marker_of",
    "probe",
    "read",
    "read_marker",
    "write",
    "writing_bytes",
]
