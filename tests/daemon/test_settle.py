"""When a file that is written or renamed counts as settled."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from liif_daemon.settle import Settling

from .workshop import Workshop, draw, sha, wait_until


def test_a_file_that_is_written_slowly_is_taken_when_it_is_whole(workshop: Workshop) -> None:
    data = draw(workshop.base / "elsewhere.png", 1, 60, 60)
    path = workshop.folder / "a.png"
    with workshop.running(settle_seconds=30), path.open("wb", buffering=0) as file:
        for start in range(0, len(data), 1000):
            file.write(data[start : start + 1000])
            time.sleep(0.03)  # what is tested is the pace of a slow writer
        assert workshop.counts() == {}
        file.close()
        wait_until(lambda: workshop.counts() == {"done": 1})
    assert workshop.store.holds(sha(data))


def test_a_file_renamed_while_and_after_it_is_written_is_taken_under_its_last_name(workshop: Workshop) -> None:
    data = draw(workshop.base / "elsewhere.png", 1, 60, 60)
    with workshop.running(settle_seconds=30):
        first, second = workshop.folder / "a.png.part", workshop.folder / "b.crdownload"
        with first.open("wb", buffering=0) as file:
            file.write(data[:2000])
            first.rename(second)
            file.write(data[2000:])
        second.rename(workshop.folder / "c.png")
        wait_until(lambda: workshop.counts() == {"done": 1})
    assert [path.name for path in workshop.folder.iterdir()] == ["c.png"]
    assert workshop.store.holds(sha(data))


def test_settled_means_unchanged_for_the_time_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr("liif_daemon.settle.time.monotonic", lambda: clock[0])
    monkeypatch.setattr("liif_daemon.settle.is_open_for_writing", lambda _: None)
    path, settling = tmp_path / "a.jpg", Settling()
    path.write_bytes(b"one")
    settling.hint(path, 5)
    assert settling.settled() == []
    clock[0] += 4
    path.write_bytes(b"three")
    assert settling.settled() == []
    clock[0] += 4
    assert settling.settled() == []
    clock[0] += 2
    assert settling.settled() == [path]
    assert len(settling) == 0


def test_an_old_file_has_settled_and_one_from_the_future_is_watched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("liif_daemon.settle.is_open_for_writing", lambda _: False)
    old, future, settling = tmp_path / "old.jpg", tmp_path / "future.jpg", Settling()
    for path, age in ((old, 3600), (future, -3600)):
        path.write_bytes(b"x")
        os.utime(path, (time.time() - age,) * 2)
        settling.hint(path, 60)
    assert settling.settled() == [old]
    assert len(settling) == 1


def test_a_link_a_folder_and_a_missing_file_are_forgotten(tmp_path: Path) -> None:
    settling = Settling()
    (tmp_path / "link.jpg").symlink_to(tmp_path)
    (tmp_path / "folder.jpg").mkdir()
    for name in ("link.jpg", "folder.jpg", "missing.jpg"):
        settling.hint(tmp_path / name, 0)
    assert settling.settled() == []
    assert len(settling) == 0
