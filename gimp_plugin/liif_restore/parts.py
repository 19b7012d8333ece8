"""The layers of an image, and what is sent of each."""

from __future__ import annotations

from dataclasses import dataclass, field

from gi.repository import Gimp
from layer_pixels import Encoding


@dataclass
class Part:
    """One layer's way to the engine and back.

    Attributes:
        layer: where its pixels come from; None for the merged ones.
        number: the layer's place among all layers of the image, to find it in a copy; -1 for the merged ones.
        rect: (x, y, width, height) that is restored, in the layer's own coordinates.
        size: (width, height) of the result.
        encoding: of both.
        place: (x, y) of the merged ones in the image; of others the layer itself knows.
        sent: the pixels, where they have been read already.
        seen: a hash of the pixels that the engine got.
        data: the result, once it is there.
    """

    layer: Gimp.Layer | None
    number: int
    rect: tuple[int, int, int, int]
    size: tuple[int, int]
    encoding: Encoding
    place: tuple[int, int] = (0, 0)
    sent: bytes = field(default=b"", repr=False)
    seen: int = 0
    data: bytes = field(default=b"", repr=False)


def outline(image) -> tuple:
    """What must be the same before the engine's work and after it, for its results to fit; all but the pixels."""
    every = flat(image.get_layers())
    size = image.get_width(), image.get_height(), image.get_base_type(), image.get_precision()
    places = [(one.get_id(), one.get_width(), one.get_height(), *one.get_offsets()) for one in every]
    # GIMP ends a plug-in that writes to locked pixels; and what was read without alpha would fill new holes again.
    pixels = [(one.get_lock_content(), one.has_alpha()) for one in every]
    return size, places, pixels, tuple(Gimp.Selection.bounds(image))


def flat(layers) -> list:
    """All layers, groups and what is in them too, from the top."""
    return [one for layer in layers for one in (layer, *flat(layer.get_children() if layer.is_group() else []))]


def with_groups(layer) -> list:
    """A layer, the group that it is in, the group around that, and so on; nothing for None."""
    return [] if layer is None else [layer, *with_groups(layer.get_parent())]


def takes_pixels(layer) -> bool:
    """Whether the layer holds pixels of its own; GIMP draws the others again from what they are made of."""
    special = ("GimpTextLayer", "GimpVectorLayer", "GimpLinkLayer")
    return not layer.is_group() and layer.__gtype__.name not in special
