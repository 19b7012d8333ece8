"""What becomes of an image around the restored pixels: layers, masks, selection, guides; and what is refused."""

from __future__ import annotations

import pytest

from .conftest import RealGimp

pytestmark = pytest.mark.usefixtures("engine")

#: An image with everything that must keep its place when it is enlarged.
FULL = """
image = new_image(40, 30)
below = add_layer(image, "below")
above = add_layer(image, "above", (11, 7), alpha=True, at=(5, 3))
above.set_opacity(60); above.set_mode(Gimp.LayerMode.MULTIPLY)
masked = add_layer(image, "masked", alpha=True)
image.select_rectangle(Gimp.ChannelOps.REPLACE, 10, 10, 20, 10)
masked.add_mask(masked.create_mask(Gimp.AddMaskType.SELECTION))
group = Gimp.GroupLayer.new(image); image.insert_layer(group, None, 0); group.set_name("group")
inner = add_layer(image, "inner", (8, 8), at=(30, 20), parent=group)
hidden = add_layer(image, "hidden"); hidden.set_visible(False)
image.add_vguide(13)
path_ = Gimp.Path.new(image, "path"); image.insert_path(path_, None, 0)
path_.stroke_new_from_points(Gimp.PathStrokeType.BEZIER, [1., 2., 1., 2., 1., 2., 9., 8., 9., 8., 9., 8.], False)
"""


def test_everything_is_scaled_with_the_image(gimp: RealGimp) -> None:
    code = """
result = call(image, scale=2.0, model="copy")
assert result["status"] == "success", result
box = Gimp.Selection.bounds(image)
guide = image.get_guide_position(image.find_next_guide(0))
points = image.get_paths()[0].stroke_get_points(image.get_paths()[0].get_strokes()[0])[1]
answer = dict(image=size(image), names=[x.get_name() for x in image.get_layers()], sizes=[size(x) for x in
    (below, above, masked, inner, hidden)], places=[place(x) for x in (above, inner)], mask=size(masked.get_mask()),
    box=list(box)[2:], guide=guide, points=list(points[:2]), opacity=above.get_opacity(), mode=above.get_mode() ==
    Gimp.LayerMode.MULTIPLY, inside=[x.get_name() for x in group.get_children()],
    masked=[pixels(masked.get_mask(), "Y u8", (x, 24, 1, 1))[0] for x in (18, 22)])
"""
    found = gimp.do(FULL + code)
    # GIMP softens the selection's edge by a pixel when it enlarges it.
    assert all(abs(one - wanted) <= 1 for one, wanted in zip(found.pop("box"), (20, 20, 60, 40), strict=True))
    assert found == {
        "image": [80, 60],
        "names": ["hidden", "group", "masked", "above", "below"],
        "sizes": [[80, 60], [22, 14], [80, 60], [16, 16], [80, 60]],
        "places": [[10, 6], [60, 40]],
        "mask": [80, 60],
        "guide": 26,
        "points": [2, 4],
        "opacity": 60,
        "mode": True,
        "inside": ["inner"],
        "masked": [0, 255],
    }


GROUPED = """
image = new_image(41, 31)
group = Gimp.GroupLayer.new(image); image.insert_layer(group, None, 0)
image.select_rectangle(Gimp.ChannelOps.REPLACE, 10, 10, 20, 10)
inner = [add_layer(image, str(n), (7 + n, 5 + n), alpha=True, at=(3 * n + 1, 2 * n + 1), parent=group)
    for n in range(9)]
"""


def test_the_mask_of_a_group_is_kept(gimp: RealGimp) -> None:
    """A group's mask is cut to the layers in it, whenever they change their size."""
    code = """
group.add_mask(group.create_mask(Gimp.AddMaskType.SELECTION)); Gimp.Selection.none(image)
twin = image.duplicate()
result = call(image, scale=2.0, model="copy")
assert result["status"] == "success", result
Gimp.context_set_interpolation(Gimp.InterpolationType.CUBIC)
twin.scale(*size(image))
mask, wanted = group.get_mask(), twin.get_layers()[0].get_mask()
answer = [size(mask) == size(wanted), place(mask) == place(wanted), pixels(mask, "Y u8") == pixels(wanted, "Y u8"),
    max(pixels(mask, "Y u8")), [size(x) for x in inner] == [[2 * (7 + n), 2 * (5 + n)] for n in range(9)]]
"""
    assert gimp.do(GROUPED + code) == [True, True, True, 255, True]


def test_a_mask_in_a_group_loses_no_edge_where_gimp_rounds_otherwise(gimp: RealGimp) -> None:
    """In a group a masked layer gets the size that GIMP gives it, here a pixel less, and its mask the same."""
    code = """
image = new_image(100, 80); group = Gimp.GroupLayer.new(image); image.insert_layer(group, None, 0)
add_layer(image, parent=group)
layer = add_layer(image, "masked", (11, 11), alpha=True, at=(4, 4), parent=group)
layer.add_mask(layer.create_mask(Gimp.AddMaskType.WHITE))
result = call(image, scale=1.37, model="copy")
assert result["status"] == "success", result
answer = [size(layer) == size(layer.get_mask()), min(pixels(layer.get_mask(), "Y u8")), size(layer)]
"""
    same, least, (width, height) = gimp.do(code)
    assert (same, least) == (True, 255)
    assert {width, height} <= {15, 16}


def test_a_layer_of_locked_position_is_restored_without_a_complaint(gimp: RealGimp) -> None:
    code = """
image = new_image(20, 20); layer = add_layer(image, at=(3, 2)); before = pixels(layer, "R'G'B' u8", (5, 5, 1, 1))
layer.set_lock_position(True)
result = call(image, scale=2.0, model="copy")
answer = [result["status"], size(layer), place(layer), pixels(layer, "R'G'B' u8", (10, 10, 1, 1)) == before]
"""
    said = gimp.log.stat().st_size
    assert gimp.do(code) == ["success", [40, 40], [6, 4], True]
    assert b"cannot be modified" not in gimp.log.read_bytes()[said:]


def test_layers_stay_aligned_at_any_scale(gimp: RealGimp) -> None:
    """Two layers that touch still touch, as GIMP rounds."""
    code = """
image = new_image(40, 30)
left = add_layer(image, "left", (13, 30)); right = add_layer(image, "right", (27, 30), at=(13, 0))
result = call(image, scale=1.37, model="copy")
answer = [size(image), size(left), size(right), place(right)]
"""
    assert gimp.do(code) == [[55, 41], [18, 41], [37, 41], [18, 0]]


def test_only_artifacts_stays_inside_the_selection(gimp: RealGimp) -> None:
    code = """
image = new_image(60, 50); layer = add_layer(image)
image.select_rectangle(Gimp.ChannelOps.REPLACE, 12, 10, 20, 15)
before = pixels(layer, "R'G'B' u8")
result = call(image, only_artifacts=True, model=path("tiny.safetensors"))
assert result["status"] == "success", result
after = pixels(layer, "R'G'B' u8")
changed = [(n // 3 % 60, n // 3 // 60) for n in range(len(before)) if before[n] != after[n]]
xs, ys = [x for x, _ in changed], [y for _, y in changed]
answer = [size(image), min(xs), max(xs), min(ys), max(ys), len(changed) > 500]
"""
    assert gimp.do(code) == [[60, 50], 12, 31, 10, 24, True]


def test_a_layer_that_hardly_grows_is_whole_whatever_is_selected(gimp: RealGimp) -> None:
    """The image grows by a pixel, the layer by none: the selection is of no importance, as at any larger scale."""
    code = """
image = new_image(400, 40)
layer = add_layer(image, size=(150, 30)); other = add_layer(image, size=(100, 30), at=(0, 10))
image.select_rectangle(Gimp.ChannelOps.REPLACE, 5, 2, 20, 5)
before = pixels(layer, "R'G'B' u8")
result = call(image, scale=1.002, model="copy")
answer = [result["status"], size(image), size(layer), size(other), pixels(layer, "R'G'B' u8") == before]
"""
    assert gimp.do(code) == ["success", [401, 40], [150, 30], [100, 30], True]


def test_a_selection_gives_the_pixels_of_the_whole_image(gimp: RealGimp) -> None:
    """Only the surroundings of the selection are sent, which must not show."""
    code = """
image = new_image(300, 40); layer = add_layer(image); twin = image.duplicate()
call(image, only_artifacts=True, model=path("tiny.safetensors"))
twin.select_rectangle(Gimp.ChannelOps.REPLACE, 200, 5, 30, 30)
call(twin, only_artifacts=True, model=path("tiny.safetensors"))
box = (200, 5, 30, 30)
whole, part = pixels(layer, "R'G'B' u8", box), pixels(twin.get_layers()[0], "R'G'B' u8", box)
answer = max(abs(a - b) for a, b in zip(whole, part))
"""
    assert gimp.do(code) <= 1


def test_a_palette_becomes_rgb_and_that_is_said(gimp: RealGimp) -> None:
    code = """
image = new_image(20, 20); layer = add_layer(image)
image.convert_indexed(Gimp.ConvertDitherType.NONE, Gimp.ConvertPaletteType.GENERATE, 16, False, False, "")
result = call(image, scale=2.0, model="copy")
answer = [result["status"], result["notes"], image.get_base_type() == Gimp.ImageBaseType.RGB, size(layer)]
"""
    status, notes, is_rgb, size = gimp.do(code)
    assert (status, is_rgb, size) == ("success", True, [40, 40])
    assert "it is RGB now" in notes


def test_a_palette_stays_where_the_result_is_a_new_image(gimp: RealGimp) -> None:
    code = """
image = new_image(20, 20); layer = add_layer(image)
image.convert_indexed(Gimp.ConvertDitherType.NONE, Gimp.ConvertPaletteType.GENERATE, 16, False, False, "")
result = call(image, result="new-image", model="copy")
answer = [image.get_base_type() == Gimp.ImageBaseType.INDEXED, result["image"].get_base_type() ==
    Gimp.ImageBaseType.RGB, result["notes"]]
"""
    *kinds, notes = gimp.do(code)
    assert kinds == [True, True]
    assert "the new image is RGB" in notes


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


def test_what_is_locked_can_be_had_as_a_new_image_and_is_locked_there_too(gimp: RealGimp) -> None:
    code = """
group.set_lock_content(True); inner[4].set_lock_content(True)
before = state(image), pixels(inner[4], None)
result = call(image, result="new-image", scale=2.0, model="copy")
assert result["status"] == "success", result
there = result["image"].get_layers()[0]
answer = [(state(image), pixels(inner[4], None)) == before, there.get_lock_content(),
    [x.get_lock_content() for x in there.get_children()].count(True), size(there.get_children()[4]), size(inner[4])]
"""
    assert gimp.do(GROUPED + code) == [True, True, 1, [22, 18], [11, 9]]


def test_a_new_image_leaves_this_one_alone(gimp: RealGimp) -> None:
    code = """
before = state(image)
result = call(image, result="new-image", scale=2.0, model="copy")
new = result["image"]
answer = [new != image, size(new), state(image) == before, [x.get_name() for x in new.get_layers()],
    new.get_guide_position(new.find_next_guide(0))]
"""
    assert gimp.do(FULL + code) == [True, [80, 60], True, ["hidden", "group", "masked", "above", "below"], 26]


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


def test_text_is_scaled_by_gimp(gimp: RealGimp) -> None:
    code = """
image = new_image(100, 60); add_layer(image)
text = Gimp.TextLayer.new(image, "old", Gimp.context_get_font(), 20, Gimp.Unit.pixel())
image.insert_layer(text, None, 0)
before = size(text)
result = call(image, scale=2.0, model="copy")
after = size(text)
answer = [result["status"], abs(after[0] - 2 * before[0]) <= 2, abs(after[1] - 2 * before[1]) <= 2]
"""
    assert gimp.do(code) == ["success", True, True]


def test_a_target_size_may_stretch(gimp: RealGimp) -> None:
    code = """
image = new_image(40, 30); layer = add_layer(image)
call(image, width=100, model="copy"); first = size(image)
call(image, width=101, height=100, model="copy")
answer = [first, size(image), size(layer)]
"""
    assert gimp.do(code) == [[100, 75], [101, 100], [101, 100]]


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


def test_a_model_may_lie_below_the_home_folder(gimp: RealGimp) -> None:
    code = """
image = new_image(9, 9); add_layer(image)
result = call(image, model="~/tiny.safetensors")
answer = [result["status"], result.get("error"), size(image)]
"""
    assert gimp.do(code) == ["success", None, [18, 18]]


def test_an_active_mask_means_its_layer(gimp: RealGimp) -> None:
    code = """
image = new_image(9, 9); layer = add_layer(image, alpha=True)
mask = layer.create_mask(Gimp.AddMaskType.WHITE); layer.add_mask(mask)
result = call(image, [mask], layers="chosen", model="copy")
answer = [result["status"], size(layer), size(layer.get_mask())]
"""
    assert gimp.do(code) == ["success", [18, 18], [18, 18]]
