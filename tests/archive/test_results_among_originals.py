"""Results that lie among the originals - of another run's folder, or beside them - are not restored a second time."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from liif_engine.archive.journal import NAME
from liif_engine.errors import OutputError
from liif_engine.picture.results import MARK, is_marked, mark
from tests.archive.folders import draw, liif, restore, results

ALL = {"a.jpg", "b.png", "deep/c.jpg", "deep/er/d.bmp", "e.webp"}


@pytest.mark.parametrize("journal", ["kept", "deleted"])
def test_an_earlier_run_s_folder_inside_is_left_out_and_named(source: Path, journal: str) -> None:
    assert restore(source, source / "one").restored == 5
    if journal == "deleted":
        (source / "one" / NAME).unlink()
    other = restore(source, source / "deep" / "two")
    assert (other.restored, other.left_out) == (5, [Path("one")])
    assert set(results(source / "deep" / "two")) == ALL
    assert restore(source, source / "three").left_out == [Path("one"), Path("deep/two")]
    # Without the journal a BMP cannot say what it is.
    assert restore(source, source / "one").kept == (5 if journal == "kept" else 4)


def test_what_tells_a_folder_of_results_is_not_written_through_a_link(source: Path, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / MARK).symlink_to(tmp_path / "other")
    with pytest.raises(OutputError, match="is a symbolic link, and those are not followed") as refused:
        restore(source, tmp_path / "new")
    assert refused.value.path == tmp_path / "new" / MARK
    assert not (tmp_path / "other").exists()


def test_a_folder_that_another_run_marks_at_the_same_moment_is_marked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as moment:
        moment.setattr(Path, "exists", lambda _: False)
        mark(tmp_path)
        mark(tmp_path)
    assert is_marked(tmp_path)


def test_such_a_folder_is_restored_if_it_is_named_itself(source: Path, tmp_path: Path) -> None:
    restore(source, source / "one")
    again = restore(source / "one", tmp_path / "twice")
    assert (again.restored, again.left_out, again.results) == (5, [], 0)
    assert set(results(tmp_path / "twice")) == ALL


def test_results_that_say_so_are_left_out_wherever_they_lie(source: Path, tmp_path: Path) -> None:
    """As `liif restore old/a.jpg` leaves one beside its original."""
    restore(source, tmp_path / "new")
    shutil.copy(tmp_path / "new" / "a.jpg", source / "a@2x.jpg")
    # Refused for its size, were it an original.
    shutil.copy(tmp_path / "new" / "b.png", source / "b@2x.png")
    summary = restore(source, tmp_path / "other", max_pixels=1000)
    assert (summary.restored, summary.results, len(summary.failures)) == (5, 2, 1)
    assert set(results(tmp_path / "other")) == ALL
    assert restore(source, tmp_path / "other", again=True).restored == 2
    assert (tmp_path / "other" / "a@2x.jpg").is_file()


def test_the_user_is_told_once_and_can_ask_for_it(source: Path, tmp_path: Path, tiny: Path) -> None:
    for name in ("broken.jpg", "b.png", "e.webp", "deep/c.jpg", "deep/er/d.bmp"):
        (source / name).unlink()
    draw(source / "one" / "nested" / "f.bmp", 5)
    options = ("--model", tiny, "--device", "cpu")
    assert liif("old", "--out", "old/one", *options, folder=tmp_path).returncode == 0
    done = liif("old", "--out", "two", *options, folder=tmp_path)
    assert done.stderr.count("left out, results of an earlier run: one ") == 1
    assert set(results(tmp_path / "two")) == {"a.jpg"}
    dry = liif("old", "--out", "three", *options, "--again", "--dry-run", folder=tmp_path)
    assert {line.split()[0] for line in dry.stdout.splitlines()} == {"a.jpg", "one/a.jpg", "one/nested/f.bmp"}
