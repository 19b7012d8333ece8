"""The dialog, asked by a program in place of a person: when it refuses, and how high it is."""

from __future__ import annotations

from .person import PARTS, gui_home, screen, shots
from .screen import Screen

__all__ = ["gui_home", "screen", "shots"]  # fixtures

#: Asks by the dialog, as a person would who does one thing after the other.
ASK = (
    PARTS
    + """
from gi.repository import GLib, Gtk
def ask(image, drawables, *steps):
    steps = list(steps)
    def step():
        found = [one for one in Gtk.Window.list_toplevels() if one.get_title() == "asked"]
        if not (found and found[0].get_visible()):
            return bool(steps)
        steps.pop(0)(found[0])
        return bool(steps)
    timer = GLib.timeout_add(300, step)
    procedure = Gimp.get_pdb().lookup_procedure(gimp3.PROCEDURE)
    found = dialog.ask(procedure, config, image, drawables, gimp3.order_of, "asked")
    if steps: GLib.source_remove(timer)
    return found
def texts(one):
    here = [one.get_text()] if isinstance(one, Gtk.Label) else []
    inside = one.get_children() if isinstance(one, Gtk.Container) else []
    return here + [text for child in inside for text in texts(child)]
def restore(one): one.response(Gtk.ResponseType.OK)
def cancel(one): one.response(Gtk.ResponseType.CANCEL)
"""
)


def test_who_cannot_have_it_restored_is_told_in_the_dialog_which_stays(screen: Screen) -> None:
    """What is in the way can be changed there and in the image: the selection, or what is chosen."""
    code = """
image = new_image(40, 30); layer = add_layer(image, size=(9, 9)); other = add_layer(image, "other", size=(9, 9))
channel = Gimp.Selection.save(image); image.select_rectangle(Gimp.ChannelOps.REPLACE, 20, 15, 5, 5)
config.set_property("only-artifacts", True)
said = []
def look(one): said.extend(text for text in texts(one) if "outside" in text or "is a channel" in text)
def select(_): Gimp.Selection.none(image)
def choose(_): image.set_selected_layers([other])
answer = [ask(image, [layer], look, restore, look, select, restore) == [layer], said[:]]
said.clear(); config.set_property("layers", "chosen")
answer += [ask(image, [channel], look, restore, look, choose, restore) == [other], said[:]]
image.select_rectangle(Gimp.ChannelOps.REPLACE, 20, 15, 5, 5); said.clear(); config.set_property("layers", "merged")
answer += [ask(image, [layer], look, restore, cancel), said[:]]
image.delete()
"""
    outside = "The selection lies outside {}: select another part, or nothing for all of it"
    assert screen.gimp.do(ASK + code, images="keep") == [
        True,
        [outside.format("the layers")] * 2,
        True,
        ["“Selection Mask copy” is a channel: choose a layer"] * 2,
        None,
        [outside.format("what is visible")],
    ]


def test_the_dialog_is_no_higher_than_the_screen(screen: Screen) -> None:
    """Its buttons lay below the edge at 600 pixels, and with a large font at more; now what is above them scrolls."""
    code = """
image = new_image(40, 30); layer = add_layer(image)
heights = []
def measure(one): heights.append(one.get_allocated_height())
for height in (600, 1200):
    dialog.lowest_screen = lambda: height
    ask(image, [layer], measure, cancel)
answer = heights
image.delete()
"""
    low, high = screen.gimp.do(ASK + code, images="keep")
    assert low <= 600
    assert high > 600, "nothing scrolls where there is room"
