"""Takes the engine's results into the image: all that can be prepared unseen first, then the change, without Cancel.

GIMP's Cancel kills a plug-in where it stands, and what it has changed so far stays. So there is no Cancel any more from
the moment at which the image begins to change: `Gimp.progress_end` takes the button away, and the bar with it.
"""

from __future__ import annotations

from gi.repository import Gimp
from layer_pixels import write
from order import Order
from parts import Part, flat, is_drawn, merge_visible, with_groups


def change(image, parts: list[Part], order: Order, progress, is_ready: bool) -> tuple:
    """Puts the results into the image, or into a copy of it, as one step of undo.

    Args:
        image: the image.
        parts: with their results.
        order: what is wanted.
        progress: as in `restore_image.restore`; its `end` is called before anything is changed.
        is_ready: whether `prepare` has put the results where they are only to be taken.

    Returns:
        (the image that has the result, its restored layers, notes for the user).
    """
    progress.end()
    where = image.duplicate() if order.result == "new-image" else image
    notes, locked = [], []
    if where is image:
        image.undo_group_start()
    else:
        where.undo_disable()
        locked = _unlock(where)
    Gimp.context_push()
    try:
        # What the engine does not draw, GIMP does.
        Gimp.context_set_interpolation(Gimp.InterpolationType.CUBIC)
        if where.get_base_type() == Gimp.ImageBaseType.INDEXED:
            where.convert_rgb()
            rgb = "it is RGB now" if where is image else "the new image is RGB"
            notes.append(f"The image had a palette, which cannot hold the result: {rgb}.")
        if order.result == "layer":
            layers = _add_layers(where, parts, order)
        else:
            layers = _replace_pixels(where, parts, order, is_ready)
    except BaseException:
        if where is not image:
            where.delete()
        raise
    finally:
        Gimp.context_pop()
        if where is image:
            image.undo_group_end()
    if where is not image:
        for one in locked:
            if one.is_valid():
                one.set_lock_content(True)
        where.undo_enable()
    return where, layers, notes


def _unlock(image) -> list:
    """Unlocks the pixels of our own copy, since GIMP ends a plug-in that writes to locked ones; what was locked."""
    locked = [one for one in flat(image.get_layers()) if one.get_lock_content()]
    for one in locked:
        one.set_lock_content(False)
    return locked


def prepare(image, parts: list[Part], order: Order, on_strip) -> bool:
    """Writes the results into shadow buffers, which nobody sees and which GIMP frees with the plug-in, where it can.

    It cannot where the layers change first: to another size, another kind of pixels, merged or copied.
    """
    keeps_layers = order.result == "image" and image.get_base_type() != Gimp.ImageBaseType.INDEXED
    if not keeps_layers or not keeps_size(image, order) or parts[0].layer is None:
        return False
    for part in parts:
        write(part.layer.get_shadow_buffer(), part.encoding, part.rect, part.data, on_strip)
    return True


def keeps_size(image, order: Order) -> bool:
    """Whether the image is as large afterwards; only then the selection matters."""
    size = image.get_width(), image.get_height()
    return order.size(*size) == size


def _replace_pixels(image, parts: list[Part], order: Order, is_ready: bool) -> list:
    """Scales the image and replaces the pixels of the restored layers; those in shadow buffers are only taken."""
    if parts[0].layer is None:
        targets = [merge_visible(image)]
    else:
        every = flat(image.get_layers())
        targets = [every[part.number] for part in parts]
    if keeps_size(image, order):
        for layer, part in zip(targets, parts, strict=True):
            if not is_ready:
                write(layer.get_shadow_buffer(), part.encoding, part.rect, part.data, lambda: None)
            # Within the selection, and with a step of undo.
            layer.merge_shadow(True)
            layer.update(*part.rect)
        return targets
    shrunk = [layer for layer in targets if _may_shrink(layer)]
    for layer in shrunk:
        # Scaling pixels that are replaced a moment later takes GIMP most of the time.
        layer.resize(1, 1, 0, 0)
    image.scale(*order.size(image.get_width(), image.get_height()))
    for layer, part in zip(targets, parts, strict=True):
        if layer in shrunk:
            layer.resize(*part.size, 0, 0)
        # Others may differ by a pixel, as GIMP rounds in groups; then what fits is written.
        _fill(layer, part)
    return targets


def _may_shrink(layer) -> bool:
    """Whether nothing is lost with all but one of its pixels, and GIMP allows it.

    Masks are cut with what they mask, also that of a group around it; filters may depend on the size; and in Python
    some that GIMP has drawn once take no such call.
    """
    if is_drawn(layer) or layer.get_filters():
        return False
    return not any(one.get_mask() or one.get_lock_position() for one in with_groups(layer))


def _places(image, every: list, parts: list[Part], order: Order) -> list[tuple[int, int]]:
    """Where the new layers go: they fit each other as in the enlarged image, and their common corner stays."""
    whole = image.get_width(), image.get_height()
    found = [every[part.number].get_offsets()[1:] if part.layer is not None else part.place for part in parts]
    corner = min(x for x, _ in found), min(y for _, y in found)
    left, top = order.scaled(corner, *whole)
    places = []
    for part, point in zip(parts, found, strict=True):
        x, y = order.scaled(point, *whole)
        # Of a selection only a part is restored, and then nothing grows.
        places.append((corner[0] + x - left + part.rect[0], corner[1] + y - top + part.rect[1]))
    return places


def _add_layers(image, parts: list[Part], order: Order) -> list:
    """Adds a layer above each restored one."""
    every = flat(image.get_layers())
    kinds = {1: Gimp.ImageType.GRAY_IMAGE, 2: Gimp.ImageType.GRAYA_IMAGE, 3: Gimp.ImageType.RGB_IMAGE}
    made = []
    for part, place in zip(parts, _places(image, every, parts, order), strict=True):
        below = every[part.number] if part.layer is not None else None
        name = f"{below.get_name()} restored" if below else "Visible restored"
        kind = kinds.get(part.encoding.channels, Gimp.ImageType.RGBA_IMAGE)
        layer = Gimp.Layer.new(image, name, *part.size, kind, 100.0, Gimp.LayerMode.NORMAL)
        parent = below.get_parent() if below else None
        # Before it is in a group, whose position may be locked.
        layer.set_offsets(*place)
        image.insert_layer(layer, parent, image.get_item_position(below) if below else 0)
        if keeps_size(image, order) and not Gimp.Selection.is_empty(image):
            layer.add_mask(layer.create_mask(Gimp.AddMaskType.SELECTION))
        _fill(layer, part)
        made.append(layer)
    return made


def _fill(layer, part: Part) -> None:
    """Writes the result into a layer of its size."""
    write(layer.get_buffer(), part.encoding, (0, 0, *part.size), part.data, lambda: None)
    # Once: to have every strip drawn as it comes makes the whole four times as slow.
    layer.update(0, 0, *part.size)
