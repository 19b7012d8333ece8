"""Promise 7: undo brings every original back."""

from __future__ import annotations

import dataclasses
import os
import shutil
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from liif_daemon import asked, cli, presence
from liif_daemon.examine import examine, record
from liif_daemon.undo import ChangedSince, check, undo
from liif_daemon.undoable import older, undoable, why_nothing
from liif_daemon.why import why
from liif_daemon.workplace import is_workplace
from typer.testing import CliRunner

from liif_engine.errors import ExitCode, InputError, OutputError

from .workshop import Workshop, draw, sha, size_of

HOUR, DAY = 3600, 86400  # [s]


def undo_all(workshop: Workshop, path: Path, **options: bool) -> int:
    ledger = workshop.ledger()
    jobs = undoable(path, ledger)
    try:
        for job in jobs:
            undo(job, ledger, workshop.store, **options)
    finally:
        ledger.close()
    return len(jobs)


def command_undo(workshop: Workshop, *words: object) -> str:
    """What `liif-daemon undo` says."""
    config = workshop.base / "config.yaml"
    config.write_text("daemon: {state: state}\nfolders:\n  - path: pictures\n", "utf-8")
    arguments = ["undo", *map(str, words), "--config", str(config)]
    done = CliRunner().invoke(cli.app, arguments, standalone_mode=False)
    assert done.return_value == ExitCode.OK, done.exception
    return done.output


def test_undo_brings_originals_back_and_they_stay_until_retry(workshop: Workshop) -> None:
    originals = {workshop.folder / "deep" / f"{n}.jpg": b"" for n in range(3)}
    for number, path in enumerate(originals):
        originals[path] = draw(path, number)
        path.chmod(0o604)
        os.utime(path, (1e9, 1e9))
    workshop.once()
    assert undo_all(workshop, workshop.folder) == 3
    for path, data in originals.items():
        assert path.read_bytes() == data
        assert path.stat().st_mtime == 1e9
        assert path.stat().st_mode & 0o777 == 0o604
    assert workshop.once() == {"undone": 3}
    assert undo_all(workshop, workshop.folder) == 0
    ledger = workshop.ledger()
    assert ledger.retry(ledger.jobs(path=next(iter(originals)))) == 1
    ledger.close()
    assert workshop.once() == {"done": 1, "undone": 2}
    assert workshop.leftovers() == []


def test_undo_refuses_what_was_changed_since_unless_forced(workshop: Workshop) -> None:
    path = workshop.folder / "a.jpg"
    data = draw(path, 1)
    workshop.once()
    edited = draw(path, 2, 44, 44)
    with pytest.raises(OutputError, match="changed since"):
        undo_all(workshop, path)
    assert path.read_bytes() == edited
    assert undo_all(workshop, path, force=True) == 1
    assert path.read_bytes() == data
    assert workshop.store.path_of(sha(edited)).read_bytes() == edited


def test_undo_puts_nothing_into_the_empty_folder_of_a_share_that_is_not_mounted(workshop: Workshop) -> None:
    path = workshop.folder / "a.jpg"
    data = draw(path, 1)
    workshop.once()
    ledger = workshop.ledger()
    ledger.folders.mark(workshop.folder, "the share")
    ledger.close()
    (workshop.folder / presence.MARKER).write_text("the share")
    away = workshop.base / "away"
    workshop.folder.rename(away)
    workshop.folder.mkdir()
    with pytest.raises(OutputError, match="unmounted"):
        undo_all(workshop, path)
    assert list(workshop.folder.iterdir()) == []
    workshop.folder.rmdir()
    away.rename(workshop.folder)
    assert undo_all(workshop, path) == 1
    assert path.read_bytes() == data


def test_undo_where_the_folder_is_gone_says_where_the_original_is(workshop: Workshop) -> None:
    path = workshop.folder / "deep" / "a.jpg"
    data = draw(path, 1)
    workshop.once()
    path.unlink()
    path.parent.rmdir()
    with pytest.raises(OutputError, match="folder is gone") as caught:
        undo_all(workshop, path)
    assert str(workshop.store.path_of(sha(data))) in caught.value.explain()


@pytest.mark.parametrize("undone", [False, True])
def test_undo_brings_back_the_original_of_the_result_that_lies_there(workshop: Workshop, undone: bool) -> None:
    path = workshop.folder / "a.jpg"
    first = draw(path, 1)
    workshop.once()
    draw(path, 2)
    workshop.once()
    if undone:
        undo_all(workshop, path)
    path.write_bytes(first)  # the older content again: its row is older than the other's
    workshop.once()
    assert size_of(path) == (40, 32)
    assert undo_all(workshop, path, force=True) == 1
    assert path.read_bytes() == first


def test_a_share_that_shows_files_late_leaves_no_workplace_and_no_undo_fails(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its folder of temporaries seems empty, and cannot be removed."""
    path, slept = workshop.folder / "a.jpg", [0.0]
    data, real = draw(path, 1), os.scandir
    workshop.once()

    def scandir(place: Any = ".") -> Any:
        is_late = slept[0] < 1 and is_workplace(Path(os.fspath(place)))
        return nullcontext(iter(())) if is_late else real(place)

    def sleep(seconds: float) -> None:
        slept[0] += seconds

    with monkeypatch.context() as there:
        there.setattr(os, "scandir", scandir)
        there.setattr("liif_daemon.workplace.time.sleep", sleep)
        assert undo_all(workshop, path) == 1
    assert path.read_bytes() == data
    assert workshop.leftovers() == []


def test_undo_of_an_edited_result_brings_back_the_latest_original_though_the_clock_went_back(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = workshop.folder / "a.jpg"
    draw(path, 1)
    workshop.once()
    second = draw(path, 2)
    with monkeypatch.context() as patched:
        patched.setattr(time, "time", lambda real=time.time: real() - DAY)
        workshop.once()
    path.write_bytes(b"edited")
    assert undo_all(workshop, path, force=True) == 1
    assert path.read_bytes() == second


def test_what_was_restored_under_a_name_before_is_not_lost_to_undo(workshop: Workshop) -> None:
    path, originals = workshop.folder / "a.jpg", []
    for seed in (1, 2, 3):  # by a program that keeps no metadata, from the result or from elsewhere
        originals.append(draw(path, seed))
        workshop.once()
    assert undo_all(workshop, path) == 1
    assert path.read_bytes() == originals[2]
    ledger, store = workshop.ledger(), workshop.store
    assert undoable(path, ledger) == []
    for last, before in ((2, 1), (1, 0)):  # the latest first
        assert "--force" in why_nothing(path, ledger, store).explain()
        (job,) = older(path, ledger)
        undo(job, ledger, store, force=True)
        assert path.read_bytes() == originals[before]
        assert store.holds(sha(originals[last]))
    assert older(path, ledger) == []
    assert "nothing of ours" in why_nothing(path, ledger, store).explain()
    ledger.close()
    assert workshop.once() == {"undone": 3}
    assert path.read_bytes() == originals[0]


def test_undo_says_why_there_is_nothing_to_undo(workshop: Workshop) -> None:
    path, waits = workshop.folder / "a.jpg", workshop.folder / "b.jpg"
    data = draw(path, 1)
    workshop.once()
    workshop.base.joinpath("state", "ledger.sqlite3").unlink()
    workshop.once()
    ledger, store = workshop.ledger(), workshop.store
    assert str(store.path_of(sha(data))) in why_nothing(path, ledger, store).explain()
    draw(waits, 2)
    found = examine(waits, workshop.settings().folders[0], workshop.settings(), ledger)
    assert record(waits, workshop.settings().folders[0], workshop.settings(), ledger, found)
    assert "waits for its turn" in why_nothing(waits, ledger, store).explain()
    ledger.claim()
    assert "being restored right now" in why_nothing(waits, ledger, store).explain()
    assert "does not know 1 result there" in why_nothing(workshop.folder, ledger, store).explain()
    (workshop.folder / "empty").mkdir()
    assert "nothing of ours" in why_nothing(workshop.folder / "empty", ledger, store).explain()
    ledger.close()


def test_an_original_that_somebody_removed_is_not_said_to_have_been_let_go(workshop: Workshop) -> None:
    path = workshop.folder / "a.jpg"
    place = workshop.store.path_of(sha(draw(path, 1)))
    workshop.once()
    place.unlink()
    with pytest.raises(InputError, match="not in the store") as caught:
        undo_all(workshop, path)
    assert f"somebody removed it: put {place} back" in str(caught.value.remedy)
    assert size_of(path) == (40, 32)


def test_a_link_that_took_a_result_s_name_is_not_undone_and_that_is_said(workshop: Workshop) -> None:
    path, other = workshop.folder / "a.jpg", workshop.base / "other.jpg"
    data = draw(path, 1)
    workshop.once()
    path.rename(other)
    path.symlink_to(other)
    for force in (False, True):
        with pytest.raises(OutputError, match="is a symbolic link now"):
            undo_all(workshop, path, force=force)
    assert path.is_symlink()
    assert size_of(other) == (40, 32)
    path.unlink()
    assert undo_all(workshop, path) == 1
    assert path.read_bytes() == data


@pytest.mark.parametrize("there", [None, "a stranger's", "the result"])
def test_nothing_is_brought_back_through_a_folder_that_became_a_link(workshop: Workshop, there: str | None) -> None:
    """Else whoever may write into a watched folder could have its originals written into any other."""
    folder, other = workshop.folder / "deep", workshop.base / "other"
    data = draw(folder / "a.jpg", 1)
    workshop.once()
    folder.rename(other)
    if there is None:
        (other / "a.jpg").rename(workshop.base / "kept.jpg")
    elif there == "a stranger's":
        draw(other / "a.jpg", 2)
    before = {path: path.read_bytes() for path in other.iterdir()}
    folder.symlink_to(other)
    for force in (False, True):
        with pytest.raises(OutputError, match="its folder is a symbolic link now") as caught:
            undo_all(workshop, workshop.folder, force=force)
        assert caught.value.path == folder / "a.jpg"
    assert {path: path.read_bytes() for path in other.iterdir()} == before
    if there == "the result":
        assert caught.value.remedy == "Undo the folder that it leads to, or remove the link."
        assert undo_all(workshop, other) == 1
        assert (other / "a.jpg").read_bytes() == data


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells who writes")
def test_what_is_open_for_writing_is_not_undone_and_nobody_is_told_to_wait_for_the_daemon(workshop: Workshop) -> None:
    path = workshop.folder / "a.jpg"
    data = draw(path, 1)
    workshop.once()
    with path.open("ab"), pytest.raises(OutputError, match="a program has it open for writing") as caught:
        undo_all(workshop, path)
    assert caught.value.remedy == "Close it there, then try again."
    assert undo_all(workshop, path) == 1
    assert path.read_bytes() == data


def test_why_knows_a_folder_that_only_the_command_line_named(workshop: Workshop) -> None:
    draw(workshop.folder / "small.jpg", 1, 10, 40)
    (workshop.folder / "notes.txt").write_text("no picture")
    assert workshop.once() == {"skipped": 1}
    (workshop.folder / "later.jpg").write_bytes(b"")
    ledger, settings = workshop.ledger(), workshop.settings().with_folders([])
    ledger.folders.agree(workshop.folder)  # as `run` does
    for name, words in (("small.jpg", "min_side"), ("notes.txt", "patterns of include"), ("later.jpg", "not there")):
        said = " ".join(why(workshop.folder / name, settings, ledger, workshop.store))
        assert words in said
        assert f"in {workshop.folder}, which is, or was, watched" in said
    assert why(Path(__file__), settings, ledger, workshop.store) == ["It lies in none of the watched folders."]
    draw(workshop.folder / "a.jpg", 2)
    ledger.close()
    workshop.once(scales=[2, 4])
    shutil.copy(workshop.folder / "a.jpg", workshop.folder / "copy.jpg")
    ledger = workshop.ledger()
    for name in ("a@4x.jpg", "copy.jpg"):
        assert f"our own result, of {workshop.folder / 'a.jpg'}" in " ".join(
            why(workshop.folder / name, settings, ledger, workshop.store)
        )
    ledger.close()


def test_what_was_undone_stays_whichever_way_links_lead_to_it(workshop: Workshop) -> None:
    data = draw(workshop.folder / "a.jpg", 1)
    link = workshop.base / "link"
    link.symlink_to(workshop.folder)
    workshop.once(path=link)
    ledger = workshop.ledger()
    job = dataclasses.replace(undoable(link / "a.jpg", ledger)[0], path=workshop.folder / "a.jpg")
    undo(job, ledger, workshop.store)
    ledger.close()
    workshop.once(path=link)
    assert (workshop.folder / "a.jpg").read_bytes() == data


def test_a_file_is_found_by_the_name_under_which_its_folder_is_watched(workshop: Workshop) -> None:
    draw(workshop.folder / "a.jpg", 1)
    link = workshop.base / "link"
    link.symlink_to(workshop.folder)
    settings = workshop.settings(path=link)
    workshop.once(path=link)
    ledger = workshop.ledger()
    for typed, known in ((workshop.folder, link), (link, link), (workshop.base, workshop.base)):
        assert asked.as_watched(typed, settings, ledger) == known
    for name in ("a.jpg", "not-there.jpg"):
        for folder in (workshop.folder, link):
            assert asked.as_watched(folder / name, settings, ledger) == link / name
    alone = settings.with_folders([])  # as `liif-daemon undo` has them after `liif-daemon run FOLDER`
    assert asked.as_watched(workshop.folder / "a.jpg", alone, ledger) == link / "a.jpg"
    ledger.close()


def test_a_dry_run_refuses_what_undo_refuses_and_changes_nothing(workshop: Workshop) -> None:
    path = workshop.folder / "a.jpg"
    draw(path, 1)
    workshop.once()
    ledger = workshop.ledger()
    [job] = undoable(path, ledger)
    assert check(job, ledger, workshop.store) == (job, job.result_sha256)
    edited = draw(path, 2, 50, 50)
    before = workshop.counts()
    with pytest.raises(ChangedSince):
        check(job, ledger, workshop.store)
    assert check(job, ledger, workshop.store, force=True) == (job, sha(edited))
    assert (path.read_bytes(), workshop.counts()) == (edited, before)
    ledger.close()
