"""TIFF files of the tests: made tag by tag, read, and written again."""

from __future__ import annotations

import struct

import numpy as np

from liif_engine.picture.image_file import tiff, tiff_tags
from liif_engine.picture.image_file.contents import Limits, Pixels
from liif_engine.picture.image_file.room import Order
from liif_engine.picture.image_file.tiff_tags import Directory, Tag, number_tag

LIMITS = Limits()
ORDERS = ("<", ">")


def random_pixels(*shape: int, dtype: str = "uint8", seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def raw(samples: Pixels, photometric: int, *, order: str = "<", big: bool = False, **more: Tag) -> bytes:
    """An uncompressed file of one strip, from samples as they are to be stored; `more` is t<number>=tag."""
    height, width, count = samples.shape
    directory = Directory(
        {
            256: number_tag(order, width),
            257: number_tag(order, height),
            258: number_tag(order, *[samples.itemsize * 8] * count),
            262: number_tag(order, photometric),
            277: number_tag(order, count),
            279: number_tag(order, samples.nbytes, kind=4),
        }
        | {int(name[1:]): tag for name, tag in more.items()}
    )
    return tiff_tags.whole_file(directory, (order, big), [samples.astype(samples.dtype.newbyteorder(order)).tobytes()])


def again(data: bytes) -> bytes:
    header = tiff.inspect(data, LIMITS)
    frames = tiff.decode(data, header, allow_truncated=False)
    return tiff.encode(Order(frames, header.layout, header.metadata, 90))[0]


def tags_of(data: bytes) -> Directory:
    reader = tiff_tags.Reader(data, LIMITS)
    directory = reader.directory(reader.first)
    assert directory is not None
    return directory


def file_with_everything(order: str) -> bytes:
    exif = Directory(
        {
            33434: Tag(5, 1, struct.pack(order + "II", 1, 250)),
            40962: number_tag(order, 8),
            37510: Tag(7, 12, b"ASCII\0\0\0note"),
        },
        {0xA005: Directory({1: Tag(2, 4, b"R98\0")})},
    )
    tags = {
        270: Tag(2, 12, b"description\0"),
        271: Tag(2, 4, b"Mak\0"),
        274: number_tag(order, 1),
        282: Tag(5, 1, struct.pack(order + "II", 3001, 10)),
        283: Tag(5, 1, struct.pack(order + "II", 2999, 10)),
        285: Tag(2, 5, b"page\0"),
        296: number_tag(order, 3),
        315: Tag(2, 7, b"artist\0"),
        318: Tag(5, 2, struct.pack(order + "4I", 3127, 10000, 3290, 10000)),
        700: Tag(1, 4, b"<x/>"),
        33432: Tag(2, 3, b"(c\0"),
        33723: Tag(7, 8, b"\x1c\x02\x78\0\x03abc"),
        34377: Tag(1, 14, b"8BIM\x04\x04\0\0\0\0\0\x02ab"),
        34675: Tag(7, 7, b"profile"),
        65000: Tag(12, 2, struct.pack(order + "2d", 1.5, -2.5)),
    }
    samples = random_pixels(6, 8, 3)
    directory = Directory(tags, {0x8769: exif, 0x8825: Directory({1: Tag(2, 2, b"N\0")})})
    directory.tags |= {
        256: number_tag(order, 8),
        257: number_tag(order, 6),
        258: number_tag(order, 8, 8, 8),
        262: number_tag(order, 2),
        277: number_tag(order, 3),
        279: number_tag(order, samples.nbytes),
    }
    return tiff_tags.whole_file(directory, (order, False), [samples.tobytes()])


PLAIN = random_pixels(4, 5, 3)
