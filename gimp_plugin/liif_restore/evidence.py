"""Show the Evidence: hands the picture to the engine's `explain`, and opens the report in the browser."""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import child
import client
import courier
from gi.repository import Gegl, Gimp, Gio, GLib, GObject
from layer_pixels import Encoding, read
from order import Refusal
from parts import flat
from procedures import cancelled, declare, failure, success
from tell import Progress

PROCEDURE = "plug-in-liif-evidence"
TITLE = "Show the Evidence (LIIF)"

#: Files that can be handed over as they are.
SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".png", ".tif", ".tiff", ".bmp")

#: Of these the file itself is evidence: it states how coarsely each value was rounded.
LOSSY = (".jpg", ".jpeg", ".jpe", ".jfif", ".webp")

#: How long a report is kept; the browser has it open meanwhile. [s]
KEEP_SECONDS = 7 * 24 * 3600

#: What is said where the file itself cannot be handed over: it was lossy, or there was none.
GONE, ALONE = "the file's own quantisation tables are gone", "by its pixels alone"


def create(plug_in):
    """The procedure, as GIMP wants it."""
    flags = GObject.ParamFlags.READWRITE
    procedure = declare(
        plug_in,
        PROCEDURE,
        run,
        label="Show the E_vidence (LIIF)...",
        blurb="Shows what compression destroyed in this image, and which clues would rebuild it",
        more="Has the liif-restore engine on this machine write a report, a page for the browser, on what is visible: "
        "at the selection or, without one, wherever the damage is worst. The image is not changed.",
    )
    procedure.add_string_return_value("report", "Report", "Path of the page", "", flags)
    procedure.add_string_return_value("notes", "Notes", "What the user should know, one line each", "", flags)
    return procedure


def run(procedure, run_mode, image, _drawables, _config, _data):
    """Does what the procedure is called for."""
    Gegl.init(None)
    try:
        report, note = explain(image)
    except client.Cancelled:
        return cancelled(procedure)
    except Exception as error:
        return failure(procedure, error)
    finally:
        Gimp.progress_end()
    if run_mode != Gimp.RunMode.NONINTERACTIVE:
        _open(report)
    return success(procedure, (GObject.TYPE_STRING, str(report)), (GObject.TYPE_STRING, note))


def explain(image) -> tuple[Path, str]:
    """Has the report written; returns its path, and a note for the user or nothing.

    Raises:
        Refusal, client.ServiceError: in words for people.
    """
    if not any(layer.get_visible() for layer in image.get_layers()):
        raise Refusal("There is nothing to see in this image: add or show a layer with a picture")
    file, orientation = _unchanged_file(image)
    folder = new_folder()
    try:
        name = _name_of(image)
        note = "" if file else _note_on(image)
        # Both before there is a progress bar of ours: whoever cancels GIMP's own then does not end this plug-in.
        picture = file or _export(image, folder / f"{name}.png")
        report = folder / f"{name}.evidence.html"
        _explain(image, picture, report, note, _place_of(image, orientation))
        if not file:
            picture.unlink()
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return report, note and f"The report is on the image as it is seen: {note}."


def _explain(image, picture: Path, report: Path, note: str, place) -> None:
    """Runs the engine's command and shows how far it is; the note goes with each step."""
    progress = Progress(TITLE, image)

    def beat(step: str, share: float) -> None:
        words = courier.WORDS.get(step) or step or "Looking for the evidence"
        progress(f"{words} ({note})" if note else words, share)

    courier.in_thread(lambda say: child.explain(str(picture), str(report.parent), str(report), place, say), beat)


def _unchanged_file(image) -> tuple[Path | None, int]:
    """The file that was opened, if what is seen is still what it holds, pixel by pixel.

    Returns:
        Its path, and the orientation in EXIF's numbers that the engine will see it in and GIMP was told to leave alone.
    """
    found = image.get_imported_file()
    path = Path((found.get_path() if found is not None else None) or "")
    # A selection already makes an image dirty for GIMP, so it is the pixels that are asked.
    if path.suffix.lower() not in SUFFIXES or not path.is_file():
        return None, 1
    again = Gimp.file_load(Gimp.RunMode.NONINTERACTIVE, found)
    if again is None:
        return None, 1
    try:
        # As GIMP does with what people open; whether it turns them, they may have been asked.
        again.policy_color_profile(False)
        seen, metadata = _seen(image), again.get_metadata()
        if _seen(again) == seen:
            return path, _orientation(metadata)
        again.policy_rotate(False)
        return (path if _seen(again) == seen else None), 1
    finally:
        again.delete()


def _orientation(metadata) -> int:
    """That of EXIF, 1 to 8."""
    # The methods that would tell it come from another library, whose description for Python need not be installed.
    found = metadata and re.search(r'"Exif\.Image\.Orientation">([1-8])<', metadata.serialize())
    return int(found[1]) if found else 1


def _seen(image) -> tuple:
    """What tells two images of one layer from each other."""
    layers = flat(image.get_layers())
    if len(layers) != 1 or layers[0].get_filters():
        return (object(),)
    encoding = Encoding(layers[0])
    rect = 0, 0, layers[0].get_width(), layers[0].get_height()
    size = image.get_width(), image.get_height()
    look = layers[0].get_opacity(), layers[0].get_mode(), layers[0].get_mask(), tuple(layers[0].get_offsets())
    return size, rect, *look, encoding.format, hash(read(layers[0], encoding, rect, lambda: None))


def _note_on(image) -> str:
    found = image.get_imported_file()
    return GONE if found is not None and Path(found.get_path() or "").suffix.lower() in LOSSY else ALONE


def _export(image, path: Path) -> Path:
    """What is visible as a PNG file."""
    procedure = Gimp.get_pdb().lookup_procedure("file-png-export")
    config = procedure.create_config()
    given = {"run-mode": Gimp.RunMode.NONINTERACTIVE, "image": image, "file": Gio.File.new_for_path(str(path))}
    # Quickly, since it is read once.
    for name, value in {**given, "compression": 1, "include-color-profile": True}.items():
        config.set_property(name, value)
    if procedure.run(config).index(0) != Gimp.PDBStatusType.SUCCESS or not path.exists():
        raise Refusal(f"GIMP could not write {path}: {Gimp.get_pdb().get_last_error()}")
    return path


def _place_of(image, orientation: int) -> tuple[int, int, int, int] | None:
    """Where the selection is in the picture as the engine sees it: upright."""
    _, some, left, top, right, bottom = Gimp.Selection.bounds(image)
    if not some:
        return None
    width, height = image.get_width(), image.get_height()
    if orientation >= 5:
        left, top, right, bottom, width, height = top, left, bottom, right, height, width
    if orientation in {2, 3, 6, 7}:
        left, right = width - right, width - left
    if orientation in {3, 4, 7, 8}:
        top, bottom = height - bottom, height - top
    return left, top, right - left, bottom - top


def _name_of(image) -> str:
    """A name for files, from the image's file."""
    found = image.get_file()
    stem = Path((found.get_path() if found is not None else None) or "").stem
    return re.sub(r"[^\w.-]+", "_", stem).strip("._")[:60] or "image"


def new_folder() -> Path:
    """A new folder of this user alone for one report; older ones go."""
    base = _cache() / "liif-restore" / "evidence"
    try:
        base.mkdir(mode=0o700, parents=True, exist_ok=True)
        for old in base.iterdir():
            # Another GIMP may have removed it meanwhile.
            with suppress(FileNotFoundError):
                if time.time() - old.stat().st_mtime > KEEP_SECONDS:
                    shutil.rmtree(old, ignore_errors=True)
        return Path(tempfile.mkdtemp(dir=base))
    except OSError as error:
        remedy = "make room there, or set XDG_CACHE_HOME to a folder that you may write to"
        raise Refusal(f"The report cannot be kept in {base} ({error.strerror}): {remedy}") from error


def _cache() -> Path:
    if os.name == "nt":
        return Path(os.environ.get("LOCALAPPDATA") or tempfile.gettempdir())
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    named = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return named if named.is_absolute() else Path.home() / ".cache"  # as its specification says


def _open(report: Path) -> None:
    """In the user's browser, which must not inherit what GIMP sets for itself."""
    context = Gio.AppLaunchContext()
    for name in set(os.environ) - set(client.clean_environment(os.environ)):
        context.unsetenv(name)
    try:
        Gio.AppInfo.launch_default_for_uri(report.as_uri(), context)
    except GLib.Error as error:
        Gimp.message(f"No browser could be opened ({error.message}). The report is in {report}")
