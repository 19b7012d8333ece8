"""A folder into a folder: every file once, faults that stay alone, a run that is killed and goes on, a true summary."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from queue import SimpleQueue
from types import SimpleNamespace
from typing import Any

import pytest

from liif_engine.archive import journal
from liif_engine.archive.feed import Feed
from liif_engine.archive.order import Order
from liif_engine.archive.restore import Archive
from liif_engine.crew import Crew
from liif_engine.errors import InputError, ModelError, UsageError
from liif_engine.picture import image_file
from liif_engine.target import Target
from liif_engine.workers import WorkerSettings
from tests.archive.folders import COPYING, HERE, ROOT, draw, restore, results


def test_every_picture_is_restored_under_its_own_name(source: Path, tmp_path: Path) -> None:
    before = results(source)
    summary = restore(source, tmp_path / "new")
    assert set(results(tmp_path / "new")) == {"a.jpg", "b.png", "deep/c.jpg", "deep/er/d.bmp", "e.webp"}
    assert (summary.restored, summary.kept, summary.others) == (5, 0, 1)
    assert [str(path) for path, _ in summary.failures] == ["broken.jpg"]
    assert (summary.source_pixels, summary.result_pixels) == (5 * 320, 5 * 1280)
    assert {"read", "restore", "write"} == set(summary.stages)
    assert image_file.probe(tmp_path / "new" / "deep" / "c.jpg").width == 40
    assert results(source) == before


def test_what_results_could_not_carry_is_told(source: Path, tmp_path: Path) -> None:
    draw(source / "deep" / "f.bmp", 5)
    summary = restore(source, tmp_path / "new")
    note = "BMP has no place for a note of the restoration"
    assert summary.as_dict()["notes"] == {note: 2}
    assert f"note, 2 files: {note}" in summary.lines()
    summary.notes.update(f"another, {number}" for number in range(20))
    assert [line for line in summary.lines() if "note" in line][-1].startswith("11 other notes")


def test_files_that_have_gone_when_their_turn_comes_are_counted(source: Path, tmp_path: Path) -> None:
    """As when a disk is pulled out: that is no run in which all went well."""
    order = Order(source, tmp_path / "new", Target(scale=2), model="copy")
    with Archive(order, lambda *_: shutil.rmtree(source, ignore_errors=True)) as archive:
        archive.run(HERE, COPYING)
    summary = archive.summary
    assert summary.restored >= 1
    assert summary.gone > 0
    assert summary.as_dict()["gone"] == summary.gone
    assert f"{summary.gone} files gone meanwhile" in summary.lines()[0]
    folder = {path: error for path, error in summary.failures if path == Path("deep")}
    assert [type(error) for error in folder.values()] == [InputError]


@pytest.mark.parametrize("place", ["source", "new"])
def test_a_file_that_cannot_be_asked_for_once_is_told_of_or_known_by_the_next_run(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    meant = (source if place == "source" else tmp_path / "new") / "a.jpg"
    ask, failures = Path.stat, [OSError(errno.ESTALE, os.strerror(errno.ESTALE))]

    def fail_once(path: Path, **rest: Any) -> os.stat_result:
        if path == meant and failures and sys._getframe(1).f_globals["__name__"] == journal.__name__:
            raise failures.pop()
        return ask(path, **rest)

    monkeypatch.setattr(Path, "stat", fail_once)
    failed = {str(path) for path, _ in restore(source, tmp_path / "new").failures}
    assert failures == []
    assert ("a.jpg" in failed) == (place == "source")
    again = restore(source, tmp_path / "new")
    assert "a.jpg" not in {str(path) for path, _ in again.failures}
    assert (tmp_path / "new" / "a.jpg").is_file()


def test_a_folder_that_has_a_results_name_is_told_of_and_left_alone(source: Path, tmp_path: Path) -> None:
    (tmp_path / "new" / "a.jpg").mkdir(parents=True)
    for options in ({}, {"overwrite": True}):
        failed = {str(path): error for path, error in restore(source, tmp_path / "new", **options).failures}
        assert failed["a.jpg"].path == tmp_path / "new" / "a.jpg"
        assert "is a folder" in failed["a.jpg"].message
    assert not list((tmp_path / "new" / "a.jpg").iterdir())


def test_a_consistent_result_of_another_size_is_refused_before_anything_is_made(source: Path, tmp_path: Path) -> None:
    restore(source, tmp_path / "new")
    refused = restore(source, tmp_path / "new", consistent=True)
    assert (refused.kept, len(refused.failures)) == (0, 6)
    restore(source, tmp_path / "none", consistent=True)
    assert results(tmp_path / "none") == {}


def test_pictures_that_are_larger_already_are_counted_and_no_failures(source: Path, tmp_path: Path) -> None:
    draw(source / "large.png", 9, width=50)
    done = restore(source, tmp_path / "new", target=Target(long_edge=40))
    assert (done.restored, done.larger, len(done.failures)) == (5, 1, 1), "one is broken"
    assert "1 picture larger already than asked for left alone" in done.lines()[0]
    assert "large.png" not in results(tmp_path / "new")
    more = restore(source, tmp_path / "new", target=Target(long_edge=80), overwrite=True)
    assert (more.restored, more.larger) == (6, 0)


@pytest.mark.parametrize("out", ["old", ".", "none/../old"])
def test_results_among_the_originals_are_refused(source: Path, tmp_path: Path, out: str) -> None:
    with pytest.raises(UsageError, match="among the originals"):
        restore(source, tmp_path / out)


def test_results_in_a_folder_inside_are_not_restored_again(source: Path) -> None:
    assert restore(source, source / "new").restored == 5
    again = restore(source, source / "deep" / ".." / "new")
    assert (again.restored, again.kept) == (0, 5)


@pytest.mark.skipif(sys.platform == "win32", reason="links need a right of their own on Windows")
def test_links_are_counted_and_not_followed(source: Path, tmp_path: Path) -> None:
    (source / "link.jpg").symlink_to(source / "a.jpg")
    (source / "loop").symlink_to(source)
    summary = restore(source, tmp_path / "new")
    assert (summary.restored, summary.others) == (5, 3)


@pytest.mark.parametrize("name", ["@eaDir", "#recycle"])
def test_thumbnails_and_bins_of_other_programs_are_left_alone(source: Path, tmp_path: Path, name: str) -> None:
    draw(source / "deep" / name / "a.jpg", 8)
    assert restore(source, tmp_path / "new").restored == 5
    assert not (tmp_path / "new" / "deep" / name).exists()


def test_a_model_that_is_missing_ends_the_run(source: Path, tmp_path: Path) -> None:
    order = Order(source, tmp_path / "new", Target(scale=2), model="none")
    with pytest.raises(ModelError), Archive(order) as archive:
        archive.run(HERE, WorkerSettings(device="cpu", model="none"))


def test_several_workers_give_the_same_bytes(source: Path, tmp_path: Path) -> None:
    restore(source, tmp_path / "one")
    summary = restore(source, tmp_path / "two", Crew("processes", 2))
    assert summary.restored == 5
    assert results(tmp_path / "one") == results(tmp_path / "two")


def test_a_picture_that_kills_its_worker_fails_alone(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path, str(ROOT / "tests")])
    settings = WorkerSettings(device="cpu", model="copy", engine="faults:CrashesOnWide", attempts=2)
    draw(source / "wide.png", 3, width=99)
    summary = restore(source, tmp_path / "new", Crew("processes", 2), settings)
    assert summary.restored == 5
    assert {str(path) for path, _ in summary.failures} == {"broken.jpg", "wide.png"}
    assert summary.begun_again == 1


RUN = """
import sys
sys.path[:0] = {path!r}
from pathlib import Path
from tests.archive.folders import COPYING, restore
from liif_engine.crew import Crew
from liif_engine.workers import WorkerSettings
slow = WorkerSettings(device="cpu", model="slow:0.05", engine="faults:Faulty")
if __name__ == "__main__":
    print(restore(Path({source!r}), Path({new!r}), Crew("processes", 1), slow).restored)
"""


def test_a_run_that_is_killed_goes_on_and_every_file_is_done_once(tmp_path: Path) -> None:
    source, new = tmp_path / "old", tmp_path / "new"
    for number in range(30):
        draw(source / f"{number:02}.jpg", number)
    code = RUN.format(path=[str(ROOT), str(ROOT / "tests")], source=str(source), new=str(new))
    kills = 0
    for wanted in (3, 10):
        process = subprocess.Popen([sys.executable, "-c", code])
        deadline = time.monotonic() + 60
        while len(list(new.rglob("[0-9]*.jpg"))) < wanted:
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        kills += 1
    stamps = {path: path.stat().st_mtime_ns for path in new.rglob("[0-9]*.jpg")}
    last = restore(source, new)
    assert kills == 2
    assert last.kept >= len(stamps) >= 10
    assert last.kept + last.restored == 30
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps, "what was done is not done over"
    whole = tmp_path / "whole"
    assert restore(source, whole).restored == 30
    found = {name: data for name, data in results(new).items() if not Path(name).name.startswith(".liif-")}
    assert found == results(whole)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="needs root, to become uid 65534")
def test_folders_that_are_closed_to_us_fail_alone() -> None:
    base = Path(tempfile.mkdtemp(prefix="liif-nobody-"))
    try:
        base.chmod(0o755)
        for number, name in enumerate(["a.jpg", "names only/b.jpg", "shut/c.jpg"]):
            draw(base / "old" / name, number)
        (base / "old" / "names only").chmod(0o744)
        (base / "old" / "shut").chmod(0o700)
        order = Order(base / "old", base / "new", Target(scale=2), model="copy")
        with Archive(order, dry=True) as archive:
            assert len(list(archive.plans())) == 3
        os.seteuid(65534)
        with Archive(order, dry=True) as archive:
            planned = [str(path) for path, _ in archive.plans()]
    finally:
        os.seteuid(0)
        shutil.rmtree(base)
    assert planned == ["a.jpg"]
    failed = {str(path): str(error) for path, error in archive.summary.failures}
    assert set(failed) == {"names only/b.jpg", "shut"}
    assert all("Permission denied" in words for words in failed.values())


def test_an_end_that_each_file_at_work_comes_to_leaves_no_timer_behind() -> None:
    """As when the model is missing: the process would wait for the timer."""
    feed: Any = Feed.__new__(Feed)
    tickets = [SimpleNamespace(number=n, stop=lambda: None, exception=lambda: ModelError("none")) for n in range(2)]
    feed._at_work, feed._news = {ticket.number: ticket for ticket in tickets}, SimpleQueue()
    for ticket in tickets:
        feed._news.put(("key", ticket))

    def on_end(*_: object) -> None:
        raise ModelError("none")

    feed._stop(on_end)
    assert not feed._at_work
    assert not any(
        isinstance(thread, threading.Timer) and not thread.finished.is_set() for thread in threading.enumerate()
    )


def test_what_a_kill_left_half_written_goes_an_hour_later(source: Path, tmp_path: Path) -> None:
    results_folder = tmp_path / "new"
    old, young, other = (results_folder / name for name in (".liif-0a.tmp", ".liif-0b.tmp", "mine.tmp"))
    results_folder.mkdir()
    for path in (old, young, other):
        path.write_bytes(b"half")
    for path in (old, other):
        os.utime(path, (time.time() - 3700,) * 2)
    restore(source, results_folder)
    assert [path.exists() for path in (old, young, other)] == [False, True, True]


def test_what_a_kill_left_goes_also_where_nothing_is_left_to_do(source: Path, tmp_path: Path) -> None:
    (source / "broken.jpg").unlink()
    restore(source, tmp_path / "new")
    left = tmp_path / "new" / "deep" / ".liif-0a.tmp"
    left.write_bytes(b"half")
    os.utime(left, (time.time() - 3700,) * 2)
    with Archive(Order(source, tmp_path / "new", Target(scale=2), model="copy"), dry=True) as dry:
        assert list(dry.plans()) == []
    assert left.exists(), "a dry run changes nothing"
    assert restore(source, tmp_path / "new").kept == 5
    assert not left.exists()
