"""Show the Evidence: what is handed to the engine's `explain`, what becomes of its report, and what of its failures."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from .conftest import PATIENCE_SECONDS, RealGimp, standing_in, until

#: How a PNG file begins.
PNG = "89504e470d0a1a0a"


#: Files that this GIMP has opened, as a person would; only these know where they came from.
FILES = ("a photo", "turned", "left as it lay", "replaced", "painted", "called clean", "faded", "layered", "cropped")


@pytest.fixture(scope="module")
def gimp(gimp_folder: Path) -> Iterator[RealGimp]:
    """A GIMP of this module's own that has opened JPEG files with blocks."""
    home = Path(tempfile.mkdtemp(prefix="liif-gimp-"))
    rows = np.add.outer(np.arange(64), np.arange(80)) * 3 % 251
    pixels = np.stack([rows, rows[::-1], 255 - rows], axis=-1).astype(np.uint8)
    files = [home / f"{name}.jpg" for name in FILES]
    for file in files:
        exif = Image.Exif()
        if file.stem in {"turned", "left as it lay"}:
            exif[0x112] = 6
        Image.fromarray(pixels).save(file, quality=20, exif=exif)
    one = RealGimp(home, gimp_folder, ["gimp-console", "-n", "-i", *map(str, files)])
    yield one
    one.end()
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def stand_in(gimp: RealGimp) -> Iterator[Path]:
    """The folder of a stand-in for the engine, which the plug-in takes for the real one."""
    with standing_in(gimp) as folder:
        yield folder


def explain(gimp: RealGimp, name: str, code: str = "", seconds: float = PATIENCE_SECONDS) -> Any:
    """Shows the evidence of an image that GIMP has open, after some code."""
    find = f"image = [x for x in Gimp.get_images() if x.get_file().get_path() == path({name + '.jpg'!r})][0]"
    return gimp.do(f"{find}\n{code}\nanswer = explain(image)", images="keep", seconds=seconds)


def asked(stand_in: Path) -> dict[str, Any]:
    """What the stand-in was asked for, by option."""
    found: dict[str, Any] = json.loads((stand_in / "asked.json").read_text())
    words = found.pop("arguments")
    assert words[0] == "explain"
    options = dict(zip(words[2::2], words[3::2], strict=True))
    assert options.pop("--progress") == "json"
    return {"file": Path(words[1]), "out": options.pop("--out"), "at": options.pop("--at", None), **found, **options}


def reports(gimp: RealGimp) -> list[Path]:
    """All that lies where reports are kept."""
    return sorted((gimp.home / ".cache" / "liif-restore" / "evidence").rglob("*"))


@pytest.mark.parametrize("name", ["a photo", "turned"])
def test_an_unchanged_jpeg_file_is_handed_over_itself(gimp: RealGimp, stand_in: Path, name: str) -> None:
    answer = explain(gimp, name)
    found, file = asked(stand_in), gimp.home / f"{name}.jpg"
    assert found["file"] == file
    assert found["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert found["at"] is None
    assert answer == {"status": "success", "report": found["out"], "note": ""}
    report = Path(answer["report"])
    assert report.name == f"{name.replace(' ', '_')}.evidence.html"
    assert "evidence" in report.read_text()
    assert report.parent.stat().st_mode & 0o777 == 0o700
    assert list(report.parent.iterdir()) == [report]
    assert gimp.do("answer = len(Gimp.get_images())", images="keep") == len(FILES)


def test_the_selection_says_where_to_look(gimp: RealGimp, stand_in: Path) -> None:
    answer = explain(gimp, "a photo", "image.select_rectangle(Gimp.ChannelOps.REPLACE, 10, 20, 30, 16)")
    found = asked(stand_in)
    assert answer["status"] == "success"
    assert found["at"] == "10,20,30,16"
    assert found["file"].name == "a photo.jpg"


def test_a_place_in_a_photo_that_gimp_did_not_turn_is_named_as_the_engine_sees_it(
    gimp: RealGimp, stand_in: Path
) -> None:
    """As after "Keep Original" at the question whether to turn it."""
    code = "image.rotate(Gimp.RotationType.DEGREES270); before = size(image)"
    code += "; image.select_rectangle(Gimp.ChannelOps.REPLACE, 10, 20, 30, 16); assert before == [80, 64], before"
    answer = explain(gimp, "left as it lay", code)
    found = asked(stand_in)
    assert answer["status"] == "success"
    assert found["file"].name == "left as it lay.jpg"
    assert found["at"] == "28,10,16,30"


CHANGED = {
    "painted": "image.get_layers()[0].fill(Gimp.FillType.WHITE)",
    "called clean": "image.get_layers()[0].fill(Gimp.FillType.WHITE); image.clean_all()",
    "faded": "image.get_layers()[0].set_opacity(50)",
    "layered": "add_layer(image, 'above', (8, 8)); image.clean_all()",
    "cropped": "image.crop(40, 40, 0, 0)",
}


@pytest.mark.parametrize("how", CHANGED)
def test_a_changed_image_is_handed_over_as_pixels_and_that_is_said(gimp: RealGimp, stand_in: Path, how: str) -> None:
    answer = explain(gimp, how, CHANGED[how])
    found = asked(stand_in)
    assert found["head"] == PNG
    assert found["file"].name == f"{how.replace(' ', '_')}.png"
    assert "quantisation tables are gone" in answer["note"]
    # Only the report stays.
    assert [path.suffix for path in Path(answer["report"]).parent.iterdir()] == [".html"]


def test_a_file_that_was_replaced_since_is_not_taken_for_the_image(gimp: RealGimp, stand_in: Path) -> None:
    Image.new("RGB", (80, 64), "red").save(gimp.home / "replaced.jpg")
    answer = explain(gimp, "replaced")
    assert asked(stand_in)["head"] == PNG
    assert "gone" in answer["note"]


def test_an_image_of_gimp_s_own_is_exported_as_it_is_seen(gimp: RealGimp, stand_in: Path) -> None:
    code = """
image = new_image(20, 20); add_layer(image); add_layer(image, 'x', (5, 5), alpha=True, at=(30, 30))
answer = explain(image)
image.delete()
"""
    answer = gimp.do(code, images="keep")
    assert answer["status"] == "success"
    assert asked(stand_in)["head"] == PNG
    assert "by its pixels alone" in answer["note"]


def test_the_child_gets_nothing_that_gimp_sets_for_its_own_python(gimp: RealGimp, stand_in: Path) -> None:
    explain(gimp, "a photo")
    names = set(asked(stand_in)["environment"]) - {"PYTHONPATH"}  # the stand-in's own
    assert "HOME" in names
    assert not any(name.startswith(("GIMP", "PYTHON", "GI_TYPELIB", "LD_LIBRARY", "BABL", "GEGL")) for name in names)


@pytest.mark.parametrize(
    ("mark", "words"),
    [
        ("fail", "The patch lies outside the picture. Choose another --at."),
        ("old", "cannot explain pictures yet. Update liif-restore"),
        ("crash", "Segmentation fault"),
    ],
)
def test_a_failure_is_said_in_words_and_leaves_nothing(gimp: RealGimp, stand_in: Path, mark: str, words: str) -> None:
    (stand_in / mark).touch()
    kept = reports(gimp)
    answer = explain(gimp, "painted")
    assert answer["status"] == "execution-error"
    assert words in answer["error"]
    assert "Traceback" not in answer["error"]
    assert reports(gimp) == kept


def test_a_failure_does_not_name_a_file_that_nobody_has_seen(gimp: RealGimp) -> None:
    answer = gimp.do(
        "image = new_image(3, 2); add_layer(image); answer = explain(image); image.delete()", images="keep"
    )
    assert answer["status"] == "execution-error"
    assert answer["error"].startswith("The image has 3x2 pixels, too few to explain.")


def test_an_image_without_anything_visible_is_refused(gimp: RealGimp) -> None:
    answer = gimp.do("image = new_image(9, 9); answer = explain(image); image.delete()", images="keep")
    assert answer["status"] == "execution-error"
    assert "nothing to see" in answer["error"]


def test_cancel_ends_the_child_and_leaves_nothing(gimp: RealGimp, stand_in: Path) -> None:
    """Cancel makes GIMP end the plug-in, as is done here; the child notices by itself."""
    kept = reports(gimp)
    (stand_in / "wait").touch()
    thread = threading.Thread(target=explain, args=(gimp, "painted"))
    thread.start()
    until((stand_in / "asked.json").exists)
    child = Path("/proc") / str(asked(stand_in)["pid"])
    assert (child / "exe").exists()
    assert len(reports(gimp)) > len(kept)
    for number in gimp.plug_ins():
        os.kill(number, signal.SIGKILL)
    thread.join()
    # Without an executable: it has ended, though perhaps nobody has asked how.
    until(lambda: not (child / "exe").exists())
    until(lambda: reports(gimp) == kept)


def test_an_image_that_is_closed_ends_the_child_and_leaves_nothing(gimp: RealGimp, stand_in: Path) -> None:
    """Here the plug-in itself deletes the image, as GIMP does with its last window."""
    file = gimp.home / "profile" / "plug-ins" / "liif_restore" / "tell.py"
    kept, text, line = reports(gimp), file.read_text(), "        if words != self._words:\n"
    assert text.count(line) == 1
    close = "        if words.startswith('Reading the file'):\n            self._image.delete()\n"
    file.write_text(text.replace(line, close + line))
    (stand_in / "wait").touch()
    try:
        code = "image = new_image(20, 20); add_layer(image); answer = explain(image)['status']"
        assert gimp.do(code, images="keep") == "cancel"
    finally:
        file.write_text(text)
    child = Path("/proc") / str(asked(stand_in)["pid"])
    until(lambda: not (child / "exe").exists())
    until(lambda: reports(gimp) == kept)


@pytest.mark.usefixtures("stand_in")
def test_old_reports_go(gimp: RealGimp) -> None:
    first, second = (Path(explain(gimp, "a photo")["report"]) for _ in range(2))
    assert first.exists()
    long_ago = first.stat().st_mtime - 30 * 24 * 3600
    os.utime(first.parent, (long_ago, long_ago))
    explain(gimp, "a photo")
    assert not first.parent.exists()
    assert second.exists()


@pytest.mark.usefixtures("stand_in")
def test_a_report_that_another_gimp_removes_is_no_fault(gimp: RealGimp) -> None:
    first = Path(explain(gimp, "a photo")["report"])
    gone = first.parent.parent / "gone"
    gone.symlink_to(gone.with_name("removed"))
    try:
        assert explain(gimp, "a photo")["status"] == "success"
    finally:
        gone.unlink()


def test_where_no_report_can_be_kept_that_is_said(gimp: RealGimp) -> None:
    folder = gimp.home / ".cache" / "liif-restore" / "evidence"
    folder.parent.mkdir(parents=True, exist_ok=True)
    kept = folder.with_name("kept")
    if folder.exists():
        folder.rename(kept)
    folder.touch()
    try:
        answer = explain(gimp, "a photo")
    finally:
        folder.unlink()
        if kept.exists():
            kept.rename(folder)
    assert answer["status"] == "execution-error"
    assert str(folder) in answer["error"]
    assert "XDG_CACHE_HOME" in answer["error"]
    assert "Traceback" not in answer["error"]


def test_the_real_engine_writes_the_report(gimp: RealGimp) -> None:
    answer = explain(gimp, "turned", "image.select_rectangle(Gimp.ChannelOps.REPLACE, 16, 16, 16, 16)", seconds=300)
    assert answer["status"] == "success", answer
    page = Path(answer["report"]).read_text("utf-8")
    assert page.lstrip().lower().startswith("<!doctype html>")
    assert "turned.jpg" in page
