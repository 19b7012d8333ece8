"""Undo of what was moved, copied or renamed since: which original comes back, and where."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from liif_daemon.ledger import Job, rows
from liif_daemon.store import hash_of
from liif_daemon.undoable import undoable

from .test_undo import undo_all
from .test_undo_interrupted import KILLED_UNDO
from .workshop import Workshop, draw, sha, size_of


def test_what_was_undone_at_another_place_is_undone(workshop: Workshop) -> None:
    old, new = workshop.folder / "z", workshop.folder / "zz"
    data = [draw(old / name, seed) for seed, name in enumerate(("a.jpg", "b.png"))]
    alone = draw(workshop.folder / "c.jpg", 5)
    workshop.once()
    old.rename(new)
    (workshop.folder / "c.jpg").rename(workshop.folder / "d.jpg")
    assert undo_all(workshop, new) == 2
    assert undo_all(workshop, workshop.folder / "d.jpg") == 1
    assert undo_all(workshop, workshop.folder) == 0
    assert [(new / name).read_bytes() for name in ("a.jpg", "b.png")] == data
    assert (workshop.folder / "d.jpg").read_bytes() == alone
    assert not (workshop.folder / "c.jpg").exists()
    assert workshop.once() == {"undone": 6}  # where it was restored, and where it lies


def test_a_copy_that_is_undone_leaves_what_it_was_copied_from_to_be_undone(workshop: Workshop) -> None:
    path, copy = workshop.folder / "a.jpg", workshop.folder / "b.jpg"
    data = draw(path, 1)
    workshop.once()
    shutil.copy(path, copy)
    assert undo_all(workshop, copy) == 1
    assert size_of(path) == (40, 32)
    assert undo_all(workshop, path) == 1
    assert path.read_bytes() == copy.read_bytes() == data


def test_of_originals_that_were_the_same_the_one_that_moved_is_undone(workshop: Workshop) -> None:
    old, new, same = workshop.folder / "z" / "a.jpg", workshop.folder / "zz" / "a.jpg", workshop.folder / "zzz.jpg"
    data = draw(old, 1)
    same.write_bytes(data)
    workshop.once()
    old.parent.rename(new.parent)
    assert undo_all(workshop, new) == 1
    assert undo_all(workshop, workshop.folder) == 1
    assert new.read_bytes() == same.read_bytes() == data
    assert not old.parent.exists()


def test_what_was_moved_from_a_folder_that_was_away_can_still_be_undone_there(workshop: Workshop) -> None:
    path, copy, away = workshop.folder / "z" / "a.jpg", workshop.folder / "b.jpg", workshop.base / "away"
    data = draw(path, 1)
    workshop.once()
    shutil.copy(path, copy)
    path.parent.rename(away)
    assert undo_all(workshop, copy) == 1
    away.rename(path.parent)
    assert undo_all(workshop, workshop.folder) == 1
    assert path.read_bytes() == copy.read_bytes() == data


@pytest.mark.parametrize("step", ["about to swap", "swapped"])
def test_an_undo_of_what_was_moved_that_is_killed_can_be_done_again(workshop: Workshop, step: str) -> None:
    path, moved, other = (workshop.folder / name for name in ("a.jpg", "b.jpg", "c.jpg"))
    data = draw(path, 1)
    draw(other, 2)
    workshop.once()
    path.rename(moved)
    code = KILLED_UNDO.format(root=str(Path(__file__).parents[2]), base=str(workshop.base), step=step)
    code = code.replace('"a.jpg"', '"b.jpg"')
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == -9
    undo_all(workshop, workshop.folder)
    assert moved.read_bytes() == data
    assert not path.exists()
    assert undo_all(workshop, workshop.folder) == 0


def test_undo_reads_only_what_may_be_a_result_that_it_misses(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(6):
        draw(workshop.folder / f"{number}.jpg", number)
    workshop.once()
    for number in range(6, 9):
        draw(workshop.folder / f"{number}.jpg", number, 90, 90)
    read: list[str] = []

    def counted(path: Path) -> str:
        read.append(path.name)
        return hash_of(path)

    ledger = workshop.ledger()
    monkeypatch.setattr("liif_daemon.undoable.hash_of", counted)
    monkeypatch.setattr("liif_engine.picture.image_file.read_marker", counted)
    assert len(undoable(workshop.folder, ledger)) == 6
    assert read == []
    (workshop.folder / "0.jpg").unlink()
    (workshop.folder / "1.jpg").rename(workshop.folder / "moved.jpg")
    found = undoable(workshop.folder, ledger)
    ledger.close()
    assert {job.path.name for job in found} == {"0.jpg", "moved.jpg", "2.jpg", "3.jpg", "4.jpg", "5.jpg"}
    assert read == ["moved.jpg"]


def test_to_find_what_is_to_be_undone_in_a_renamed_folder_takes_as_long_for_each_result(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new, count = workshop.folder / "old", workshop.folder / "new", 300
    new.mkdir()
    ledger, row = workshop.ledger(), {"folder": workshop.folder, "target": "2x", "in_place": True, "size": 1}
    row |= {"mtime_ns": 1, "model": "web", "width": 1, "height": 1}
    with ledger.together():
        for number in range(count):
            path, data = old / f"{number}.jpg", f"result {number:04}".encode()
            (new / path.name).write_bytes(data)
            ledger.note({**row, "path": path, "source_sha256": str(number)}, "done", "")
            (job,) = ledger.jobs(path=path)
            facts = {"result_sha256": sha(data), "result_size": len(data), "destination": path, "kept": True}
            ledger.promise(job, **facts, model="web", out=(2, 2))
    asked = 0

    class Counted(Job):
        def __getattribute__(self, name: str) -> Any:
            nonlocal asked
            asked += 1
            return super().__getattribute__(name)

    monkeypatch.setattr(rows, "Job", Counted)
    assert len(undoable(new, ledger)) == count
    assert asked < 100 * count
