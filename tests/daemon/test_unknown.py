"""When the ledger is lost, `undo --force` finds the originals by the results' metadata, and loses nothing either."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
from liif_daemon import cli
from liif_daemon.unknown import adopt, count, unknown
from typer.testing import CliRunner

from liif_engine.picture import image_file
from liif_engine.picture.results import mark

from .test_undo import undo_all
from .workshop import Workshop, draw, sha, size_of

RUNNER = CliRunner()


def lose_the_ledger(workshop: Workshop) -> None:
    for path in (workshop.base / "state").glob("ledger.sqlite3*"):
        path.unlink()


def command(workshop: Workshop, *words: str) -> str:
    config = workshop.base / "config.yaml"
    config.write_text(
        json.dumps({"daemon": {"state": str(workshop.base / "state")}, "folders": [{"path": str(workshop.folder)}]})
    )
    done = RUNNER.invoke(cli.app, [*words, "--config", str(config)], env={"COLUMNS": "300"})
    return f"{done.output}{done.exception.explain() if hasattr(done.exception, 'explain') else ''}"


@pytest.mark.parametrize("scale", [0.0, math.inf, 1e-300, -2.0])
def test_a_marker_of_a_scale_that_no_result_has_keeps_no_other_original_from_coming_back(
    workshop: Workshop, scale: float
) -> None:
    """Whoever knows the hash of an original can write a marker."""
    data = draw(workshop.folder / "b.jpg", 1)
    workshop.once()
    lose_the_ledger(workshop)
    picture = image_file.read(workshop.folder / "b.jpg")
    image_file.write(
        workshop.folder / "a.jpg",
        picture,
        [one.pixels for one in picture.frames],
        format="JPEG",
        quality=90,
        marker=image_file.Marker("liif-restore", "1", "web", scale, 2.0, sha(data)),
        overwrite=False,
    )
    there = (workshop.folder / "a.jpg").read_bytes()
    assert command(workshop, "undo", "--force", str(workshop.folder)).count("the original is back") == 1
    assert (workshop.folder / "b.jpg").read_bytes() == data
    assert (workshop.folder / "a.jpg").read_bytes() == there


def test_a_folder_s_originals_come_back_without_the_ledger_that_knew_them(workshop: Workshop) -> None:
    originals = {workshop.folder / name: b"" for name in ("a.jpg", "deep/b.png", "c@2x.jpg")}
    for seed, path in enumerate(originals):
        originals[path] = draw(path, seed)
        os.utime(path, (1e9, 1e9))
    workshop.once()
    edited = workshop.folder / "a.jpg"
    edited.write_bytes(edited.read_bytes() + b" ")
    results = {path: path.read_bytes() for path in originals}
    lose_the_ledger(workshop)
    workshop.once()
    new = draw(workshop.folder / "new.jpg", 9)
    workshop.once()
    assert "3 more in the store are not in the ledger" in command(workshop, "status", "--no-live")
    assert json.loads(command(workshop, "status", "--json"))["unknown_originals"] == 3
    assert "(dry run)" in command(workshop, "undo", "--force", "--dry-run", str(workshop.folder))
    assert {path: path.read_bytes() for path in originals} == results
    assert command(workshop, "undo", "--force", str(workshop.folder)).count("the original is back") == 4
    assert {path: path.read_bytes() for path in originals} == originals
    assert (workshop.folder / "new.jpg").read_bytes() == new
    assert {path.stat().st_mtime for path in originals if path != edited} == {1e9}
    assert all(workshop.store.holds(sha(data)) for data in [*results.values(), *originals.values()])
    assert workshop.once() == {"undone": 4}
    assert workshop.leftovers() == []


@pytest.mark.parametrize("whole", [False, True])
def test_a_result_that_was_edited_is_the_ledger_s_own_and_is_undone_once(workshop: Workshop, whole: bool) -> None:
    path = workshop.folder / "a.jpg"
    data, other = draw(path, 1), draw(workshop.folder / "b.jpg", 2)
    workshop.once()
    edited = path.read_bytes() + b" "  # its marker stays
    path.write_bytes(edited)
    said = command(workshop, "undo", "--force", str(workshop.folder if whole else path))
    assert said.count("the original is back") == (2 if whole else 1)
    assert path.read_bytes() == data
    assert workshop.store.holds(sha(edited))
    ledger = workshop.ledger()
    assert [job.state for job in ledger.jobs(path=path)] == ["undone"]
    assert not ledger.results(sha(data))  # or the original would be taken for a result from now on
    ledger.close()
    assert ((workshop.folder / "b.jpg").read_bytes() == other) == whole


def test_what_was_never_an_original_s_place_stays(workshop: Workshop) -> None:
    data, written = draw(workshop.folder / "a.jpg", 1), workshop.folder / "written"
    workshop.once(scales=[2, 4])
    written.mkdir()
    mark(written)
    (written / "a.jpg").write_bytes((workshop.folder / "a.jpg").read_bytes())
    (workshop.folder / "link.jpg").symlink_to(workshop.folder / "a.jpg")
    lose_the_ledger(workshop)
    for _ in range(2):  # beside the result, and beside the original that is back
        ledger = workshop.ledger()
        found = unknown(workshop.folder, ledger, workshop.store)
        for one in found:
            assert one.path.name == "a.jpg"
            adopt(one, workshop.folder, ledger, workshop.store)
        ledger.close()
        undo_all(workshop, workshop.folder / "a.jpg")
    assert found == []
    assert (workshop.folder / "a.jpg").read_bytes() == data
    assert size_of(workshop.folder / "a@4x.jpg") == (80, 64)
    assert size_of(written / "a.jpg") == (40, 32)


def test_a_result_of_another_format_than_its_original_s_was_never_in_its_place(workshop: Workshop) -> None:
    data = draw(workshop.folder / "a.jpg", 1)
    workshop.once()
    export = workshop.folder / "a@2x.png"  # as `liif restore a.jpg --format png` names and marks it
    result = image_file.read(workshop.folder / "a.jpg")
    marker = image_file.read_marker(workshop.folder / "a.jpg")
    frames = [frame.pixels for frame in result.frames]
    image_file.write(export, result, frames, format="PNG", quality=95, marker=marker, overwrite=False)
    undo_all(workshop, workshop.folder / "a.jpg")
    written = export.read_bytes()
    command(workshop, "undo", "--force", str(workshop.folder))
    assert export.read_bytes() == written
    assert (workshop.folder / "a.jpg").read_bytes() == data


def test_a_format_without_a_place_for_a_marker_is_known_by_a_note_among_the_originals(workshop: Workshop) -> None:
    originals = {workshop.folder / name: b"" for name in ("a.bmp", "deep/b.bmp", "edited.bmp")}
    for seed, path in enumerate(originals):
        originals[path] = draw(path, seed)
    workshop.once(scales=[2, 4])
    edited, copy = workshop.folder / "edited.bmp", workshop.folder / "moved" / "copy.bmp"
    edited.write_bytes(edited.read_bytes()[:-1] + b"\0" * 9)
    copy.parent.mkdir()
    copy.write_bytes((workshop.folder / "a.bmp").read_bytes())
    lose_the_ledger(workshop)
    assert "a note among the originals" in command(workshop, "why", str(copy))
    assert command(workshop, "undo", "--force", str(workshop.folder)).count("the original is back") == 3
    for path, data in originals.items():
        assert (path.read_bytes() == data) == (path != edited)
    assert copy.read_bytes() == originals[workshop.folder / "a.bmp"]
    assert size_of(workshop.folder / "a@4x.bmp") == (80, 64)


def test_a_note_that_is_not_whole_is_none(workshop: Workshop) -> None:
    path = workshop.folder / "a.bmp"
    draw(path, 1)
    workshop.once()
    (note,) = workshop.store.folder.glob("results/*")
    assert note.name == sha(path)
    lose_the_ledger(workshop)
    for text in (b"", b"{", b"[]", b'{"size": 1}', b'{"size": 1, "marker": {"software": ""}}'):
        note.write_bytes(text)
        ledger = workshop.ledger()
        assert unknown(workshop.folder, ledger, workshop.store) == []
        ledger.close()


def test_a_store_that_holds_what_the_ledger_knows_holds_nothing_unknown(workshop: Workshop) -> None:
    draw(workshop.folder / "a.jpg", 1)
    ledger = workshop.ledger()
    assert count(ledger, workshop.store) == 0
    workshop.once()
    assert count(ledger, workshop.store) == 0
    assert unknown(workshop.folder, ledger, workshop.store) == []
    ledger.close()


KILLED_RESCUE = """
import os, sys
sys.path.insert(0, {root!r})
from pathlib import Path
from liif_daemon import steps
from liif_daemon.undo import undo
from liif_daemon.unknown import adopt, unknown
from tests.daemon.workshop import Workshop
steps.on_step = lambda name: os.kill(os.getpid(), 9) if name == {step!r} else None
workshop = Workshop(Path({base!r}))
ledger, store = workshop.ledger(), workshop.store
(found,) = unknown(workshop.folder, ledger, store)
undo(adopt(found, workshop.folder, ledger, store), ledger, store, force=True)
"""


@pytest.mark.parametrize("step", ["backup written", "about to swap", "swapped", "swap verified"])
def test_a_rescue_that_is_killed_loses_nothing_and_can_be_done_again(workshop: Workshop, step: str) -> None:
    path = workshop.folder / "a.jpg"
    data = draw(path, 1)
    workshop.once()
    result = path.read_bytes()
    lose_the_ledger(workshop)
    code = KILLED_RESCUE.format(root=str(Path(__file__).parents[2]), base=str(workshop.base), step=step)
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == -9
    assert path.read_bytes() in {data, result}
    assert workshop.store.holds(sha(data))
    workshop.once()  # restores nothing a second time
    assert path.read_bytes() in {data, result}
    assert list(workshop.folder.rglob(".liif-*.tmp")) == []
    command(workshop, "undo", "--force", str(workshop.folder))
    assert path.read_bytes() == data
