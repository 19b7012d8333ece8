"""Undo of results that were given other names: each original comes back once, and what is no result of ours stays."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import Any, NoReturn

import pytest
from liif_daemon import renamed
from liif_daemon.renamed import bring_back, elsewhere
from liif_daemon.status import gather
from liif_daemon.undoable import undoable, why_nothing
from liif_daemon.why import why

from .test_undo import command_undo, undo_all
from .workshop import Workshop, draw, sha, size_of

STAYS = "what has its result's bytes stays: "


def test_undo_finds_a_renamed_result_and_replaces_a_deleted_one(workshop: Workshop) -> None:
    data = draw(workshop.folder / "a.jpg", 1)
    gone = draw(workshop.folder / "b.jpg", 2)
    workshop.once()
    (workshop.folder / "a.jpg").rename(workshop.folder / "c.jpg")
    (workshop.folder / "b.jpg").unlink()
    assert undo_all(workshop, workshop.folder / "c.jpg") == 1
    assert (workshop.folder / "c.jpg").read_bytes() == data
    assert undo_all(workshop, workshop.folder / "b.jpg") == 1
    assert (workshop.folder / "b.jpg").read_bytes() == gone
    assert workshop.once().get("queued") is None
    assert (workshop.folder / "c.jpg").read_bytes() == data


def test_a_result_that_has_gone_is_undone_also_where_another_ones_original_came_back(workshop: Workshop) -> None:
    one, other = workshop.folder / "a.jpg", workshop.folder / "b.jpg"
    draw(one, 1)
    workshop.once()
    one.rename(other)
    assert undo_all(workshop, other) == 1
    data = draw(other, 2)
    workshop.once()
    other.unlink()
    assert undo_all(workshop, other) == 1
    assert other.read_bytes() == data


def test_undo_of_the_old_name_takes_the_renamed_result_away(workshop: Workshop) -> None:
    """Also under another suffix, and in another folder; the original has what the result has besides its bytes."""
    (workshop.folder / "deep").mkdir()
    data = {name: draw(workshop.folder / name, seed) for seed, name in enumerate(("a.jpg", "b.jpg", "c.jpg"))}
    workshop.once()
    new = {"a.jpg": "x.png", "b.jpg": "deep/b.jpg"}
    for name, other in new.items():
        (workshop.folder / name).rename(workshop.folder / other).chmod(0o604)
    assert workshop.once() == {"done": 3}, "a look at them under their new names changes nothing"
    said = [command_undo(workshop, workshop.folder / name) for name in data]
    for (name, other), words in zip(new.items(), said, strict=False):
        assert words.endswith(
            f"{workshop.folder / name}: the original is back; there was no file any more; its result,"
            f" {workshop.folder / other}, was taken away\n"
        )
        assert not (workshop.folder / other).exists()
        assert (workshop.folder / name).stat().st_mode & 0o777 == 0o604
    assert said[2] == f"{workshop.folder / 'c.jpg'}: the original is back\n"
    assert {name: (workshop.folder / name).read_bytes() for name in data} == data
    assert workshop.once() == {"undone": 3}
    assert workshop.leftovers() == []


def test_a_renamed_result_that_was_changed_stays_and_is_told_of(workshop: Workshop) -> None:
    old, new = workshop.folder / "a.jpg", workshop.folder / "b.png"
    data = draw(old, 1)
    workshop.once()
    old.rename(new)
    draw(new, 2)
    edited = new.read_bytes()
    said = command_undo(workshop, old)
    assert said.endswith(f"; {new}, which may be its result, was changed and stays\n")
    assert (old.read_bytes(), new.read_bytes()) == (data, edited)


def test_a_renamed_result_that_is_changed_amid_the_undoing_stays(workshop: Workshop) -> None:
    old, new = workshop.folder / "a.jpg", workshop.folder / "b.jpg"
    data = draw(old, 1)
    workshop.once()
    old.rename(new)
    ledger = workshop.ledger()
    (job,) = undoable(old, ledger)
    found = elsewhere([job], ledger)
    assert found[job.id].result == new
    with new.open("ab") as file:
        said = bring_back(job, found[job.id], ledger, workshop.store)
        assert said == f"; {new}, which may be its result, was changed and stays"
        assert sha(new) == job.result_sha256, "open for writing, it may be changed the next moment"
        file.write(b"more")
    old.unlink()
    ledger.finish(job, "done")
    assert "was changed and stays" in bring_back(job, found[job.id], ledger, workshop.store)
    ledger.close()
    assert new.read_bytes().endswith(b"more")
    assert old.read_bytes() == data
    assert workshop.leftovers() == []


def test_copies_of_a_result_that_has_gone_and_the_result_of_the_same_original_stay(workshop: Workshop) -> None:
    path, copy, twin = (workshop.folder / name for name in ("a.jpg", "copy.jpg", "twin.jpg"))
    twin.write_bytes(draw(path, 1))
    workshop.once()
    shutil.copy(path, copy)
    path.unlink()
    assert command_undo(workshop, path).endswith(f"; {STAYS}{copy}\n")
    assert size_of(copy) == size_of(twin) == (40, 32)
    other = twin.rename(workshop.folder / "other.jpg")
    path.unlink()
    assert command_undo(workshop, twin).endswith(f"; its result, {other}, was taken away; {STAYS}{copy}\n")
    assert size_of(copy) == (40, 32)


def test_a_copy_that_has_the_result_s_inode_on_another_device_stays(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a writable snapshot of btrfs that lies in the watched folder."""
    path, snapshot = workshop.folder / "a.jpg", workshop.folder / "snapshot"
    data = draw(path, 1)
    workshop.once()
    snapshot.mkdir()
    path.rename(snapshot / "a.jpg")
    real = os.stat

    def stat(place: Any, *arguments: Any, **options: Any) -> os.stat_result:
        said = real(place, *arguments, **options)
        return os.stat_result((*said[:2], said.st_dev + 1, *said[3:10])) if place == str(snapshot) else said

    with monkeypatch.context() as there:
        there.setattr(os, "stat", stat)
        assert STAYS + str(snapshot / "a.jpg") in command_undo(workshop, path)
    assert path.read_bytes() == data
    assert size_of(snapshot / "a.jpg") == (40, 32)


def test_of_results_that_are_the_same_each_goes_with_its_own_name(workshop: Workshop) -> None:
    one, other = workshop.folder / "one.jpg", workshop.folder / "other.jpg"
    other.write_bytes(draw(one, 1))
    workshop.once()
    for path in (one, other):
        path.rename(path.with_suffix(".png"))
    ledger = workshop.ledger()
    jobs = [*undoable(one, ledger), *undoable(other, ledger)]
    found = elsewhere(jobs, ledger)
    ledger.close()
    assert [(found[job.id].result, found[job.id].copies) for job in jobs] == [
        (path.with_suffix(".png"), []) for path in (one, other)
    ]


@pytest.mark.parametrize("unread", ["file", "folder"])
def test_where_a_renamed_result_may_lie_that_cannot_be_read_is_told(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, unread: str
) -> None:
    old, new = workshop.folder / "a.jpg", workshop.folder / "deep" / "b.jpg"
    data = draw(old, 1)
    workshop.once()
    new.parent.mkdir()
    old.rename(new)
    scan = os.scandir

    def fail(path: Any) -> Any:
        if path == str(new.parent):
            raise OSError(errno.EACCES, "Permission denied", path)
        return scan(path)

    def fail_to_read(_: Path) -> NoReturn:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(*((renamed, "hash_of", fail_to_read) if unread == "file" else (os, "scandir", fail)))
    said = command_undo(workshop, old)
    why = f"{new} cannot be read (Input/output error)"
    if unread == "folder":
        why = f"{new.parent} cannot be read (Permission denied)"
    assert said.endswith(f"there was no file any more; {why}, so that its result stays if it lies there\n")
    assert old.read_bytes() == data
    assert new.exists()


def test_a_dry_run_says_what_becomes_of_a_renamed_result(workshop: Workshop) -> None:
    old, new = workshop.folder / "a.jpg", workshop.folder / "b.jpg"
    draw(old, 1)
    workshop.once()
    old.rename(new)
    assert command_undo(workshop, old, "--dry-run") == f"{old} (dry run); its result, {new}, would go\n"
    assert new.exists()
    assert not old.exists()


def test_undo_finds_the_results_in_a_renamed_folder(workshop: Workshop) -> None:
    old, new, same = workshop.folder / "old", workshop.folder / "new", workshop.folder / "same.png"
    data = [draw(old / name, seed) for seed, name in enumerate(("a.jpg", "b.png", "c.bmp"))]
    same.write_bytes(data[1])
    draw(workshop.folder / "d.jpg", 4)
    workshop.once()
    old.rename(new)
    (new / "note.txt").write_text("no picture")
    (new / "d.jpg").symlink_to(workshop.folder / "d.jpg")
    assert undo_all(workshop, new) == 3
    assert [(new / name).read_bytes() for name in ("a.jpg", "b.png", "c.bmp")] == data
    assert undo_all(workshop, new) == 0
    assert size_of(same) == size_of(workshop.folder / "d.jpg") == (40, 32)


def test_undo_of_a_folder_takes_what_was_renamed_in_it_where_it_lies(workshop: Workshop) -> None:
    stayed = draw(workshop.folder / "a.jpg", 1)
    moved = draw(workshop.folder / "b.jpg", 2)
    workshop.once()
    (workshop.folder / "deep").mkdir()
    (workshop.folder / "b.jpg").rename(workshop.folder / "deep" / "c.jpg")
    assert undo_all(workshop, workshop.folder) == 2
    assert (workshop.folder / "a.jpg").read_bytes() == stayed
    assert (workshop.folder / "deep" / "c.jpg").read_bytes() == moved
    assert not (workshop.folder / "b.jpg").exists()


@pytest.mark.parametrize("names", ["ca", "ac", "ba cb", "bc ab"])
def test_undo_of_a_folder_brings_each_original_back_where_results_took_each_other_s_names(
    workshop: Workshop, names: str
) -> None:
    """`ca`: what was c.jpg is a.jpg now, and the result that was there is lost."""
    data = {name: draw(workshop.folder / f"{name}.jpg", seed) for seed, name in enumerate("abc")}
    workshop.once()
    for old, new in names.split():
        (workshop.folder / f"{old}.jpg").rename(workshop.folder / f"{new}.jpg")
    said = command_undo(workshop, workshop.folder)
    assert "changed and stays" not in said
    assert {name: (workshop.folder / f"{name}.jpg").read_bytes() for name in data} == data
    assert len(list(workshop.folder.iterdir())) == 3


def test_copies_of_results_stay_whether_something_else_is_missing_or_not(workshop: Workshop) -> None:
    paths = [workshop.folder / f"{name}.jpg" for name in "abc"]
    data = [draw(path, seed) for seed, path in enumerate(paths)]
    workshop.once()
    copy, renamed = workshop.folder / "copy.jpg", workshop.folder / "renamed.jpg"
    copied = paths[0].read_bytes()
    copy.write_bytes(copied)
    paths[1].rename(renamed)
    paths[2].unlink()
    undo_all(workshop, workshop.folder)
    assert copy.read_bytes() == copied
    assert paths[0].read_bytes() == data[0]
    assert renamed.read_bytes() == data[1]
    assert paths[2].read_bytes() == data[2]
    assert workshop.leftovers() == []


@pytest.mark.parametrize("copied", [True, False])
def test_a_result_that_was_undone_under_another_name_came_back_once_and_both_names_say_so(
    workshop: Workshop, copied: bool
) -> None:
    first, second = workshop.folder / "first.jpg", workshop.folder / "second.jpg"
    data = draw(first, 1)
    workshop.once()
    if copied:
        second.write_bytes(first.read_bytes())
        first.unlink()
    else:
        first.rename(second)
    assert undo_all(workshop, second) == 1
    assert second.read_bytes() == data
    assert undo_all(workshop, first) == undo_all(workshop, workshop.folder) == 0
    assert not first.exists()
    settings, ledger, store = workshop.settings(), workshop.ledger(), workshop.store
    said = f"its result lay at {second}, and was undone there"
    words = why_nothing(first, ledger, store).explain()
    assert f"{said}; there is no such file now" in words
    assert str(store.path_of(sha(data))) in words
    assert any(said in line for line in why(first, settings, ledger, store))
    assert "it was undone" in why(second, settings, ledger, store)[0]
    assert gather(settings, ledger)["last_results"] == []
    second.unlink()
    assert "was undone already; there is no such file now" in why_nothing(second, ledger, store).explain()
    ledger.close()
    first.write_bytes(data)
    second.write_bytes(data)
    assert workshop.once() == {"undone": 2}
    assert first.read_bytes() == second.read_bytes() == data


def test_results_that_changed_names_are_undone_where_they_lie(workshop: Workshop) -> None:
    paths = [workshop.folder / name for name in ("a.jpg", "b.jpg")]
    data = [draw(path, number) for number, path in enumerate(paths)]
    workshop.once()
    aside = workshop.base / "aside.jpg"
    paths[0].rename(aside)
    paths[1].rename(paths[0])
    aside.rename(paths[1])
    assert undo_all(workshop, workshop.folder) == 2
    assert [path.read_bytes() for path in paths] == data[::-1]
    assert undo_all(workshop, workshop.folder) == 0
    assert workshop.once().get("done", 0) == workshop.counts().get("done", 0)
    assert [path.read_bytes() for path in paths] == data[::-1]
