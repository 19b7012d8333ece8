"""What is seen, when it has settled, and what is never looked at."""

from __future__ import annotations

import itertools
import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from liif_daemon import mounts, names, observe, presence, watcher
from liif_daemon.ledger import LONGEST_WAIT
from liif_daemon.settings import FolderSettings
from liif_daemon.settle import Settling
from watchdog.events import DirCreatedEvent, FileCreatedEvent

from .workshop import Copying, Workshop, draw, sha, size_of, wait_until


def test_a_file_whose_name_changes_while_it_is_restored_is_restored_under_the_new_one(workshop: Workshop) -> None:
    data = draw(workshop.folder / "a.jpg", 1)
    renamed = workshop.folder / "b.jpg"

    def rename(_: object) -> None:
        if not renamed.exists():
            (workshop.folder / "a.jpg").rename(renamed)

    workshop.engine = Copying(before=rename)
    with workshop.running():
        wait_until(lambda: workshop.counts().get("done") == 1)
    assert size_of(renamed) == (40, 32)
    assert [path.name for path in workshop.folder.iterdir()] == ["b.jpg"]
    assert workshop.store.holds(sha(data))


@pytest.mark.parametrize(
    ("name", "looked_at"),
    [
        ("a.jpg", True),
        ("deep/er/A.JPEG", True),
        ("a.txt", False),
        (".a.jpg", False),
        (".hidden/a.jpg", False),
        ("@eaDir/a.jpg", False),
        ("x/.stversions/a.jpg", False),
        ("a.jpg.part", False),
        ("a.jpg~", False),
        (".liif-0123456789abcdef.tmp/result1.jpg", False),
        ("raw/a.jpg", False),
        ("a@4x.jpg", False),
    ],
)
def test_names(tmp_path: Path, name: str, looked_at: bool) -> None:
    folder = FolderSettings(path=tmp_path, exclude=("raw/*", "*@4x.*"))
    reason = names.why_not(tmp_path / name, folder)
    assert (reason is None) == looked_at
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")
    assert (path in list(names.pictures(folder, tmp_path))) == looked_at


def test_a_folder_that_goes_while_others_are_read_is_no_folder_that_is_closed(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        draw(tmp_path / name / "x.jpg", 1)
    closed = []

    def goes(here: Path) -> bool:
        if here.name == "b":
            (here / "x.jpg").unlink()
            here.rmdir()
        return False

    found = names.pictures(FolderSettings(path=tmp_path), tmp_path, goes, lambda *what: closed.append(what))
    assert sorted(path.parent.name for path in found) == ["a", "c"]
    assert closed == []


@pytest.mark.parametrize("polling", [False, True])
def test_links_are_not_followed_out_of_the_folder(workshop: Workshop, polling: bool) -> None:
    outside = draw(workshop.base / "outside" / "a.jpg", 1)
    (workshop.folder / "way").symlink_to(workshop.base / "outside")
    (workshop.folder / "b.jpg").symlink_to(workshop.base / "outside" / "a.jpg")
    workshop.daemon_values["poll_seconds"] = 0.1
    with workshop.running(polling=polling) as daemon:
        wait_until(lambda: daemon.watcher.present() and not daemon.scans.due(()))
        (workshop.folder / "another way").symlink_to(workshop.base / "outside")
        draw(workshop.base / "outside" / "d.jpg", 3)
        draw(workshop.folder / "c.jpg", 2)
        wait_until(lambda: workshop.counts() == {"done": 1})
        draw(workshop.folder / "e.jpg", 4)  # a look later
        wait_until(lambda: workshop.counts().get("done") == 2)
    assert workshop.once() == {"done": 2}
    assert (workshop.base / "outside" / "a.jpg").read_bytes() == outside


@pytest.mark.parametrize("polling", [False, True])
def test_a_picture_in_a_deep_tree_that_comes_is_hinted_at_no_oftener_than_in_a_flat_one(
    tmp_path: Path, polling: bool
) -> None:
    """With 500,000 of them, ten folders deep, that is the difference between seconds and minutes."""
    hinted: list[str] = []
    folder = FolderSettings(path=tmp_path / "watched", polling=polling)
    folder.path.mkdir()
    draw(tmp_path.joinpath("tree", *"abcdefghijkl", "deep.jpg"), 1)
    observation = observe.Observation(folder, 0.1, lambda path, *_: hinted.append(path.name))
    try:
        (tmp_path / "tree").rename(folder.path / "tree")
        wait_until(lambda: hinted)
        draw(folder.path / "later.jpg", 2)
        wait_until(lambda: "later.jpg" in hinted)
    finally:
        observation.end()
    assert hinted.count("deep.jpg") <= 2


def test_looks_that_take_long_are_followed_by_longer_rests_and_leave_thumbnails_of_others_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A look at 500,000 files every ten seconds would take half of a core, and a NAS' disks would never sleep."""
    looks: list[tuple[str, float]] = []
    scandir = os.scandir

    def slow(place: str) -> object:
        looks.append((place, time.monotonic()))
        time.sleep(0.1)  # as a large folder takes
        return scandir(place)

    (tmp_path / "@eaDir" / "a.jpg").mkdir(parents=True)
    monkeypatch.setattr(observe, "os", SimpleNamespace(**{**vars(os), "scandir": slow}))
    observation = observe.Observation(FolderSettings(path=tmp_path, polling=True), 0.01, lambda *_: None)
    try:
        wait_until(lambda: len(looks) > 4)
    finally:
        observation.end()
    assert len({place for place, _ in looks}) == 1
    begun = [when for _, when in looks[1:]]  # how long the first took, the second does not know
    assert all(after - before > 0.4 for before, after in itertools.pairwise(begun))


def test_what_tells_a_share_is_not_written_through_a_link(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mounts, "is_mount", lambda path: path == workshop.folder)
    (workshop.folder / watcher.MARKER).symlink_to(workshop.base / "other")
    draw(workshop.folder / "a.jpg", 1)
    assert workshop.once() == {"done": 1}
    assert not (workshop.base / "other").exists()


def test_a_folder_whose_inode_is_made_up_with_each_answer_is_one_folder(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As some of FUSE do: it was begun anew, and scanned, each second, and a run with `once` did not end."""
    real, ledger, inodes = Path.stat, workshop.ledger(), itertools.count(1000)

    def stat(path: Path, **options: Any) -> os.stat_result:
        said = real(path, **options)
        return os.stat_result((said.st_mode, next(inodes), *said[2:10]))

    folder = workshop.folder
    with monkeypatch.context() as there:
        there.setattr(Path, "stat", stat)
        assert presence.look(folder, ledger) == presence.look(folder, ledger)
    before = presence.look(folder, ledger)
    folder.rename(folder.with_name("former"))
    folder.mkdir()
    assert presence.look(folder, ledger) != before


def test_links_that_go_round_and_round_hold_up_no_polling(workshop: Workshop) -> None:
    for name in ("one", "two"):
        (workshop.folder / name).symlink_to(workshop.folder)
    workshop.daemon_values["poll_seconds"] = 0.1
    with workshop.running(polling=True) as daemon:
        assert daemon.watcher.status()[0]["how"] == "polling"
        draw(workshop.folder / "a.jpg", 1)
        wait_until(lambda: workshop.counts() == {"done": 1})


@pytest.mark.parametrize("polling", [False, True])
def test_a_folder_that_is_a_link_is_watched_like_any_other(workshop: Workshop, polling: bool) -> None:
    link = workshop.base / "link"
    link.symlink_to(workshop.folder)
    workshop.daemon_values["poll_seconds"] = 0.1
    with workshop.running(path=link, polling=polling) as daemon:
        wait_until(lambda: daemon.watcher.present() and not daemon.scans.due(()))
        draw(workshop.folder / "a.jpg", 1)
        draw(workshop.folder / "deep" / "b.jpg", 2)
        wait_until(lambda: workshop.counts() == {"done": 2})


@pytest.mark.skipif(sys.platform == "win32", reason="links need a right of their own on Windows")
def test_what_is_told_by_the_folder_s_real_name_counts_by_its_own(tmp_path: Path) -> None:
    """macOS tells of files by their real path, whatever it was asked to watch."""
    real, link, heard = tmp_path / "real", tmp_path / "link", []
    for place in (real / "album", tmp_path / "elsewhere"):
        draw(place / "a.jpg", 1)
    link.symlink_to(real)
    handler = observe._Handler(FolderSettings(path=link), lambda path, *_: heard.append(path))
    handler.on_any_event(FileCreatedEvent(str(real / "b.jpg")))
    handler.on_any_event(DirCreatedEvent(str(real / "album")))
    handler.on_any_event(DirCreatedEvent(str(tmp_path / "elsewhere")))
    assert heard == [link / "b.jpg", link / "album" / "a.jpg"]


def test_a_folder_that_is_moved_in_is_looked_at_whole(workshop: Workshop) -> None:
    for n in range(3):
        draw(workshop.base / "album" / "deep" / f"{n}.jpg", n)
    with workshop.running():
        (workshop.base / "album").rename(workshop.folder / "album")
        wait_until(lambda: workshop.counts() == {"done": 3})


def test_polling_sees_what_comes(workshop: Workshop) -> None:
    workshop.daemon_values["poll_seconds"] = 0.1
    with workshop.running(polling=True) as daemon:
        assert daemon.watcher.status()[0]["how"] == "polling"
        draw(workshop.folder / "a.jpg", 1)
        wait_until(lambda: workshop.counts() == {"done": 1})


def test_a_wait_is_never_longer_than_stated() -> None:
    assert LONGEST_WAIT == 900


def test_a_file_that_comes_while_its_absence_is_found_out_is_not_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settling = Settling()
    path = tmp_path / "a.jpg"
    settling.hint(path, 0)

    def comes(asked: Path, _: object) -> bool:
        monkeypatch.undo()
        asked.write_bytes(b"one")
        settling.hint(asked, 0, closed=True)
        return False  # it was not there when it was looked for

    monkeypatch.setattr("liif_daemon.settle._look", comes)
    assert settling.settled() == []
    assert settling.settled() == [path]
