"""The plug-in's face in GIMP 2.10, through gimpfu: 8 bits, no preview; Python 2.7."""

from __future__ import absolute_import, division, print_function

import os

import client
import courier
import gimp
import gimpfu

CHANGED = "The image was changed while the engine worked, so it is left as it is: run the filter again"

NAME = "python-fu-liif-restore"
TITLE = "Restore and Enlarge (LIIF)"

#: What the radio buttons stand for, in their order.
RESULTS = ("image", "new-image")
DEVICES = ("auto", "cpu", "cuda", "mps")

#: gimpfu hands over pixels with 8 bits only, and these many channels by kind of layer.
CHANNELS = {
    gimpfu.RGB_IMAGE: 3,
    gimpfu.RGBA_IMAGE: 4,
    gimpfu.GRAY_IMAGE: 1,
    gimpfu.GRAYA_IMAGE: 2,
}


def restore(image, drawable, scale=2.0, only_artifacts=False, model="auto", device=0, result=0):
    """What the menu and the procedure call; errors go to the user in words."""
    try:
        _restore(image, drawable, scale, only_artifacts, model, DEVICES[int(device)], RESULTS[int(result)])
    except client.Cancelled:
        return  # whoever waited for it has closed the image
    except client.ServiceError as error:
        words = error.explain()
        gimpfu.pdb.gimp_message(words[:1].upper() + words[1:])


def _restore(image, drawable, scale, only_artifacts, model, device, result):
    refusal = _refusal(image, drawable)
    if refusal:
        gimpfu.pdb.gimp_message(refusal)
        return
    scale = 1.0 if only_artifacts else float(scale)
    size = int(image.width * scale + 0.5), int(image.height * scale + 0.5)
    layers = [layer for layer in _flat(image.layers) if not _is_special(layer)]
    if scale == 1:
        layers = [drawable]
    factors = float(size[0]) / image.width, float(size[1]) / image.height
    gimp.progress_init(TITLE)
    before, answers, seen = _outline(image), [], []
    for number, layer in enumerate(layers):
        data = _pixels(layer)
        seen.append(hash(data))
        answers.append(_ask(layer, data, factors, model, device, _progress(image, number, len(layers))))
        _check_open(image)
        if _outline(image) != before:
            gimpfu.pdb.gimp_message(CHANGED)
            return
    # GIMP lets people go on painting meanwhile, which must not be lost.
    if result == "image" and [hash(_pixels(layer)) for layer in layers] != seen:
        gimpfu.pdb.gimp_message(CHANGED)
        return
    _apply(image, layers, answers, size, result)


def _refusal(image, drawable):
    """Why it cannot be done, or None."""
    if gimpfu.pdb.gimp_image_get_precision(image) not in (100, 150):
        return "GIMP 2.10 hands over 8 bits only: use Image > Precision > 8 bit integer, or GIMP 3."
    if gimpfu.pdb.gimp_image_get_floating_sel(image):
        return "There is a floating selection: anchor it first."
    if not gimpfu.pdb.gimp_item_is_layer(drawable) or _is_special(drawable):
        return "Choose a layer with a picture: masks, channels, groups and text are not restored."
    for layer in _flat(image.layers):
        if gimpfu.pdb.gimp_item_get_lock_content(layer):
            return "The pixels of %s are locked: unlock them in the Layers dialog." % layer.name
    if image.base_type == gimpfu.INDEXED:
        return "The image has a palette, which cannot hold the result: use Image > Mode > RGB first."
    return None


def _flat(layers):
    """All layers, groups and what is in them too."""
    found = []
    for layer in layers:
        found.append(layer)
        if gimpfu.pdb.gimp_item_is_group(layer):
            found.extend(_flat(layer.children))
    return found


def _is_special(layer):
    return gimpfu.pdb.gimp_item_is_group(layer) or gimpfu.pdb.gimp_item_is_text_layer(layer)


def _outline(image):
    """What must be the same before the engine's work and after it, for its results to fit; all but the pixels."""
    places = [
        (one.ID, one.type, one.width, one.height, tuple(one.offsets), gimpfu.pdb.gimp_item_get_lock_content(one))
        for one in _flat(image.layers)
    ]
    selection = tuple(gimpfu.pdb.gimp_selection_bounds(image))
    size = image.width, image.height, image.base_type, gimpfu.pdb.gimp_image_get_precision(image)
    return size, places, selection


def _pixels(layer):
    """A layer's bytes as they are now; an object that was read from before would tell the old ones."""
    fresh = gimp._id2drawable(layer.ID)
    region = fresh.get_pixel_rgn(0, 0, fresh.width, fresh.height, False, False)
    return region[0 : fresh.width, 0 : fresh.height]


def _check_open(image):
    """Ends the work without a word where the image was closed."""
    if not gimpfu.pdb.gimp_image_is_valid(image):
        raise client.Cancelled("the image was closed")


def _progress(image, number, count):
    """Takes a layer's progress for progress of all."""

    def beat(_state, share):
        _check_open(image)
        gimp.progress_update((number + share) / count)

    return beat


def _ask(layer, data, factors, model, device, beat):
    """The engine's answer to one layer: (bytes, (height, width, channels))."""
    x, y = layer.offsets
    across, down = factors
    target = (
        _round((x + layer.width) * across) - _round(x * across),
        _round((y + layer.height) * down) - _round(y * down),
    )
    shape = layer.height, layer.width, CHANNELS[layer.type]
    options = {"size": target, "priority": "person", "model": os.path.expanduser(model) or None}
    return courier.restore(data, shape, "u8", beat, device, **options)


def _apply(image, layers, answers, size, result):
    """Puts the answers into the image or a copy of it, in one step of undo."""
    places = [_flat(image.layers).index(layer) for layer in layers]
    where = image.duplicate() if result == "new-image" else image
    targets = [_flat(where.layers)[place] for place in places]
    where.undo_group_start()
    try:
        grows = size != (where.width, where.height)
        if grows:
            gimpfu.pdb.gimp_image_scale(where, *size)
        for layer, (data, shape) in zip(targets, answers):
            _write(layer, data, shape, not grows)
    finally:
        where.undo_group_end()
    if where is not image:
        gimp.Display(where)
    gimp.displays_flush()


def _write(layer, data, shape, selected_only):
    """Pixels into a layer: within the selection and as a step of undo, or, once scaling has made one, directly."""
    height, width = shape[:2]
    # After a scale the old object still tells the old size.
    layer = gimp._id2drawable(layer.ID)
    if (layer.width, layer.height) != (width, height):
        layer.resize(width, height, 0, 0)
        layer = gimp._id2drawable(layer.ID)
    region = layer.get_pixel_rgn(0, 0, width, height, selected_only, selected_only)
    region[0:width, 0:height] = data
    layer.flush()
    if selected_only:
        layer.merge_shadow(True)
    layer.update(0, 0, width, height)


def _round(value):
    return int(value + 0.5) if value >= 0 else -int(0.5 - value)


def main():
    """Hands over to GIMP."""
    gimpfu.register(
        NAME,
        "Removes the damage of JPEG compression and enlarges, with a neural network",
        "Sends the layers to the liif-restore engine on this machine and takes its result. 8 bits only.",
        "the authors of liif-restore",
        "BSD-3-Clause",
        "2026",
        TITLE + "...",
        "RGB*, GRAY*, INDEXED*",
        [
            (gimpfu.PF_IMAGE, "image", "Image", None),
            (gimpfu.PF_DRAWABLE, "drawable", "Layer", None),
            (gimpfu.PF_SPINNER, "scale", "Scale", 2.0, (1.0, 16.0, 0.5)),
            (gimpfu.PF_TOGGLE, "only-artifacts", "Only remove artifacts, in the selection", False),
            (gimpfu.PF_STRING, "model", "Model (auto, auto+, web, fast, published, or a path)", "auto"),
            (gimpfu.PF_OPTION, "device", "Device", 0, DEVICES),
            (gimpfu.PF_OPTION, "result", "Result", 0, ("This image", "A new image")),
        ],
        [],
        restore,
        menu="<Image>/Filters/Enhance",
    )
    gimpfu.main()
