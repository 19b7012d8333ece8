"""The dialog: GIMP's own widgets for the arguments, the models to choose from, the size of the result, a preview."""

from __future__ import annotations

import locale

import gi

gi.require_version("Gdk", "3.0")
gi.require_version("GimpUi", "3.0")
gi.require_version("Gtk", "3.0")

from gi.repository import Gdk, Gimp, GimpUi, GLib, GObject, Gtk, Pango  # noqa: E402
from models import AUTO, SLOWER, is_slower, offered  # noqa: E402
from order import Refusal  # noqa: E402
from parts import flat, takes_pixels  # noqa: E402
from pieces import OfLayer, OfVisible  # noqa: E402
from preview import Preview, lowest_screen  # noqa: E402
from restore_image import check  # noqa: E402

#: What is offered until the engine has said which models it has.
MODELS = ("web", "published")

#: How much of a model's name the list shows; of a path its beginning and its end. [characters]
NAME_CHARS = 20

#: How often it is looked whether the image is still open. [ms]
LOOK_MS = 200

#: What a window has above the dialog and below it: its title, a line. [pixels]
DECORATION = 48

#: Arguments in the order in which the dialog has them; the model has a widget of its own.
BEFORE_MODEL = ("only-artifacts", "scale", "width", "height")
AFTER_MODEL = ("result", "layers", "device")


def ask(procedure, config, image, drawables, order_of, title):
    """Shows the dialog until it is answered.

    Args:
        procedure, config, image, drawables: as GIMP gives them; the config takes the answers.
        order_of: makes an `Order` of the config.
        title: of the window.

    Returns:
        The layers to go on with; None to go on no more.

    Raises:
        Refusal: there is no screen.
    """
    # GIMP would end the plug-in.
    if not Gtk.init_check(None)[0]:
        raise Refusal("There is no screen to show the dialog on: use the run mode NONINTERACTIVE")
    GimpUi.init("liif_restore")
    dialog = GimpUi.ProcedureDialog.new(procedure, config, title)
    dialog.set_ok_label("R_estore")
    help_button = dialog.get_widget_for_response(Gtk.ResponseType.HELP)
    if help_button is not None:
        # It would open GIMP's own manual, which has no page on this.
        help_button.set_no_show_all(True)
        help_button.hide()
    content = Gtk.Box(orientation=Gtk.Orientation.VERTICAL, spacing=3)
    scrolled, outcome = _scrolled(content), _outcome_words(config, image, drawables, order_of)
    # Below what may have to be scrolled, since it says why nothing can be restored, too.
    dialog.get_content_area().pack_start(scrolled, True, True, 0)
    dialog.get_content_area().pack_start(outcome, False, False, 6)
    _fill(content, dialog, config, image, drawables, order_of)
    dialog.get_content_area().show_all()
    _fit(dialog, scrolled)
    look = GLib.timeout_add(LOOK_MS, _end_if_closed, dialog, image)
    try:
        while dialog.run() and image.is_valid():
            # What was chosen may be in the way, and something else have been chosen since.
            for chosen in (drawables, image.get_selected_drawables()):
                words, is_possible = _outcome(config, image, chosen, order_of)
                if is_possible:
                    return chosen
            outcome.set_text(words)
            dialog.error_bell()
        return None
    finally:
        GLib.source_remove(look)
        dialog.destroy()


def _fill(content, dialog, config, image, drawables, order_of):
    """Puts the preview and the arguments into the box; the dialog makes the widgets, and the others are as in `ask`."""
    label, row, choice = _model_row(config)
    preview = None
    if image.get_layers():
        preview = _preview(image, drawables, lambda: order_of(config), lambda *models: _offer(choice, *models))
        preview.set_border_width(12)
        content.pack_start(preview, False, False, 0)
    content.pack_start(dialog.fill_box("size", list(BEFORE_MODEL)), False, False, 0)
    content.pack_start(row, False, False, 0)
    for name in AFTER_MODEL:
        # Without this GIMP 3.2 makes radio buttons of a short list, which take up half the dialog.
        dialog.get_widget(name, Gtk.ComboBox.__gtype__)
    content.pack_start(dialog.fill_box("where", list(AFTER_MODEL)), False, False, 0)
    labels = Gtk.SizeGroup.new(Gtk.SizeGroupMode.HORIZONTAL)
    labels.add_widget(label)
    for name in (*BEFORE_MODEL[1:], *AFTER_MODEL):
        words = dialog.get_widget(name, GObject.TYPE_NONE).get_label()
        if isinstance(words, Gtk.Widget):
            labels.add_widget(words)
    for name in BEFORE_MODEL[1:]:
        # Return in it means Restore, as in the field of the model.
        dialog.get_widget(name, GObject.TYPE_NONE).get_spin_button().set_activates_default(True)
        dialog.set_sensitive(name, True, config, "only-artifacts", True)
    dialog.get_widget("scale", GObject.TYPE_NONE).get_spin_button().connect("key-press-event", _either_point)
    if preview is not None:
        for name in (*BEFORE_MODEL, "model", "layers", "device"):
            config.connect("notify::" + name, lambda *_: preview.refresh())


def _either_point(field, event):
    """Takes both . and , for the decimal point; the field itself drops the one that this language has not: 35."""
    modifiers = event.state & (Gdk.ModifierType.CONTROL_MASK | Gdk.ModifierType.MOD1_MASK)
    if modifiers or chr(Gdk.keyval_to_unicode(event.keyval)) not in (".", ","):
        return False
    field.delete_selection()
    field.set_position(field.insert_text(locale.localeconv()["decimal_point"], field.get_position()))
    return True


def _scrolled(content):
    """The content, to be scrolled where a screen is too low for all of it."""
    scrolled = Gtk.ScrolledWindow(hscrollbar_policy=Gtk.PolicyType.NEVER, propagate_natural_height=True)
    scrolled.set_overlay_scrolling(False)
    scrolled.add(content)
    # What has the keyboard comes into sight.
    content.set_focus_vadjustment(scrolled.get_vadjustment())
    return scrolled


def _fit(dialog, scrolled):
    """Makes the dialog no higher than the screen, whatever the font: its buttons would lie below the edge."""
    beside = dialog.get_preferred_height().natural_height - scrolled.get_preferred_height().natural_height
    scrolled.set_max_content_height(max(1, lowest_screen() - DECORATION - beside))


def _end_if_closed(dialog, image):
    """Ends the dialog as Cancel does where its image was closed: then every question about it is a fault to GIMP."""
    if not image.is_valid():
        dialog.response(Gtk.ResponseType.CANCEL)
    return GLib.SOURCE_CONTINUE


def _preview(image, drawables, order, on_models):
    """A preview of the active layer, or the uppermost; or, where that is wanted, of what is visible."""
    every = flat(image.get_layers())
    active = [one for one in drawables if one.is_layer()]
    layer = OfLayer(next((one for one in active + every if takes_pixels(one)), None))
    visible = OfVisible(image)
    return Preview(image, lambda now: visible if now.layers == "merged" else layer, order, on_models)


def _model_row(config):
    """A list of the models that also takes the path of a checkpoint: its label, the row of both, and the list."""
    row = Gtk.Box(spacing=6)
    choice = Gtk.ComboBox.new_with_model_and_entry(Gtk.ListStore(str, str))
    choice.set_entry_text_column(0)
    # Return in it means Restore.
    choice.get_child().set_activates_default(True)
    # A path must not make the list wider than the dialog.
    choice.get_cells()[0].props.ellipsize = Pango.EllipsizeMode.MIDDLE
    choice.get_cells()[0].props.max_width_chars = NAME_CHARS
    words = Gtk.CellRendererText(xpad=12, scale=0.9)
    choice.pack_start(words, True)
    choice.add_attribute(words, "text", 1)
    _offer(choice, MODELS)
    choice.set_tooltip_text(
        "A name of the list, or the path of a checkpoint. With + at its end any model is asked eight times, about the "
        "picture turned and mirrored, and its mean answer taken: better, in eight times the time."
    )
    flags = GObject.BindingFlags.BIDIRECTIONAL | GObject.BindingFlags.SYNC_CREATE
    config.bind_property("model", choice.get_child(), "text", flags)
    label = Gtk.Label(label="_Model", xalign=0, use_underline=True)
    label.set_mnemonic_widget(choice.get_child())
    row.pack_start(label, False, False, 0)
    row.pack_start(choice, True, True, 0)
    return label, row, choice


def _offer(choice, names, own=AUTO):
    """Fills the list with what the engine has, and its own model among it."""
    chosen = choice.get_child().get_text()
    rows = choice.get_model()
    rows.clear()
    for row in offered(names, own):
        rows.append(row)
    # GTK may empty the field with the list.
    if choice.get_child().get_text() != chosen:
        choice.get_child().set_text(chosen)


def _outcome_words(config, image, drawables, order_of):
    """A line that says what an order comes to, as it is changed."""
    label = Gtk.Label(xalign=0)
    label.set_line_wrap(True)
    label.set_max_width_chars(60)

    def refresh(*_):
        label.set_text(_outcome(config, image, drawables, order_of)[0])

    for name in (*BEFORE_MODEL, "model", "result", "layers"):
        config.connect("notify::" + name, refresh)
    refresh()
    return label


def _outcome(config, image, drawables, order_of) -> tuple[str, bool]:
    """How large the result will be and what takes long, or why it cannot be; and whether it can."""
    order = order_of(config)
    has_selection = not Gimp.Selection.is_empty(image)
    has_palette = image.get_base_type() == Gimp.ImageBaseType.INDEXED
    size = image.get_width(), image.get_height()
    try:
        words = order.outcome(*size, has_selection=has_selection, has_palette=has_palette)
        check(image, drawables, order)
    except Refusal as refusal:
        return str(refusal), False
    return f"{words} “+” {SLOWER}" if is_slower(order.model) else words, True
