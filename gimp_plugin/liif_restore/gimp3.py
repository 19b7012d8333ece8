"""The plug-in's face in GIMP 3: its procedures, the arguments and menu of the first, and what becomes of an answer."""

from __future__ import annotations

import sys

import gi

gi.require_version("Gimp", "3.0")
gi.require_version("Gegl", "0.4")

import client  # noqa: E402
import evidence  # noqa: E402
import restore_image  # noqa: E402
from gi.repository import Gegl, Gimp, GObject  # noqa: E402
from order import Order  # noqa: E402
from procedures import cancelled, declare, failure, success  # noqa: E402
from tell import Progress  # noqa: E402

PROCEDURE = "plug-in-liif-restore"
TITLE = "Restore and Enlarge (LIIF)"

MODELS = "auto, web, fast, published or a checkpoint's path; with + at its end asked eight times; empty: the engine's"

#: Nick of each choice, by argument.
CHOICES = {
    "result": (
        ("image", "This image, enlarged"),
        ("layer", "A new layer in this image"),
        ("new-image", "A new image"),
    ),
    "layers": (
        ("every", "Every layer by itself"),
        ("chosen", "Only the chosen layers"),
        ("merged", "What is visible, merged into one"),
    ),
    "device": (("auto", "Any"), ("cpu", "Processor (CPU)"), ("cuda", "NVIDIA GPU (CUDA)"), ("mps", "Apple GPU (MPS)")),
}


class LiifRestore(Gimp.PlugIn):
    """The plug-in, as GIMP meets it."""

    def do_query_procedures(self):
        """The names of the procedures."""
        return [PROCEDURE, evidence.PROCEDURE]

    def do_set_i18n(self, _name):
        """There are no translations."""
        return False

    def do_create_procedure(self, name):
        """A procedure with all its arguments; what the dialog shows is in dialog.py."""
        if name == evidence.PROCEDURE:
            return evidence.create(self)
        procedure = declare(
            self,
            name,
            run,
            label="Restore and Enlarge (_LIIF)...",
            blurb="Removes the damage of JPEG compression and enlarges, with a neural network",
            more="Sends the layers to the liif-restore engine on this machine and takes its result. The image is "
            "changed only after the engine has succeeded, in one step of undo. At scale 1 only the selection is "
            "changed.",
        )
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
        "layers": ("La_yers", "What is restored; GIMP scales the other layers of an image that grows"),
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
    found = {name: config.get_property(name.replace("_", "-")) for name in Order.__dataclass_fields__}
    # In Python a caller may give None for no text.
    return Order(**{**found, "model": found["model"] or ""})


def run(procedure, run_mode, image, drawables, config, _data):
    """Does what the procedure is called for."""
    Gegl.init(None)
    interactive = run_mode == Gimp.RunMode.INTERACTIVE
    try:
        if interactive:
            # Imported here, since GimpUi needs a display.
            import dialog

            drawables = dialog.ask(procedure, config, image, drawables, order_of, TITLE)
            if drawables is None:
                return cancelled(procedure)
        result, layers, notes = restore_image.restore(image, drawables, order_of(config), Progress(TITLE, image))
    except client.Cancelled:
        return cancelled(procedure)
    except Exception as error:
        return failure(procedure, error)
    finally:
        Gimp.progress_end()
    if run_mode != Gimp.RunMode.NONINTERACTIVE:
        if result is not image:
            Gimp.Display.new(result)
        Gimp.displays_flush()
        for note in notes:
            Gimp.message(note)
    found = (Gimp.Image, result), (Gimp.Layer, layers[0]), (GObject.TYPE_STRING, "\n".join(notes))
    return success(procedure, *found)


def main():
    """Hands over to GIMP."""
    Gimp.main(LiifRestore.__gtype__, sys.argv)
