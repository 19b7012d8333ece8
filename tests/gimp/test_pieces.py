"""Where the preview's pieces come from, in a real GIMP, without a window."""

from __future__ import annotations

import pytest

from .conftest import FULL, RealGimp

START = """
import sys
folder = os.environ["GIMP3_DIRECTORY"] + "/plug-ins/liif_restore"
sys.path[:0] = [] if folder in sys.path else [folder]
from order import Refusal
from parts import merge_visible
from pieces import OfLayer, OfVisible

def same(image, boxes):
    found = OfVisible(image)
    whole = image.duplicate()
    wanted = OfLayer(merge_visible(whole))
    assert found.bounds() == wanted.bounds(), (found.bounds(), wanted.bounds())
    pairs = [(found.read(*box), wanted.read(*box)) for box in boxes]
    assert any(any(one) for one, _ in pairs)
    return [one == other for one, other in pairs]
"""

PASSING = """
image = new_image(40, 30)
add_layer(image, "below", (30, 20), at=(4, 3)); add_layer(image, "outside", (9, 9), at=(-12, 3))
group = Gimp.GroupLayer.new(image); image.insert_layer(group, None, 0)
group.set_mode(Gimp.LayerMode.PASS_THROUGH); group.set_opacity(70)
inner = add_layer(image, "inner", (12, 9), alpha=True, at=(10, 5), parent=group)
inner.set_mode(Gimp.LayerMode.GRAIN_EXTRACT); inner.set_lock_content(True); group.set_lock_position(True)
image.select_rectangle(Gimp.ChannelOps.REPLACE, 8, 8, 20, 10)
group.add_mask(group.create_mask(Gimp.AddMaskType.SELECTION))
"""

PALETTE = """
image = new_image(40, 30); add_layer(image); add_layer(image, alpha=True, size=(20, 30), at=(9, 9))
image.convert_indexed(Gimp.ConvertDitherType.NONE, Gimp.ConvertPaletteType.GENERATE, 16, False, False, "")
"""


@pytest.mark.parametrize("make", [FULL, PASSING, PALETTE])
def test_a_piece_of_what_is_visible_is_that_of_all_of_it_merged(gimp: RealGimp, make: str) -> None:
    code = """
boxes = [(0, 0, 40, 30), (5, 4, 20, 20), (11, 9, 7, 6), (36, 26, 4, 4), (0, 0, 3, 2)]
count, said = len(Gimp.get_images()), state(image)
answer = [same(image, boxes), len(Gimp.get_images()) - count, state(image) == said]
"""
    # The merged one for comparison is the only image more.
    assert gimp.do(START + make + code) == [[True] * 5, 1, True]


def test_what_cannot_be_merged_is_refused(gimp: RealGimp) -> None:
    code = """
image = new_image(9, 9); one = add_layer(image, size=(5, 5))
found = OfVisible(image)
answer = [found.bounds()]
for change in (lambda: one.set_offsets(20, 0), lambda: one.set_visible(False), lambda: image.remove_layer(one)):
    change()
    try:
        found.bounds()
    except Refusal as refusal:
        answer.append(str(refusal))
"""
    bounds, outside, hidden, none = gimp.do(START + code)
    assert bounds == [0, 0, 5, 5]
    assert outside.startswith("What is visible lies outside the image")
    assert hidden.startswith("No layer is visible")
    assert none.startswith("The image has no layers")


def test_a_layer_that_lies_elsewhere_is_shown_from_its_own_place(gimp: RealGimp) -> None:
    code = """
image = new_image(40, 30); layer = add_layer(image, size=(10, 9), at=(-3, 25))
found = OfLayer(layer)
answer = [found.bounds(), found.read(-1, 26, 4, 3) == pixels(layer, "R'G'B'A u8", (2, 1, 4, 3))]
"""
    assert gimp.do(START + code) == [[-3, 25, 10, 9], True]
