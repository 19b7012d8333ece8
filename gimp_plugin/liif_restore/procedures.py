"""What both procedures share: how they are declared, and how they answer GIMP."""

from __future__ import annotations

import traceback

import client
from gi.repository import Gimp, GLib, GObject
from order import Refusal


def declare(plug_in, name, run, *, label, blurb, more):
    """A procedure on images, in the menu of enhancements.

    Args:
        plug_in: the plug-in, as GIMP meets it.
        name: of the procedure.
        run: does what it is called for.
        label: in the menu.
        blurb: what it does, in a line.
        more: the same at length.
    """
    procedure = Gimp.ImageProcedure.new(plug_in, name, Gimp.PDBProcType.PLUGIN, run, None)
    procedure.set_image_types("*")
    # Without a chosen layer too: not every use of them needs one, and for the others there are words.
    mask = Gimp.ProcedureSensitivityMask
    procedure.set_sensitivity_mask(mask.DRAWABLE | mask.DRAWABLES | mask.NO_DRAWABLES)
    procedure.set_menu_label(label)
    procedure.add_menu_path("<Image>/Filters/Enhance")
    procedure.set_documentation(blurb, more, name)
    procedure.set_attribution("the authors of liif-restore", "BSD-3-Clause", "2026")
    return procedure


def success(procedure, *values):
    """The answer of a procedure that did what it was called for; each value is (type, value)."""
    answer = procedure.new_return_values(Gimp.PDBStatusType.SUCCESS, GLib.Error())
    for place, (kind, value) in enumerate(values, 1):
        answer.remove(place)
        answer.insert(place, GObject.Value(kind, value))
    return answer


def cancelled(procedure):
    """The answer after Cancel."""
    return procedure.new_return_values(Gimp.PDBStatusType.CANCEL, GLib.Error())


def failure(procedure, error):
    """An error for GIMP to show, or for a batch to read; of what nobody foresaw GIMP itself would say nothing."""
    if isinstance(error, client.ServiceError):
        words = error.explain()
    elif isinstance(error, Refusal):
        words = str(error)
    else:
        traceback.print_exc()
        words = f"unexpected {type(error).__name__}: {error}. Please report this."
    words = words[:1].upper() + words[1:]
    return procedure.new_return_values(
        Gimp.PDBStatusType.EXECUTION_ERROR, GLib.Error.new_literal(Gimp.PlugIn.error_quark(), words, 0)
    )
