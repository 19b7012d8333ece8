"""The plug-in's face in GIMP 3: the procedure, its arguments, its menu, and how errors and notes reach people."""

from __future__ import annotations

import sys

import gi

gi.require_version("Gimp", "3.0")
gi.require_version("Gegl", "0.4")

import client  # noqa: E402
import restore_image  # noqa: E402
from gi.repository import Gegl, Gimp, GLib, GObject  # noqa: E402
from order import Order, Refusal  # noqa: E402

PROCEDURE = "plug-in-liif-restore"
TITLE = "Restore and Enlarge (LIIF)"

MODELS = "auto, web (pictures from the web), fast (where the engine has it), published (clean), or a checkpoint's path"

#: Nick of each choice, by argument.
CHOICES = {
    "result": (
        ("image", "This image, enlarged"),
        ("layer", "A new layer in this image"),
        ("new-image", "A new image"),
    ),
    "layers": (
        ("every", "Every layer by itself"),
        ("chosen", "The chosen layers; GIMP scales the others"),
        ("merged", "What is visible, merged into one"),
    ),
    "device": (("auto", "Any"), ("cpu", "Processor (CPU)"), ("cuda", "NVIDIA GPU (CUDA)"), ("mps", "Apple GPU (MPS)")),
}

#: GIMP draws no faster. [s]
PROGRESS_SECONDS = 0.05


class LiifRestore(Gimp.PlugIn):
    """The plug-in, as GIMP meets it."""

    def do_query_procedures(self):
        """The names of the procedures."""
        return [PROCEDURE]

    def do_set_i18n(self, _name):
        """There are no translations."""
        return False

    def do_create_procedure(self, name):
        """The procedure with all its arguments; what the dialog shows is in dialog.py."""
        procedure = Gimp.ImageProcedure.new(self, name, Gimp.PDBProcType.PLUGIN, run, None)
        procedure.set_image_types("*")
        # Without a chosen layer too: "every layer" needs none, and for the others there are words.
        mask = Gimp.ProcedureSensitivityMask
        procedure.set_sensitivity_mask(mask.DRAWABLE | mask.DRAWABLES | mask.NO_DRAWABLES)
        procedure.set_menu_label("Restore and Enlarge (_LIIF)...")
        procedure.add_menu_path("<Image>/Filters/Enhance")
        procedure.set_documentation(
            "Removes the damage of JPEG compression and enlarges, with a neural network",
            "Sends the layers to the liif-restore engine on this machine and takes its result. The image is changed "
            "only after the engine has succeeded, in one step of undo. At scale 1 only the selection is changed.",
            name,
        )
        procedure.set_attribution("the authors of liif-restore", "BSD-3-Clause", "2026")
        add_arguments(procedure)
        return procedure


def add_arguments(procedure):
    """Declares every option; GIMP remembers the last values and checks ranges."""
    flags = GObject.ParamFlags.READWRITE
    procedure.add_double_argument("scale", "Sc_ale", "Result per input pixel along each side", 1, 16, 2, flags)
    procedure.add_int_argument(
        "width", "_Width", "Of the result in pixels; 0: as scale or height say", 0, 524288, 0, flags
    )
    procedure.add_int_argument(
        "height", "Hei_ght", "Of the result in pixels; 0: as scale or width say", 0, 524288, 0, flags
    )
    procedure.add_boolean_argument(
        "only-artifacts", "Only remove arti_facts", "Keep the size, and change only what is selected", False, flags
    )
    procedure.add_string_argument("model", "Model", MODELS, "auto", flags)
    blurbs = {
        "result": ("Resul_t", "Where the result goes"),
        "layers": ("La_yers", "What is restored"),
        "device": ("_Device", "What the engine must work on"),
    }
    for name, (nick, blurb) in blurbs.items():
        choice = Gimp.Choice.new()
        for number, (value, label) in enumerate(CHOICES[name]):
            choice.add(value, number, label, "")
        procedure.add_choice_argument(name, nick, blurb, choice, CHOICES[name][0][0], flags)
    procedure.add_image_return_value("restored-image", "Restored image", "The image that has the result", True, flags)
    procedure.add_layer_return_value(
        "restored-layer", "Restored layer", "The uppermost layer that has the result", True, flags
    )
    procedure.add_string_return_value("notes", "Notes", "What the user should know, one line each", "", flags)


def order_of(config) -> Order:
    """The arguments as an order."""
    names = Order.__dataclass_fields__
    return Order(**{name: config.get_property(name.replace("_", "-")) for name in names})


def run(procedure, run_mode, image, drawables, config, _data):
    """Does what the procedure is called for."""
    Gegl.init(None)
    interactive = run_mode == Gimp.RunMode.INTERACTIVE
    if interactive:
        # Imported here, since GimpUi needs a display.
        import dialog

        if not dialog.ask(procedure, config, image, drawables, order_of, TITLE):
            return procedure.new_return_values(Gimp.PDBStatusType.CANCEL, GLib.Error())
    try:
        result, layers, notes = restore_image.restore(image, drawables, order_of(config), Progress(TITLE))
    except client.Cancelled:
        return procedure.new_return_values(Gimp.PDBStatusType.CANCEL, GLib.Error())
    except (client.ServiceError, Refusal) as error:
        return _failure(procedure, error)
    finally:
        Gimp.progress_end()
    if run_mode != Gimp.RunMode.NONINTERACTIVE:
        if result is not image:
            Gimp.Display.new(result)
        Gimp.displays_flush()
        for note in notes:
            Gimp.message(note)
    values = procedure.new_return_values(Gimp.PDBStatusType.SUCCESS, GLib.Error())
    found = (Gimp.Image, result), (Gimp.Layer, layers[0]), (GObject.TYPE_STRING, "\n".join(notes))
    for place, (kind, value) in enumerate(found, 1):
        values.remove(place)
        values.insert(place, GObject.Value(kind, value))
    return values


def _failure(procedure, error):
    """An error for GIMP to show, or for a batch to read."""
    words = error.explain() if isinstance(error, client.ServiceError) else str(error)
    words = words[:1].upper() + words[1:]
    return procedure.new_return_values(
        Gimp.PDBStatusType.EXECUTION_ERROR, GLib.Error.new_literal(Gimp.PlugIn.error_quark(), words, 0)
    )


class Progress:
    """GIMP's progress bar with Cancel, from its first call on: words and a share, no more often than can be drawn.

    Args:
        title: words until the first ones come.
    """

    def __init__(self, title):
        self._title, self._words, self._told = title, None, 0

    def __call__(self, words, share):
        """Shows how far the work is; GIMP ends the plug-in here if Cancel was pressed."""
        now = GLib.get_monotonic_time() / 1e6
        if self._words is None:
            Gimp.progress_init(self._title)
        if words != self._words:
            Gimp.progress_set_text(words)
            self._words = words
        elif now - self._told < PROGRESS_SECONDS:
            return
        self._told = now
        if share > 0:
            Gimp.progress_update(share)
        else:
            Gimp.progress_pulse()

    def end(self):
        """Takes the progress bar away, and Cancel with it."""
        Gimp.progress_end()


def main():
    """Hands over to GIMP."""
    Gimp.main(LiifRestore.__gtype__, sys.argv)
