"""Where the result is a new layer or only some layers are meant: their places, their masks, and what is merged."""

from __future__ import annotations

import pytest

from .conftest import FULL, RealGimp

pytestmark = pytest.mark.usefixtures("engine")


def test_a_new_layer_leaves_the_others_alone(gimp: RealGimp) -> None:
    code = """
image = new_image(40, 30); layer = add_layer(image, "photo", (10, 10), at=(7, 5))
before = state(image)
result = call(image, result="layer", only_artifacts=True, model="copy")
new, old = image.get_layers()
answer = [new.get_name(), result["layer"] == new, size(new), place(new), pixels(new, None) == pixels(old, None)]
image.remove_layer(new)
answer.append(state(image) == before)
"""
    assert gimp.do(code) == ["photo restored", True, [10, 10], [7, 5], True, True]


def test_a_new_layer_of_a_selection_has_a_mask(gimp: RealGimp) -> None:
    code = """
image = new_image(40, 30); layer = add_layer(image)
image.select_rectangle(Gimp.ChannelOps.REPLACE, 10, 10, 20, 10)
new = call(image, result="layer", only_artifacts=True, model="copy")["layer"]
x, y = place(new)
answer = [pixels(new.get_mask(), "Y u8", (px - x, 12 - y, 1, 1))[0] for px in (5, 12)]
"""
    assert gimp.do(code) == [0, 255]


def test_a_new_layer_has_its_place_in_a_group_of_locked_position_too(gimp: RealGimp) -> None:
    code = """
image = new_image(40, 30); group = Gimp.GroupLayer.new(image); image.insert_layer(group, None, 0)
add_layer(image, "photo", (10, 10), at=(7, 5), parent=group); group.set_lock_position(True)
result = call(image, [group.get_children()[0]], result="layer", only_artifacts=True, model="copy")
answer = [result["status"], place(group.get_children()[0]), len(group.get_children())]
"""
    assert gimp.do(code) == ["success", [7, 5], 2]


@pytest.mark.parametrize("base", ["RGB", "GRAY"])
def test_merged_loses_nothing_below_a_group_that_passes_through(gimp: RealGimp, base: str) -> None:
    code = f"""
image = new_image(40, 30, {base!r}); add_layer(image, "below", (30, 20), alpha=True, at=(4, 3)).set_opacity(60)
group = Gimp.GroupLayer.new(image); image.insert_layer(group, None, 0)
group.set_mode(Gimp.LayerMode.PASS_THROUGH); add_layer(image, "inner", (12, 9), at=(10, 5), parent=group)
seen = Gimp.Layer.new_from_visible(image, new_image(40, 30, {base!r}), "seen")
result = call(image, layers="merged", only_artifacts=True, model="copy")
layer, = image.get_layers()
answer = [result["status"], size(layer), place(layer), pixels(layer, "R'G'B'A u8") ==
    pixels(seen, "R'G'B'A u8", (4, 3, 30, 20))]
"""
    assert gimp.do(code) == ["success", [30, 20], [4, 3], True]


def test_new_layers_fit_each_other(gimp: RealGimp) -> None:
    """Wherever they lie: their common corner stays, which need not be a corner of any of them."""
    code = """
image = new_image(40, 40)
a = add_layer(image, "a"); b = add_layer(image, "b", (10, 10), at=(20, 10))
results = [call(image, [a, b], layers="chosen", result="layer", scale=2.0, model="copy")]
answer = [[(x.get_name(), size(x), place(x)) for x in image.get_layers()]]
image = new_image(40, 40)
left = add_layer(image, "left", (13, 9), at=(-5, 7)); right = add_layer(image, "right", (20, 9), at=(8, 3))
results.append(call(image, [left, right], layers="chosen", result="layer", scale=1.375, model="copy"))
answer.append([(x.get_name(), size(x), place(x)) for x in image.get_layers()[::2]])
image = new_image(40, 40); layer = add_layer(image, "alone", (10, 10), at=(20, 10))
results.append(call(image, [layer], layers="chosen", result="layer", scale=2.0, model="copy"))
answer += [place(image.get_layers()[0]), [x["status"] for x in results]]
"""
    fitting, touching, alone, statuses = gimp.do(code)
    assert statuses == ["success"] * 3
    assert fitting == [
        ["b restored", [20, 20], [40, 20]],
        ["b", [10, 10], [20, 10]],
        ["a restored", [80, 80], [0, 0]],
        ["a", [40, 40], [0, 0]],
    ]
    # The edge at 8 comes to 11 and the one at -5 to -7, so they are 18 apart, and 12.375 is 12.
    assert touching == [["right restored", [28, 13], [13, 3]], ["left restored", [18, 12], [-5, 9]]]
    assert alone == [20, 10]


def test_merged_is_what_is_seen(gimp: RealGimp) -> None:
    code = """
seen = image.duplicate()
seen = seen.merge_visible_layers(Gimp.MergeType.CLIP_TO_IMAGE)
Gimp.Selection.none(image)
result = call(image, layers="merged", result="new-image", only_artifacts=True, model="copy")
new = result["image"].get_layers()
answer = [[x.get_name() for x in new if x.get_visible()] != [], len(image.get_layers()),
    pixels(result["layer"], "R'G'B'A u8") == pixels(seen, "R'G'B'A u8")]
"""
    assert gimp.do(FULL + code) == [True, 5, True]


def test_what_is_visible_has_its_place_as_a_new_layer_too(gimp: RealGimp) -> None:
    """What is visible may leave edges of the image empty; the selection may leave out more."""
    code = """
image = new_image(300, 200); add_layer(image, size=(5, 6), at=(30, 20)); add_layer(image, size=(200, 20), at=(90, 40))
results = [call(image, layers="merged", result="layer", only_artifacts=True, model="copy")]
image.remove_layer(results[0]["layer"])
image.select_rectangle(Gimp.ChannelOps.REPLACE, 200, 40, 10, 10)
results.append(call(image, layers="merged", result="layer", only_artifacts=True, model="copy"))
new, old = image.get_layers()[0], image.get_layers()[1]
x, y = place(new)
answer = [[one["status"] for one in results], x, y, pixels(new, "R'G'B' u8", (210 - x, 45 - y, 9, 9)) ==
    pixels(old, "R'G'B' u8", (210 - 90, 45 - 40, 9, 9))]
"""
    assert gimp.do(code) == [["success", "success"], 136, 20, True]


def test_chosen_layers_are_restored_and_gimp_scales_the_others(gimp: RealGimp) -> None:
    code = """
image = new_image(20, 20); other = add_layer(image, "other"); layer = add_layer(image, "layer")
result = call(image, [layer], layers="chosen", scale=2.0, model="copy")
wide = pixels(layer, "R'G'B' u8"), pixels(other, "R'G'B' u8")
twice = [all(row[n:n+3] == row[n+3:n+6] for n in range(0, 120, 6)) for row in (wide[0][:120], wide[1][:120])]
answer = [size(layer), size(other), twice]
"""
    assert gimp.do(code) == [[40, 40], [40, 40], [True, False]]


def test_what_the_layers_are_called_holds_for_every_result(gimp: RealGimp) -> None:
    """Nothing is scaled by GIMP where the result is a new layer, and where the image keeps its size."""
    code = """
procedure = Gimp.get_pdb().lookup_procedure("plug-in-liif-restore")
choice = Gimp.param_spec_choice_get_choice(procedure.find_argument("layers"))
answer = {name: choice.get_label(name) for name in choice.list_nicks()}
"""
    assert gimp.do(code) == {
        "every": "Every layer by itself",
        "chosen": "Only the chosen layers",
        "merged": "What is visible, merged into one",
    }


def test_an_active_mask_means_its_layer(gimp: RealGimp) -> None:
    code = """
image = new_image(9, 9); layer = add_layer(image, alpha=True)
mask = layer.create_mask(Gimp.AddMaskType.WHITE); layer.add_mask(mask)
result = call(image, [mask], layers="chosen", model="copy")
answer = [result["status"], size(layer), size(layer.get_mask())]
"""
    assert gimp.do(code) == ["success", [18, 18], [18, 18]]
