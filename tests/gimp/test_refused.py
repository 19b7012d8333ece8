"""What cannot be done with an image is said, and nothing changes."""

from __future__ import annotations

import pytest

from .conftest import RealGimp

pytestmark = pytest.mark.usefixtures("engine")

REFUSED = {
    "no layers": ("image = new_image(9, 9)", {}, "The image has no layers"),
    "smaller": ("image = new_image(9, 9); add_layer(image)", {"width": 5}, "5x5 pixels is smaller than the image"),
    "locked": (
        "image = new_image(9, 9); add_layer(image, 'photo').set_lock_content(True)",
        {},
        "The pixels of “photo” are locked: unlock them",
    ),
    "locked group": (
        "image = new_image(9, 9); g = Gimp.GroupLayer.new(image); image.insert_layer(g, None, 0)\n"
        "add_layer(image, parent=g); g.set_name('box'); g.set_lock_content(True)",
        {},
        "The pixels of “box” are locked",
    ),
    "new layer in a locked group": (
        "image = new_image(9, 9); g = Gimp.GroupLayer.new(image); image.insert_layer(g, None, 0)\n"
        "add_layer(image, parent=g); g.set_name('box'); g.set_lock_content(True)",
        {"result": "layer"},
        "The pixels of “box” are locked",
    ),
    "group": (
        "image = new_image(9, 9); g = Gimp.GroupLayer.new(image); image.insert_layer(g, None, 0); g.set_name('box')\n"
        "add_layer(image, parent=g); image.set_selected_layers([g])",
        {"layers": "chosen"},
        "“box” is a layer group",
    ),
    "only groups": (
        "image = new_image(9, 9); image.insert_layer(Gimp.GroupLayer.new(image), None, 0)",
        {},
        "No layer holds pixels",
    ),
    "floating": (
        "image = new_image(9, 9); layer = add_layer(image)\n"
        "image.select_rectangle(Gimp.ChannelOps.REPLACE, 1, 1, 4, 4); Gimp.edit_copy([layer])\n"
        "Gimp.edit_paste(layer, False)",
        {},
        "There is a floating selection: anchor it first",
    ),
    "hidden": (
        "image = new_image(9, 9); add_layer(image).set_visible(False)",
        {"layers": "merged"},
        "No layer is visible",
    ),
    "off the image": (
        "image = new_image(9, 9); add_layer(image, size=(5, 5), at=(20, 0)); add_layer(image).set_visible(False)",
        {"layers": "merged"},
        "What is visible lies outside the image",
    ),
    "another image's": (
        "image = new_image(9, 9); layer = add_layer(image); strange = add_layer(new_image(5, 5), 'strange')\n"
        "image.get_selected_drawables = lambda: [strange]",
        {"layers": "chosen"},
        "“strange” is not in this image",
    ),
    "elsewhere": (
        "image = new_image(40, 9); add_layer(image, 'x', (9, 9))\n"
        "image.select_rectangle(Gimp.ChannelOps.REPLACE, 20, 1, 4, 4)",
        {"only_artifacts": True},
        "The selection lies outside the layers",
    ),
    "no such model": ("image = new_image(9, 9); add_layer(image)", {"model": "broken"}, "no such library"),
    "fault": ("image = new_image(9, 9); add_layer(image)", {"model": "refuse"}, "infinities"),
    "crash": ("image = new_image(9, 9); add_layer(image)", {"model": "crash"}, "worker"),
    "device": ("image = new_image(9, 9); add_layer(image)", {"device": "cuda"}, "liif serve --device cuda"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_done_is_said_and_nothing_changes(gimp: RealGimp, case: str) -> None:
    make, options, words = REFUSED[case]
    options = {"model": "copy", **options}
    code = f"""
{make}
before = state(image)
result = call(image, **{options!r})
answer = [result["status"], result.get("error"), state(image) == before]
"""
    status, error, unchanged = gimp.do(code)
    assert status == "execution-error"
    assert words in error
    assert "Traceback" not in error
    assert unchanged
