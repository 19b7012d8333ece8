"""What the plug-in does to an image: look at it, have the engine restore its layers, and only then change it."""

from __future__ import annotations

from dataclasses import dataclass, field

import courier
from gi.repository import Gimp
from layer_pixels import Encoding, Range, read, write
from order import Order, Refusal, rounded

#: Pixels around the selection that the engine sees too, so that the result inside is that of the whole image; the
#: network looks 36 pixels far.
MARGIN_PIXELS = 64


@dataclass
class Part:
    """One layer's way to the engine and back.

    Attributes:
        layer: where its pixels come from.
        number: the layer's place among all layers of the image, to find it in a copy; -1 for the merged ones.
        rect: (x, y, width, height) that is restored, in the layer's own coordinates.
        size: (width, height) of the result.
        encoding: of both.
        data: the result, once it is there.
    """

    layer: Gimp.Layer
    number: int
    rect: tuple[int, int, int, int]
    size: tuple[int, int]
    encoding: Encoding
    data: bytes = field(default=b"", repr=False)


def flat(layers) -> list:
    """All layers, groups and what is in them too, from the top."""
    return [one for layer in layers for one in (layer, *flat(layer.get_children() if layer.is_group() else []))]


def takes_pixels(layer) -> bool:
    """Whether the layer holds pixels of its own; GIMP draws the others again from what they are made of."""
    special = ("GimpTextLayer", "GimpVectorLayer", "GimpLinkLayer")
    return not layer.is_group() and layer.__gtype__.name not in special


def restore(image, drawables, order: Order, progress) -> tuple:
    """Restores an image as ordered; it is left as it was if anything fails.

    Args:
        image, drawables: as GIMP gives them to a procedure.
        order: what is wanted.
        progress: called with words and the share done, at least every 0.2 s but for GIMP's own single calls.

    Returns:
        (the image that has the result, its restored layers, notes for the user).

    Raises:
        Refusal, client.ServiceError: in words for people.
    """
    # A merged copy is made for reading, since the image itself must stay.
    copy = None
    try:
        if order.layers == "merged":
            copy = image.duplicate()
            parts = [_merged_part(image, copy, order)]
        else:
            parts = _parts(image, drawables, order)
        for number, part in enumerate(parts):
            _fetch(part, order, _share_of(parts, number, progress))
    finally:
        if copy is not None:
            copy.delete()
    return _apply(image, parts, order, progress)


def _parts(image, drawables, order: Order) -> list[Part]:
    """The layers to be restored, checked."""
    every = flat(image.get_layers())
    _check_image(image, every)
    chosen = [layer for layer in every if takes_pixels(layer)] if order.layers == "every" else _chosen(drawables)
    if not chosen:
        raise Refusal("No layer holds pixels: choose a layer with a picture")
    if order.result == "image":
        for layer in chosen:
            _check_lock(layer)
    parts = [_part(image, layer, every.index(layer), order) for layer in chosen]
    parts = [part for part in parts if part is not None]
    if not parts:
        raise Refusal("The selection lies outside the layers: select a part of a layer, or nothing for all of it")
    return parts


def _check_image(image, every) -> None:
    if not every:
        raise Refusal("The image has no layers: add a layer with a picture first")
    if image.get_floating_sel() is not None:
        raise Refusal("There is a floating selection: anchor it first (Layer > Anchor Floating Selection)")


def _chosen(drawables) -> list:
    """The layers meant by what is active, which may be a mask, a channel or a group."""
    found = []
    for one in drawables:
        layer = Gimp.Layer.from_mask(one) if one.is_layer_mask() else one
        if not layer.is_layer():
            raise Refusal(f"“{one.get_name()}” is a channel: choose a layer")
        if layer.is_group():
            raise Refusal(f"“{layer.get_name()}” is a layer group: choose layers in it, or restore every layer")
        if not takes_pixels(layer):
            raise Refusal(f"“{layer.get_name()}” is a text or vector layer, which GIMP itself scales without loss")
        if layer not in found:
            found.append(layer)
    return found


def _check_lock(layer) -> None:
    """Refuses what GIMP would end the plug-in for."""
    one = layer
    while one is not None:
        if one.get_lock_content():
            raise Refusal(f"The pixels of “{one.get_name()}” are locked: unlock them in the Layers dialog")
        one = one.get_parent()


def _part(image, layer, number: int, order: Order) -> Part | None:
    """The layer's part; None if the selection leaves nothing of it to be restored."""
    width, height = layer.get_width(), layer.get_height()
    size = _size_in(image, layer, order)
    rect = (0, 0, width, height)
    if size == (width, height):
        touched, x, y, across, down = layer.mask_intersect()
        if not touched:
            return None
        left, top = max(0, x - MARGIN_PIXELS), max(0, y - MARGIN_PIXELS)
        right, bottom = min(width, x + across + MARGIN_PIXELS), min(height, y + down + MARGIN_PIXELS)
        rect = (left, top, right - left, bottom - top)
        size = rect[2:]
    return Part(layer, number, rect, size, Encoding(layer))


def _merged_part(image, copy, order: Order) -> Part:
    """What is visible, as one layer of the copy."""
    every = flat(image.get_layers())
    _check_image(image, every)
    if not any(layer.get_visible() for layer in image.get_layers()):
        raise Refusal("No layer is visible: show the layers that are to be restored")
    merged = copy.merge_visible_layers(Gimp.MergeType.CLIP_TO_IMAGE)
    part = _part(copy, merged, -1, order)
    if part is None:
        raise Refusal("The selection lies outside the image: select a part of it, or nothing for all of it")
    return part


def _size_in(image, layer, order: Order) -> tuple[int, int]:
    """The layer's size when the image gets the size ordered, rounded as GIMP rounds, so that layers stay aligned."""
    before = image.get_width(), image.get_height()
    after = order.size(*before)
    _, *offsets = layer.get_offsets()
    ends = offsets[0] + layer.get_width(), offsets[1] + layer.get_height()
    width, height = (
        rounded(end * new / old) - rounded(offset * new / old)
        for offset, end, old, new in zip(offsets, ends, before, after, strict=True)
    )
    return width, height


def _fetch(part: Part, order: Order, progress) -> None:
    """Sends a part's pixels to the engine and keeps the result in it."""

    def reading() -> None:
        progress("Reading the layer", 0.0)

    def beat(state: str, share: float) -> None:
        progress(courier.WORDS.get(state, "Restoring"), share)

    data = read(part.layer, part.encoding, part.rect, reading)
    beyond = None
    if part.encoding.dtype == "f32":
        beyond = Range(data, part.encoding, reading)
        data = data if beyond.is_plain else beyond.narrow(data, reading)
    shape = part.rect[3], part.rect[2], part.encoding.channels
    part.data, _ = courier.restore(
        data, shape, part.encoding.dtype, beat, order.device, size=part.size, **order.engine_options()
    )
    if beyond is not None and not beyond.is_plain:
        part.data = beyond.widen(part.data, lambda: progress("Restoring", 1.0))


def _share_of(parts: list[Part], number: int, progress):
    """Progress of one part as progress of all, by the pixels that the engine makes."""
    pixels = [part.size[0] * part.size[1] for part in parts]
    before, whole = sum(pixels[:number]), sum(pixels)
    which = f" (layer {number + 1} of {len(parts)})" if len(parts) > 1 else ""
    return lambda words, share: progress(words + which, (before + share * pixels[number]) / whole)


def _apply(image, parts: list[Part], order: Order, progress) -> tuple:
    """Puts the results into the image, or into a copy of it, as one step of undo."""
    where = image.duplicate() if order.result == "new-image" else image
    notes = []
    if where is image:
        image.undo_group_start()
    else:
        where.undo_disable()
    Gimp.context_push()
    try:
        # What the engine does not draw, GIMP does.
        Gimp.context_set_interpolation(Gimp.InterpolationType.CUBIC)
        if where.get_base_type() == Gimp.ImageBaseType.INDEXED:
            where.convert_rgb()
            notes.append("The image had a palette, which cannot hold the result: it is RGB now.")
        put = _put_layer if order.result == "layer" else _put_image
        layers = put(where, parts, order, lambda: progress("Taking the result", 1.0))
    except BaseException:
        if where is not image:
            where.delete()
        raise
    finally:
        Gimp.context_pop()
        if where is image:
            image.undo_group_end()
    if where is not image:
        where.undo_enable()
    return where, layers, notes


def _put_image(image, parts: list[Part], order: Order, on_strip) -> list:
    """Scales the image and replaces the pixels of the restored layers."""
    if parts[0].number < 0:
        targets = [image.merge_visible_layers(Gimp.MergeType.CLIP_TO_IMAGE)]
    else:
        every = flat(image.get_layers())
        targets = [every[part.number] for part in parts]
    size = order.size(image.get_width(), image.get_height())
    on_strip()
    if size == (image.get_width(), image.get_height()):
        for layer, part in zip(targets, parts, strict=True):
            write(layer.get_shadow_buffer(), part.encoding, part.rect, part.data, on_strip)
            # Within the selection, and with a step of undo.
            layer.merge_shadow(True)
            on_strip()
            layer.update(*part.rect)
        return targets
    bare = [layer for layer in targets if layer.get_mask() is None and not layer.get_filters()]
    for layer in bare:
        # Scaling pixels that are replaced a moment later takes GIMP most of the time.
        layer.resize(1, 1, 0, 0)
        on_strip()
    image.scale(*size)
    on_strip()
    for layer, part in zip(targets, parts, strict=True):
        if (layer.get_width(), layer.get_height()) != part.size:
            layer.resize(*part.size, 0, 0)
            on_strip()
        write(layer.get_buffer(), part.encoding, (0, 0, *part.size), part.data, on_strip)
        layer.update(0, 0, *part.size)
    return targets


def _put_layer(image, parts: list[Part], order: Order, on_strip) -> list:
    """Adds a layer above each restored one."""
    every = flat(image.get_layers())
    kinds = {1: Gimp.ImageType.GRAY_IMAGE, 2: Gimp.ImageType.GRAYA_IMAGE, 3: Gimp.ImageType.RGB_IMAGE}
    made = []
    for part in parts:
        below = every[part.number] if part.number >= 0 else None
        name = f"{below.get_name()} restored" if below else "Visible restored"
        kind = kinds.get(part.encoding.channels, Gimp.ImageType.RGBA_IMAGE)
        layer = Gimp.Layer.new(image, name, *part.size, kind, 100.0, Gimp.LayerMode.NORMAL)
        on_strip()
        write(layer.get_buffer(), part.encoding, (0, 0, *part.size), part.data, on_strip)
        parent = below.get_parent() if below else None
        image.insert_layer(layer, parent, image.get_item_position(below) if below else 0)
        _, x, y = below.get_offsets() if below else (True, 0, 0)
        layer.set_offsets(x + part.rect[0], y + part.rect[1])
        if order.size(image.get_width(), image.get_height()) == (image.get_width(), image.get_height()) and not (
            Gimp.Selection.is_empty(image)
        ):
            layer.add_mask(layer.create_mask(Gimp.AddMaskType.SELECTION))
        layer.update(0, 0, *part.size)
        made.append(layer)
    return made
