"""What the plug-in does with an image: look at it, have the engine restore its layers, and only then change it."""

from __future__ import annotations

import change_image
import courier
from gi.repository import Gimp
from layer_pixels import Encoding, Range, read
from order import Order, Refusal
from parts import Part, flat, is_any_seen, merge_visible, outline, takes_pixels, visible_bounds, with_groups
from tell import check_open

#: Pixels around the selection that the engine sees too, so that the result inside is that of the whole image; the
#: network looks 36 pixels far.
MARGIN_PIXELS = 64

OUTSIDE = "The selection lies outside %s: select another part, or nothing for all of it"

CHANGED = "The image was changed while the engine worked, so it is left as it is: run the filter again"


def restore(image, drawables, order: Order, progress) -> tuple:
    """Restores an image as ordered; it is left as it was if anything fails.

    Args:
        image, drawables: as GIMP gives them to a procedure.
        order: what is wanted.
        progress: called with words and the share done, at least every 0.2 s but for GIMP's own single calls; what it
            raises ends the work; its `end` is called when all that is left to do is to change the image.

    Returns:
        (the image that has the result, its restored layers, notes for the user).

    Raises:
        Refusal, client.ServiceError: in words for people.
        client.Cancelled: the image was closed.
    """
    check_open(image)
    before = outline(image)
    parts = [_merged_part(image, order)] if order.layers == "merged" else _parts(image, drawables, order)
    for number, part in enumerate(parts):
        # One that was deleted meanwhile has no pixels to read.
        _check_outline(image, before)
        _fetch(part, order, _share_of(parts, number, progress))
    _check_unchanged(image, before, parts, order, progress)
    is_ready = change_image.prepare(image, parts, order, lambda: progress("Taking the result", 1.0))
    # Between the strips of a large image GIMP has let people go on.
    _check_outline(image, before)
    return change_image.change(image, parts, order, progress, is_ready)


def check(image, drawables, order: Order) -> None:
    """Refuses layers that `restore` would refuse; so quick that a dialog may ask at each turn of a wheel.

    Args:
        image, drawables, order: as `restore` takes them.

    Raises:
        Refusal: in words for people.
    """
    if order.layers == "merged":
        _check_merged(image, order)
    else:
        _wanted(image, drawables, order)


def check_visible(image) -> None:
    """Refuses an image of which GIMP cannot merge what is visible."""
    _check_image(image, flat(image.get_layers()))
    if not any(layer.get_visible() for layer in image.get_layers()):
        raise Refusal("No layer is visible: show the layers that are to be restored")
    if not is_any_seen(image):
        raise Refusal("What is visible lies outside the image: move it inside, or use Image > Fit Canvas to Layers")


def _check_merged(image, order: Order) -> None:
    """Refuses to merge what is visible where GIMP cannot, or where nothing of it is selected."""
    check_visible(image)
    x, y, width, height = visible_bounds(image)
    _, some, left, top, right, bottom = Gimp.Selection.bounds(image)
    is_met = left < x + width and right > x and top < y + height and bottom > y
    if change_image.keeps_size(image, order) and some and not is_met:
        raise Refusal(OUTSIDE % "what is visible")


def _wanted(image, drawables, order: Order) -> tuple[list, list]:
    """All layers of the image, and those to be restored, checked."""
    every = flat(image.get_layers())
    _check_image(image, every)
    wants_all = order.layers == "every"
    chosen = [layer for layer in every if takes_pixels(layer)] if wants_all else _chosen(drawables, every)
    if not chosen:
        links = [layer for layer in every if layer.__gtype__.name == "GimpLinkLayer"]
        raise Refusal(_why_drawn(links[0]) if links else "No layer holds pixels: choose a layer with a picture")
    for layer in chosen if order.result != "new-image" else []:
        # A new layer is written into the group of the old one.
        _check_lock(layer if order.result == "image" else layer.get_parent())
    if change_image.keeps_size(image, order) and not any(layer.mask_intersect()[0] for layer in chosen):
        raise Refusal(OUTSIDE % "the layers")
    return every, chosen


def _parts(image, drawables, order: Order) -> list[Part]:
    """What is to be restored of each layer."""
    every, chosen = _wanted(image, drawables, order)
    parts = [_part(image, layer, every.index(layer), order) for layer in chosen]
    return [part for part in parts if part is not None]


def _check_image(image, every) -> None:
    if not every:
        raise Refusal("The image has no layers: add a layer with a picture first")
    if image.get_floating_sel() is not None:
        raise Refusal("There is a floating selection: anchor it first (Layer > Anchor Floating Selection)")


def _chosen(drawables, every) -> list:
    """The layers meant by what is active, which may be a mask, a channel or a group."""
    found = []
    # One that was deleted while the dialog was open is none any more.
    for one in filter(Gimp.Item.is_valid, drawables):
        layer = Gimp.Layer.from_mask(one) if one.is_layer_mask() else one
        if not layer.is_layer():
            raise Refusal(f"“{one.get_name()}” is a channel: choose a layer")
        if layer not in every:
            raise Refusal(f"“{layer.get_name()}” is not in this image: choose layers of the image that is restored")
        if layer.is_group():
            raise Refusal(f"“{layer.get_name()}” is a layer group: choose layers in it, or restore every layer")
        if not takes_pixels(layer):
            raise Refusal(_why_drawn(layer))
        if layer not in found:
            found.append(layer)
    return found


def _why_drawn(layer) -> str:
    """Why a layer is refused that GIMP draws, in words for people."""
    if layer.__gtype__.name == "GimpLinkLayer":
        return f"“{layer.get_name()}” is a link to a file: restore that file, or use Layer > Rasterize first"
    return f"“{layer.get_name()}” is a text or vector layer, which GIMP itself scales without loss"


def _check_lock(layer) -> None:
    """Refuses what GIMP would end the plug-in for."""
    for one in with_groups(layer):
        if one.get_lock_content():
            raise Refusal(f"The pixels of “{one.get_name()}” are locked: unlock them in the Layers dialog")


def _part(image, layer, number: int, order: Order) -> Part | None:
    """The layer's part; None if the selection leaves nothing of it to be restored."""
    width, height = layer.get_width(), layer.get_height()
    size = _size_in(image, layer, order)
    rect = (0, 0, width, height)
    # Not where the layer alone keeps its size, by rounding, in an image that grows: then all of it is replaced.
    if change_image.keeps_size(image, order):
        touched, x, y, across, down = layer.mask_intersect()
        if not touched:
            return None
        left, top = max(0, x - MARGIN_PIXELS), max(0, y - MARGIN_PIXELS)
        right, bottom = min(width, x + across + MARGIN_PIXELS), min(height, y + down + MARGIN_PIXELS)
        rect = (left, top, right - left, bottom - top)
        size = rect[2:]
    return Part(layer, number, rect, size, Encoding(layer))


def _merged_part(image, order: Order) -> Part:
    """What is visible, read from a merged copy, since the image itself must stay.

    The copy is gone before there is a Cancel button: whoever pressed it while the copy exists would leave it behind.
    """
    _check_merged(image, order)
    copy = image.duplicate()
    try:
        part = _part(copy, merge_visible(copy), -1, order)
        _, x, y = part.layer.get_offsets()
        part.place = x, y
        part.sent, part.layer = read(part.layer, part.encoding, part.rect, lambda: None), None
    finally:
        copy.delete()
    return part


def _size_in(image, layer, order: Order) -> tuple[int, int]:
    """The layer's size when the image gets the size ordered."""
    whole = image.get_width(), image.get_height()
    _, x, y = layer.get_offsets()
    left, top = order.scaled((x, y), *whole)
    right, bottom = order.scaled((x + layer.get_width(), y + layer.get_height()), *whole)
    return right - left, bottom - top


def _fetch(part: Part, order: Order, progress) -> None:
    """Sends a part's pixels to the engine and keeps the result in it."""

    def reading() -> None:
        progress("Reading the layer", 0.0)

    def beat(state: str, share: float) -> None:
        progress(courier.WORDS.get(state, "Restoring"), share)

    data = part.sent or read(part.layer, part.encoding, part.rect, reading)
    part.sent, part.seen = b"", hash(data)
    beyond = None
    if part.encoding.dtype == "f32":
        name = f"“{part.layer.get_name()}”" if part.layer is not None else "What is visible"
        beyond = Range(data, part.encoding, name, reading)
        data = data if beyond.is_plain else beyond.narrow(data, reading)
    shape = part.rect[3], part.rect[2], part.encoding.channels
    part.data, _ = courier.restore(
        data, shape, part.encoding.dtype, beat, order.device, size=part.size, **order.engine_options()
    )
    if beyond is not None and not beyond.is_plain:
        part.data = beyond.widen(part.data, lambda: progress("Restoring", 1.0))


def _check_unchanged(image, before: tuple, parts: list[Part], order: Order, progress) -> None:
    """GIMP lets people go on painting while a plug-in works: what they have changed meanwhile must not be lost."""
    _check_outline(image, before)
    for part in parts if order.result == "image" else []:
        if part.layer is not None:
            data = read(part.layer, part.encoding, part.rect, lambda: progress("Taking the result", 1.0))
            if hash(data) != part.seen:
                raise Refusal(CHANGED)


def _check_outline(image, before: tuple) -> None:
    check_open(image)
    if outline(image) != before:
        raise Refusal(CHANGED)


def _share_of(parts: list[Part], number: int, progress):
    """Progress of one part as progress of all, by the pixels that the engine makes."""
    pixels = [part.size[0] * part.size[1] for part in parts]
    before, whole = sum(pixels[:number]), sum(pixels)
    which = f" (layer {number + 1} of {len(parts)})" if len(parts) > 1 else ""
    return lambda words, share: progress(words + which, (before + share * pixels[number]) / whole)
