"""The layers of an image, and what is sent of each."""

from __future__ import annotations

from dataclasses import dataclass, field

from gi.repository import Gimp
from layer_pixels import Encoding

#: Layers that GIMP draws from a text, a path or a file, unless they were rasterized.
DRAWN = ("GimpTextLayer", "GimpVectorLayer", "GimpLinkLayer")


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
    if layer.is_group():
        return False
    # In GIMP 3.2 a layer that was rasterized keeps its kind.
    return not is_drawn(layer) or (hasattr(layer, "is_rasterized") and layer.is_rasterized())


def is_drawn(layer) -> bool:
    """Whether the layer is, or was, drawn by GIMP from what it is made of."""
    return layer.__gtype__.name in DRAWN


def bounds(layer) -> tuple[int, int, int, int]:
    """(x, y, width, height) of a layer in its image."""
    _, x, y = layer.get_offsets()
    return x, y, layer.get_width(), layer.get_height()


def is_any_seen(image) -> bool:
    """Whether any of what is visible lies in the image; of nothing GIMP cannot make a merged layer."""
    size = image.get_width(), image.get_height()
    found = [bounds(layer) for layer in image.get_layers() if layer.get_visible()]
    return any(x < size[0] and y < size[1] and x + width > 0 and y + height > 0 for x, y, width, height in found)


def visible_bounds(image) -> tuple[int, int, int, int]:
    """(x, y, width, height) of what is visible, as far as it lies in the image; some of it must."""
    found = [bounds(layer) for layer in image.get_layers() if layer.get_visible()]
    x, y = (max(0, min(one[side] for one in found)) for side in (0, 1))
    right = min(image.get_width(), max(one[0] + one[2] for one in found))
    bottom = min(image.get_height(), max(one[1] + one[3] for one in found))
    return x, y, right - x, bottom - y


def merge_visible(image) -> Gimp.Layer:
    """Merges what is visible into one layer, cut to the image; some of it must lie there."""
    passing = Gimp.LayerMode.PASS_THROUGH
    if any(layer.get_visible() and layer.get_mode() == passing for layer in image.get_layers()):
        # GIMP 3.0 loses what lies below a group that passes through, but for where that group is or a layer above it.
        x, y, width, height = visible_bounds(image)
        kind = {Gimp.ImageBaseType.GRAY: Gimp.ImageType.GRAYA_IMAGE, Gimp.ImageBaseType.RGB: Gimp.ImageType.RGBA_IMAGE}
        kind = kind.get(image.get_base_type(), Gimp.ImageType.INDEXEDA_IMAGE)
        empty = Gimp.Layer.new(image, "empty", width, height, kind, 100.0, Gimp.LayerMode.NORMAL)
        image.insert_layer(empty, None, 0)
        empty.set_offsets(x, y)
    return image.merge_visible_layers(Gimp.MergeType.CLIP_TO_IMAGE)
