"""A result that is there is known again and not made twice: by the journal, or by what it says of itself."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from liif_engine import file as picture_file
from liif_engine.archive.journal import NAME, Journal
from liif_engine.archive.order import Order
from liif_engine.archive.restore import Archive
from liif_engine.picture.image_file import Marker
from liif_engine.target import Target
from tests.archive.folders import COPYING, HERE, draw, restore, results

#: What markers said before they told quality, precision and consistency.
OLDER = ("software", "version", "model", "scale_x", "scale_y", "source_sha256")


def test_a_second_run_redoes_nothing_but_what_failed_or_changed(source: Path, tmp_path: Path) -> None:
    restore(source, tmp_path / "new")
    again = restore(source, tmp_path / "new")
    assert (again.restored, again.kept, len(again.failures)) == (0, 5, 1)
    draw(source / "broken.jpg", 7)
    os.utime(draw(source / "a.jpg", 8), ns=(1, 1))
    third = restore(source, tmp_path / "new")
    assert third.restored == 1
    assert third.kept == 4
    assert [(str(path), type(error).__name__) for path, error in third.failures] == [("a.jpg", "OutputExistsError")]
    assert restore(source, tmp_path / "new", overwrite=True).restored == 1


def test_a_result_that_was_damaged_or_lost_is_seen(source: Path, tmp_path: Path) -> None:
    first = restore(source, tmp_path / "new")
    (tmp_path / "new" / "b.png").unlink()
    (tmp_path / "new" / "deep" / "c.jpg").write_bytes(b"something else")
    second = restore(source, tmp_path / "new")
    assert (first.restored, second.restored, second.kept) == (5, 1, 3)
    assert {str(path) for path, _ in second.failures} == {"broken.jpg", "deep/c.jpg"}
    assert (tmp_path / "new" / "deep" / "c.jpg").read_bytes() == b"something else"


def test_files_that_were_copied_are_known_by_their_markers(source: Path, tmp_path: Path) -> None:
    """A copy of the originals or of the results has other times, and the journal comes with it."""
    (source / "broken.jpg").unlink()
    (source / "deep" / "er" / "d.bmp").unlink()
    restore(source, tmp_path / "new")
    copies = [
        shutil.copytree(path, f"{path}-copy", copy_function=shutil.copyfile) for path in (source, tmp_path / "new")
    ]
    for _ in range(2):
        again = restore(Path(copies[0]), Path(copies[1]))
        assert (again.restored, again.kept, again.failures) == (0, 4, [])


def test_a_result_of_a_run_that_was_killed_is_known_by_its_marker_in_a_copy(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row says no more than that it was begun, of an original with another time."""
    (source / "broken.jpg").unlink()
    (source / "deep" / "er" / "d.bmp").unlink()
    with monkeypatch.context() as patch:
        patch.setattr(Journal, "done", lambda *_: None)
        restore(source, tmp_path / "new")
    copy = Path(shutil.copytree(source, tmp_path / "copy", copy_function=shutil.copyfile))
    again = restore(copy, tmp_path / "new")
    assert (again.restored, again.kept, again.failures) == (0, 4, [])


def test_a_copied_result_that_cannot_say_what_it_is_is_known_by_its_bytes(source: Path, tmp_path: Path) -> None:
    new, picture = tmp_path / "new", Path("deep/er/d.bmp")
    restore(source, new)
    for folder in (source, new):
        os.utime(folder / picture, (1e9, 1e9))
    before = (new / picture).stat()
    again = restore(source, new)
    assert (again.restored, again.kept) == (1, 4)
    assert [str(path) for path, _ in again.failures] == ["broken.jpg"]
    after = (new / picture).stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns), "it is not written again"
    assert restore(source, new).kept == 5
    # One of the same size that was edited is somebody's.
    edited = (new / picture).read_bytes()[:-1] + b"x"
    (new / picture).write_bytes(edited)
    for _ in range(2):
        assert {path for path, _ in restore(source, new).failures} == {Path("broken.jpg"), picture}
        assert (new / picture).read_bytes() == edited


def test_results_are_known_without_the_journal(source: Path, tmp_path: Path) -> None:
    restore(source, tmp_path / "new")
    before = results(tmp_path / "new")
    (tmp_path / "new" / NAME).unlink()
    again = restore(source, tmp_path / "new")
    # A BMP cannot say of itself what it is.
    assert (again.restored, again.kept) == (0, 4)
    assert {str(path) for path, _ in again.failures} == {"broken.jpg", "deep/er/d.bmp"}
    assert results(tmp_path / "new") == before


def test_a_result_of_other_settings_is_not_taken_for_the_one_asked_for(source: Path, tmp_path: Path) -> None:
    restore(source, tmp_path / "new")
    with Archive(Order(source, tmp_path / "new", Target(scale=3), model="copy")) as archive:
        archive.run(HERE, COPYING)
    assert archive.summary.restored == archive.summary.kept == 0
    assert len(archive.summary.failures) == 6


@pytest.mark.parametrize("has_journal", [True, False])
def test_a_result_that_is_not_the_one_asked_for_is_told_with_why_and_what_to_do(
    tmp_path: Path, has_journal: bool
) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    for seed, name in enumerate(["a.jpg", "b.png"]):
        draw(old / name, seed)
    restore(old, new)
    draw(new / "c.jpg", 3)  # somebody's
    draw(old / "c.jpg", 4)
    if not has_journal:
        (new / NAME).unlink()
    for _ in range(2):
        said = {str(path): error.explain() for path, error in restore(old, new, target=Target(scale=3)).failures}
        for name in ("a.jpg", "b.png"):
            assert said.pop(name) == (
                f"{new / name}: already exists, made with other settings."
                " Use --overwrite to make it anew, or choose another --out."
            )
        assert "settings" not in said.pop("c.jpg")
        assert not said
    anew = restore(old, new, target=Target(scale=3), overwrite=True)
    assert (anew.restored, anew.failures) == (3, [])
    draw(old / "a.jpg", 5)
    ((path, error),) = restore(old, new, target=Target(scale=3)).failures
    assert (str(path), error.message) == ("a.jpg", "already exists, made of the original before it changed")


@pytest.mark.parametrize(
    "others",
    [
        {"quality": 50},
        {"precision": "bf16"},
        {"consistent": True},
        {"model": "web"},
        {"model": "auto"},
        {"model": "copy+"},
    ],
)
def test_results_of_other_settings_are_told_from_each_other_without_the_journal(
    source: Path, tmp_path: Path, others: dict[str, Any]
) -> None:
    """By what their markers say; the engine here works in fp32 whatever it is asked for."""
    (source / "deep" / "er" / "d.bmp").unlink()
    new = tmp_path / "new"
    restore(source, new, target=Target(scale=1))
    (new / NAME).unlink()
    before = results(new)
    for _ in range(2):
        other = restore(source, new, **{"target": Target(scale=1), **others})
        assert (other.restored, other.kept) == (0, 0)
        names = {type(error).__name__ for path, error in other.failures if path.name != "broken.jpg"}
        assert names == {"OutputExistsError"}
    assert results(new) == before
    assert restore(source, new, target=Target(scale=1)).kept == 4


def test_an_older_version_s_results_are_known_by_what_their_markers_say(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(picture_file, "Marker", lambda **said: Marker(**{name: said[name] for name in OLDER}))
    restore(source, tmp_path / "new")
    monkeypatch.undo()
    (tmp_path / "new" / NAME).unlink()
    assert restore(source, tmp_path / "new", quality=50).kept == 4


def test_a_result_of_another_quality_is_never_said_to_be_done(source: Path, tmp_path: Path) -> None:
    restore(source, tmp_path / "new", quality=95)
    before = results(tmp_path / "new")
    for _ in range(2):
        other = restore(source, tmp_path / "new", quality=50)
        assert (other.restored, other.kept) == (0, 0)
        assert {type(error).__name__ for path, error in other.failures if path.name != "broken.jpg"} == {
            "OutputExistsError"
        }
    assert restore(source, tmp_path / "new", quality=95).kept == 5
    assert results(tmp_path / "new") == before
    assert restore(source, tmp_path / "new", quality=50, overwrite=True).restored == 5
    assert (tmp_path / "new" / "a.jpg").read_bytes() != before["a.jpg"]


def test_what_was_begun_when_the_power_went_is_done_over(source: Path, tmp_path: Path) -> None:
    """A BMP got its name, but the row that says so is missing."""
    order = Order(source, tmp_path / "new", Target(scale=2), model="copy")
    restore(source, tmp_path / "new")
    with Archive(order) as archive:
        row = archive.journal.find(Path("deep/er/d.bmp"))
        assert row is not None
        archive.journal.begin(Path("deep/er/d.bmp"), order.settings, row.source)
    assert restore(source, tmp_path / "new").restored == 1


def test_a_time_that_no_64_bits_hold_is_known_again(source: Path, tmp_path: Path) -> None:
    far = 10**19 + 7  # [ns], in the year 2286
    os.utime(source / "a.jpg", ns=(far, far))
    if (source / "a.jpg").stat().st_mtime_ns != far:
        pytest.skip("this file system has no times after 2262; ext4, tmpfs and btrfs do")
    assert restore(source, tmp_path / "new").restored == 5
    assert restore(source, tmp_path / "new").kept == 5
