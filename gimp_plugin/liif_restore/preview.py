"""A piece of a layer, or of what is visible, before and after, in the dialog; drag it to see another piece."""

from __future__ import annotations

import threading
from dataclasses import replace

import client
import courier
from gi.repository import Gdk, GdkPixbuf, GLib, Gtk, Pango
from models import for_preview
from order import Refusal

#: Side of each picture on the screen; so small that the engine needs about a second without a GPU. [pixels]
SIDE = 240

#: The same where a screen is lower than this, which the dialog would not fit, its buttons below the edge. [pixels]
LOW_SIDE, LOW_SCREEN = 120, 840

#: How long the options must be left alone before the engine is asked. [ms]
SETTLE_MS = 300

#: Two grays under transparent pixels, and the side of their squares.
CHECKS = 8, 0x999999, 0x666666


class Preview(Gtk.Box):
    """Two pictures side by side, of the same piece.

    Args:
        image: whose piece is shown.
        pieces: called with the present `Order` for where the piece is taken from, see pieces.py.
        order: called for the present `Order`.
        on_models: called with the names of the engine's models and that of its own, each time it has answered.
    """

    def __init__(self, image, pieces, order, on_models):
        super().__init__(orientation=Gtk.Orientation.VERTICAL, spacing=6)
        self.image, self.pieces, self.order, self.on_models = image, pieces, order, on_models
        self.side = _side()
        # In the image; of nothing yet.
        self.centre = None
        # Results of older questions than this one are of no use.
        self.question, self._timer, self._dragged_from = 0, 0, None
        self.before, self.after, self.words = Gtk.Image(), Gtk.Image(), Gtk.Label()
        pictures = Gtk.Box(spacing=12, halign=Gtk.Align.CENTER)
        for caption, picture in (("Before", self.before), ("After", self.after)):
            pictures.pack_start(self._framed(caption, picture), False, False, 0)
        self.words.set_line_wrap(True)
        # A path in it must not widen the dialog.
        self.words.set_line_wrap_mode(Pango.WrapMode.WORD_CHAR)
        self.words.set_max_width_chars(60)
        self.pack_start(pictures, False, False, 0)
        self.pack_start(self.words, False, False, 0)
        self.connect("destroy", self._close)
        self.refresh()

    def refresh(self):
        """Shows the piece as it is now, and asks the engine soon; a layer that was deleted meanwhile stays as shown."""
        found = self.pieces(self.order())
        if not found.is_there():
            return
        self.question += 1
        self._forget()
        try:
            x, y, width, height, shown = self._crop(found.bounds())
        except Refusal as refusal:
            self.before.clear()
            self._show(self.question, None, str(refusal))
            return
        sent = found.read(x, y, width, height)
        self.before.set_from_pixbuf(_picture(sent, width, height, shown))
        self._timer = GLib.timeout_add(SETTLE_MS, self._ask, sent, (height, width, 4), shown)

    def _framed(self, caption, picture):
        box = Gtk.Box(orientation=Gtk.Orientation.VERTICAL, spacing=3)
        box.pack_start(Gtk.Label(label=caption), False, False, 0)
        ground = Gtk.EventBox()
        ground.add(picture)
        picture.set_size_request(self.side, self.side)
        mask = Gdk.EventMask
        ground.add_events(mask.BUTTON_PRESS_MASK | mask.BUTTON_RELEASE_MASK)
        ground.set_tooltip_text("Drag to see another piece")
        ground.connect("button-press-event", self._press)
        ground.connect("button-release-event", self._release)
        frame = Gtk.Frame()
        frame.add(ground)
        box.pack_start(frame, False, False, 0)
        return box

    def _press(self, _widget, event):
        self._dragged_from = event.x, event.y
        return True

    def _release(self, _widget, event):
        if self._dragged_from is None or self.centre is None or not self.image.is_valid():
            return False
        across, down = self._scale()
        self.centre[0] -= (event.x - self._dragged_from[0]) / across
        self.centre[1] -= (event.y - self._dragged_from[1]) / down
        self._dragged_from = None
        self.refresh()
        return True

    def _scale(self):
        """Result per input pixel, across and down; 1 where the order is not possible."""
        before = self.image.get_width(), self.image.get_height()
        try:
            after = self.order().size(*before)
        except Refusal:  # the dialog says it in words
            return 1.0, 1.0
        return after[0] / before[0], after[1] / before[1]

    def _crop(self, bounds):
        """(x, y, width, height) in the image, and the (width, height) at which it is shown."""
        first, whole = bounds[:2], bounds[2:]
        if self.centre is None:
            self.centre = [first[0] + whole[0] / 2, first[1] + whole[1] / 2]
        found = []
        for place, scale in enumerate(self._scale()):
            length = max(1, min(whole[place], round(self.side / scale)))
            least, most = first[place], first[place] + whole[place] - length
            start = int(min(max(self.centre[place] - length / 2, least), most))
            self.centre[place] = start + length / 2
            found.append((start, length, max(length, min(self.side, round(length * scale)))))
        (x, width, shown_width), (y, height, shown_height) = found
        return x, y, width, height, (shown_width, shown_height)

    def _ask(self, sent, shape, shown):
        """Has the engine restore the piece, in a thread: the dialog must not wait."""
        self._timer = 0
        order, question = self.order(), self.question
        self.words.set_text("Asking the engine…")

        def say(_state, _share):
            if question != self.question:
                raise courier.Stopped

        def run():
            try:
                engine = courier.make_client(order.device)
                names, status = [row["name"] for row in engine.models()], engine.status()
                GLib.idle_add(self._learn, question, names, status["model"])
                status = courier.when_devices_are_known(engine, status)
                options, words = _options(order, names, status)
                data, (height, width, _) = engine.restore_pixels(
                    sent, shape, "u8", on_progress=say, size=shown, **options
                )
                GLib.idle_add(self._show, question, _picture(data, width, height, shown), words)
            except courier.Stopped:
                return
            except client.ServiceError as error:
                GLib.idle_add(self._show, question, None, error.explain())
            except Exception as error:  # else the dialog would say for ever that the engine is being asked
                words = f"there is no preview: unexpected {type(error).__name__}: {error}. Please report this."
                GLib.idle_add(self._show, question, None, words)
                raise

        threading.Thread(target=run, daemon=True).start()
        return GLib.SOURCE_REMOVE

    def _learn(self, question, names, own):
        if question == self.question:
            self.on_models(names, own)
        return GLib.SOURCE_REMOVE

    def _show(self, question, picture, words):
        if question == self.question:
            if picture is None:
                self.after.clear()
            else:
                self.after.set_from_pixbuf(picture)
            self.words.set_text(words[:1].upper() + words[1:])
        return GLib.SOURCE_REMOVE

    def _close(self, _widget):
        self.question += 1
        self._forget()

    def _forget(self):
        """Asks the engine no more what it was to be asked."""
        if self._timer:
            GLib.source_remove(self._timer)
            self._timer = 0


def lowest_screen():
    """Height of what can be used of the lowest screen, to which the dialog may be moved. [pixels]"""
    display = Gdk.Display.get_default()
    screens = [display.get_monitor(number).get_workarea().height for number in range(display.get_n_monitors())]
    return min(screens, default=LOW_SCREEN)


def _side():
    """Of each picture."""
    return LOW_SIDE if lowest_screen() < LOW_SCREEN else SIDE


def _options(order, names, status):
    """What the engine is told for the preview, and words for people if its model is another than the result's."""
    devices = [row.get("device") or "cpu" for row in status.get("workers") or []]
    model, words = for_preview(order.model or status["model"], names, devices)
    return replace(order, model=model).engine_options(), words


def _picture(data, width, height, shown):
    """A pixbuf of RGBA bytes at the size shown, transparent parts on a chequerboard."""
    raw = GdkPixbuf.Pixbuf.new_from_bytes(
        GLib.Bytes.new(data), GdkPixbuf.Colorspace.RGB, True, 8, width, height, 4 * width
    )
    return raw.composite_color_simple(*shown, GdkPixbuf.InterpType.BILINEAR, 255, *CHECKS)
