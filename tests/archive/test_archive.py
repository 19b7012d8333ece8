"""A folder into a folder: every file once, runs that go on, results that are known again, a summary that is true."""

from __future__ import annotations

import contextlib
import json
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
from PIL import Image

from liif_engine import file as picture_file
from liif_engine.archive.feed import Feed
from liif_engine.archive.journal import NAME, Glance, Journal
from liif_engine.archive.order import Order
from liif_engine.archive.restore import Archive
from liif_engine.archive.summary import Summary
from liif_engine.crew import Crew
from liif_engine.errors import InputError, ModelError, OutputError, UsageError
from liif_engine.picture import image_file
from liif_engine.picture.image_file import Marker
from liif_engine.target import Target
from liif_engine.workers import WorkerSettings
from tests.conftest import picture

ROOT = Path(__file__).parents[2]
COPYING = WorkerSettings(device="cpu", model="copy", engine="liif_engine.workers.stand_in:Copying", attempts=2)
HERE = Crew("here")

#: What markers said before they told quality, precision and consistency.
OLDER = ("software", "version", "model", "scale_x", "scale_y", "source_sha256")


def draw(path: Path, seed: int, width: int = 20, height: int = 16) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture(height, width, seed=seed)).save(path)  # type: ignore[arg-type]
    return path


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Six pictures in three folders, one of them broken, and a file that is no picture."""
    folder = tmp_path / "old"
    for number, name in enumerate(["a.jpg", "b.png", "deep/c.jpg", "deep/er/d.bmp", "e.webp"]):
        draw(folder / name, number)
    (folder / "broken.jpg").write_bytes((folder / "a.jpg").read_bytes()[:200])
    (folder / "notes.txt").write_text("not a picture")
    draw(folder / ".hidden.jpg", 9)
    return folder


def restore(
    source: Path, destination: Path, crew: Crew = HERE, settings: WorkerSettings = COPYING, **rest: Any
) -> Summary:
    order = {"target": Target(scale=2), "model": "copy", **rest}
    with Archive(Order(source, destination, **order)) as archive:
        archive.run(crew, settings)
    return archive.summary


def results(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(".liif-restore.")
    }


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


def test_a_folder_that_has_a_results_name_is_told_of_and_left_alone(source: Path, tmp_path: Path) -> None:
    (tmp_path / "new" / "a.jpg").mkdir(parents=True)
    for options in ({}, {"overwrite": True}):
        failed = {str(path): error for path, error in restore(source, tmp_path / "new", **options).failures}
        assert failed["a.jpg"].path == tmp_path / "new" / "a.jpg"
        assert "is a folder" in failed["a.jpg"].message
    assert not list((tmp_path / "new" / "a.jpg").iterdir())


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


def test_what_was_begun_when_the_power_went_is_done_over(source: Path, tmp_path: Path) -> None:
    """A BMP got its name, but the row that says so is missing."""
    order = Order(source, tmp_path / "new", Target(scale=2), model="copy")
    restore(source, tmp_path / "new")
    with Archive(order) as archive:
        row = archive.journal.find(Path("deep/er/d.bmp"))
        assert row is not None
        archive.journal.begin(Path("deep/er/d.bmp"), order.settings, row.source)
    assert restore(source, tmp_path / "new").restored == 1


def test_two_runs_in_one_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    journal = Journal(tmp_path / "new")
    with pytest.raises(OutputError, match="another run"):
        Journal(tmp_path / "new")
    journal.close()


def test_a_journal_that_is_none_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / NAME).write_bytes(b"not a database, but long enough to be looked at as one" * 40)
    with pytest.raises(OutputError, match="journal cannot be read") as caught:
        Journal(tmp_path / "new")
    assert "Delete" in caught.value.remedy


def test_a_journal_that_is_damaged_further_in_is_told_of_in_words(tmp_path: Path) -> None:
    journal, glance = Journal(tmp_path), Glance(1, 1)
    for number in range(300):
        journal.done(Path(f"{number}.jpg"), "settings", glance, glance, "0" * 64)
    journal.close()
    content = journal.path.read_bytes()
    journal.path.write_bytes(content[:8192] + b"\xff" * (len(content) - 8192))
    journal = Journal(tmp_path)
    with pytest.raises(OutputError, match="journal cannot be read") as found:
        journal.find(Path("5.jpg"))
    with pytest.raises(OutputError, match="journal cannot be read") as begun:
        journal.begin(Path("5.jpg"), "settings", glance)
    assert "Delete it" in found.value.remedy
    assert "Delete it" in begun.value.remedy


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
from tests.archive.test_archive import COPYING, restore
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


def liif(*words: object, folder: Path) -> subprocess.CompletedProcess[str]:
    code = "from liif_engine.cli import main; main()"
    command = [sys.executable, "-c", code, "restore", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=100, check=False)


def test_the_command(source: Path, tmp_path: Path, tiny: Path) -> None:
    assert source.name == "old"
    options = ("--model", tiny, "--device", "cpu")
    done = liif("old", "--out", "new", *options, "--workers", 2, folder=tmp_path)
    assert done.returncode == 3, done.stderr
    assert "5 restored, 1 failed, 1 other file left alone (--verbose names them)" in done.stderr
    assert "failed, unreadable picture: 1" in done.stderr
    assert "note, 1 file: BMP has no place for a note of the restoration" in done.stderr
    again = liif("old", "--out", "new", *options, "--json", folder=tmp_path)
    figures = json.loads(again.stdout)
    assert (figures["kept"], figures["restored"], figures["failed"]) == (5, 0, 1)
    named = liif("old/a.jpg", "old/b.png", "--out", "named", *options, "--workers", 1, "--json", folder=tmp_path)
    assert named.returncode == 0, named.stderr
    assert {row["status"] for row in json.loads(named.stdout)} == {"restored"}
    assert (tmp_path / "named" / "a@2x.jpg").read_bytes() == (tmp_path / "new" / "a.jpg").read_bytes()
    (source / "link.jpg").symlink_to(source / "a.jpg")
    (source / "again.jpg").write_bytes((tmp_path / "new" / "a.jpg").read_bytes())
    dry = liif("old", "--out", "dry", *options, "--dry-run", "--verbose", folder=tmp_path)
    assert "40x32 (dry run)" in dry.stdout
    said = " ".join(dry.stderr.split())
    assert "notes.txt: left alone: its name is not that of a picture" in said
    assert "link.jpg: left alone: a symbolic link, and those are not followed" in said
    assert "again.jpg: left alone: its metadata says that it is a result of liif-restore" in said
    planned = json.loads(liif("old", "--out", "dry", *options, "--dry-run", "--json", folder=tmp_path).stdout)[
        "planned"
    ]
    assert {"source": "a.jpg", "out_width": 40, "out_height": 32} in planned
    assert len(planned) == dry.stdout.count("(dry run)")
    assert not (tmp_path / "dry").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("old",), "--out"),
        (("old", "old/a.jpg", "--out", "new"), "a run of its own"),
        (("old", "--out", "new", "--workers", "many"), "workers are"),
    ],
)
def test_commands_that_make_no_sense(source: Path, words: tuple[str, ...], said: str) -> None:
    done = liif(*words, folder=source.parent)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    from liif_engine.network import checkpoint
    from tests.conftest import tiny_network

    path = tmp_path / "tiny.safetensors"
    checkpoint.save(tiny_network(), path, {})
    return path


def test_a_time_that_no_64_bits_hold_is_known_again(source: Path, tmp_path: Path) -> None:
    far = 10**19 + 7  # [ns], in the year 2286
    os.utime(source / "a.jpg", ns=(far, far))
    if (source / "a.jpg").stat().st_mtime_ns != far:
        pytest.skip("this file system has no times after 2262; ext4, tmpfs and btrfs do")
    assert restore(source, tmp_path / "new").restored == 5
    assert restore(source, tmp_path / "new").kept == 5


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


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="needs root, to become uid 65534")
@pytest.mark.parametrize("is_killed", [False, True])
def test_a_dry_run_reads_a_journal_that_is_not_to_be_written_to(is_killed: bool) -> None:
    with tempfile.TemporaryDirectory(prefix="liif-nobody-") as base:
        folder, glance = Path(base, "new"), Glance(1, 1)
        folder.mkdir()
        Path(base).chmod(0o755)
        journal = Journal(folder)
        journal.done(Path("a.jpg"), "settings", glance, glance, "0" * 64)
        if is_killed:  # what it did last stands in its log alone
            shutil.copytree(folder, folder.with_name("killed"))
            folder = folder.with_name("killed")
        journal.close()
        before = {path.name: path.read_bytes() for path in folder.iterdir()}
        os.seteuid(65534)
        try:
            dry = Journal(folder, dry=True)
            found = dry.find(Path("a.jpg"))
            dry.close()
            with pytest.raises(OutputError, match=r"journal cannot be opened \(it is not to be written to\)"):
                Journal(folder)
        finally:
            os.seteuid(0)
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert found is not None
    assert found.state == "done"


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


def test_a_journal_that_finds_the_disk_full_says_so_to_the_end(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "liif-test", str(small)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting is not permitted here: run as root to fill a real disk")
    try:
        journal = Journal(small)
        rows = (journal.failed(Path(f"{n}.jpg"), "{}", Glance(1, 1), "because") for n in range(10_000))
        with pytest.raises(OutputError, match="the journal cannot be written"):
            list(rows)
        with contextlib.suppress(OutputError):  # where SQLite's own room sufficed there is nothing to say
            journal.close()
        again = Journal(small, dry=True)
        assert again.find(Path("0.jpg")) is not None
        again.close()
    finally:
        subprocess.run(["umount", "-l", small], check=True)
