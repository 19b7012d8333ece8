"""What may happen between two steps: files that come, folders that go, undo that is interrupted, promises renewed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from liif_daemon import asked, free, work, workplace
from liif_daemon.ledger import Owner
from liif_daemon.names import pictures
from liif_daemon.prune import prune
from liif_daemon.scan import scan
from liif_daemon.store import Store

from .test_undo import undo_all
from .workshop import SOON, Copying, Workshop, at, draw, no_engine, sha, size_of, wait_until


def a_picture_and_a_newer_one(workshop: Workshop) -> tuple[Path, Path]:
    """A picture in the watched folder, and another one outside that is to take its place."""
    path, newer = workshop.folder / "a.jpg", workshop.base / "newer.jpg"
    draw(path, 1)
    draw(newer, 2, 24, 20)
    return path, newer


@pytest.mark.parametrize("step", ["swapped", "swap verified"])
def test_a_file_that_comes_as_a_result_takes_its_place_is_seen(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    path, newer = a_picture_and_a_newer_one(workshop)
    at(monkeypatch, step, lambda: newer.replace(path))
    workshop.once()
    assert workshop.once() == {"done": 2}
    assert size_of(path) == (48, 40)


def test_a_file_that_comes_as_an_original_comes_back_is_seen(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, newer = a_picture_and_a_newer_one(workshop)
    workshop.once()
    at(monkeypatch, "swap verified", lambda: newer.replace(path))
    assert undo_all(workshop, path) == 1
    assert workshop.once() == {"done": 1, "undone": 1}


def test_a_file_that_comes_as_a_killed_run_is_put_in_order_is_seen(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, newer = a_picture_and_a_newer_one(workshop)
    recover = work.recover

    def and_then(*arguments: Any) -> str | None:
        here = recover(*arguments)
        if newer.exists():
            newer.replace(path)
        return here

    def stumble() -> None:
        raise OSError(5, os.strerror(5))

    at(monkeypatch, "swap verified", stumble)
    monkeypatch.setattr(work, "recover", and_then)
    workshop.once()
    assert workshop.once() == {"done": 2}


@pytest.mark.parametrize("step", ["about to swap", "swapped", "folders flushed", "swap verified"])
def test_an_undo_that_is_interrupted_is_undone_or_not(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    path = workshop.folder / "a.jpg"
    data = draw(path, 1)
    workshop.once()

    def interrupt() -> None:
        raise KeyboardInterrupt

    at(monkeypatch, step, interrupt)
    with pytest.raises(KeyboardInterrupt):
        undo_all(workshop, path)
    back = path.read_bytes() == data
    assert back == (step != "about to swap")
    assert workshop.once() == ({"undone": 1} if back else {"done": 1})  # and nothing is restored again
    assert (path.read_bytes() == data) == back


def test_a_result_put_over_a_picture_that_waits_ends_its_wait(workshop: Workshop) -> None:
    done, path = workshop.folder / "a.jpg", workshop.folder / "b.jpg"
    data = draw(done, 1)
    workshop.once()
    engine, workshop.engine = workshop.engine, Copying(no_engine)
    path.write_bytes(data)
    assert workshop.once() == {"done": 1, "queued": 1}
    workshop.engine = engine
    shutil.copy(done, path)
    assert workshop.once() == {"done": 1, "skipped": 1}
    assert undo_all(workshop, path) == 1  # the copy, by its content
    assert path.read_bytes() == data


def test_retry_of_a_size_that_is_no_longer_asked_for_ends(workshop: Workshop) -> None:
    path = workshop.folder / "a.jpg"
    data = draw(path, 1)
    engine, workshop.engine = workshop.engine, Copying(no_engine)
    assert workshop.once() == {"queued": 1}
    workshop.engine = engine
    assert workshop.once(scale=4) == {"done": 1, "skipped": 1}
    with workshop.running(scale=4) as daemon:
        assert daemon.ledger.retry(daemon.ledger.jobs(path=path)) == 1
        daemon._wake.set()
        wait_until(lambda: workshop.counts() == {"done": 1, "skipped": 1}, SOON)
    assert size_of(path) == (80, 64)
    assert undo_all(workshop, path) == 1
    assert path.read_bytes() == data


def test_retry_of_what_an_undo_that_was_killed_had_not_brought_back(workshop: Workshop) -> None:
    """The row is undone, but its result lies there still."""
    path = workshop.folder / "a.jpg"
    data = draw(path, 1)
    workshop.once()
    ledger = workshop.ledger()
    ledger.finish(ledger.jobs()[0], "undone", "undone")
    assert ledger.retry(ledger.jobs()) == 1
    ledger.close()
    assert workshop.once() == {"done": 1}
    assert undo_all(workshop, path) == 1
    assert path.read_bytes() == data


def test_a_result_whose_folder_went_away_amid_the_swap_can_be_undone(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, away = workshop.folder / "a.jpg", workshop.base / "away"
    data = draw(path, 1)
    at(monkeypatch, "swapped", lambda: workshop.folder.rename(away))
    workshop.once()
    assert (away / "a.jpg").read_bytes() != data
    away.rename(workshop.folder)
    assert workshop.once() == {"done": 1}
    assert workshop.leftovers() == []
    assert undo_all(workshop, path) == 1
    assert path.read_bytes() == data


def test_a_picture_of_somebody_s_is_never_taken_for_an_older_result_beside_another(workshop: Workshop) -> None:
    """As with icon.png and icon@2x.png: the second was restored in its own right."""
    theirs = workshop.folder / "a@4x.jpg"
    draw(theirs, 1)
    assert workshop.once(keep_originals="none") == {"done": 1}
    restored = theirs.read_bytes()
    draw(workshop.folder / "a.jpg", 2)
    assert workshop.once(scales=[2, 4]) == {"done": 2, "failed": 1}
    assert theirs.read_bytes() == restored
    draw(workshop.folder / "b.jpg", 3)
    assert workshop.once(scales=[2, 4]) == {"done": 4, "failed": 1}
    draw(workshop.folder / "b.jpg", 4)
    assert workshop.once(scales=[2, 4]) == {"done": 6, "failed": 1}  # an older result gives way to a newer one


def test_a_copy_of_a_result_that_is_redone_takes_nothing_from_the_one_it_was_copied_from(workshop: Workshop) -> None:
    first, path = workshop.folder / "a copy.jpg", workshop.folder / "b.jpg"
    data = draw(path, 1)
    workshop.once()
    shutil.copy(path, first)
    settings = workshop.settings(scale=4)
    ledger = workshop.ledger()
    assert scan(settings, ledger, again=True, dry_run=False, say=lambda _: None) == {"to be restored": 2}
    ledger.close()
    assert workshop.once(scale=4) == {"done": 2, "skipped": 2}
    for one in (first, path):
        assert size_of(one) == (80, 64)
        assert undo_all(workshop, one) == 1
        assert one.read_bytes() == data


def test_a_promise_renewed_while_others_are_let_go_is_kept(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger, store = workshop.ledger(), workshop.store
    kept = []
    for seed in range(3):
        data = draw(workshop.base / f"{seed}.jpg", seed)
        ledger.originals.promise(sha(data), store.keep(workshop.base / f"{seed}.jpg", sha(data)), store.folder, 0)
        kept.append(sha(data))
    row = {"path": workshop.folder / "2.jpg", "source_sha256": kept[2], "target": "2x", "in_place": True}
    row |= {"folder": workshop.folder, "size": 1, "mtime_ns": 1, "model": "", "width": 1, "height": 1}
    remove = Store.remove

    def meanwhile(self: Store, sha256: str) -> None:
        remove(self, sha256)
        ledger.originals.promise(kept[1], 1, store.folder, 1e12)
        ledger.queue([row])

    monkeypatch.setattr(Store, "remove", meanwhile)
    assert prune(ledger, store).count == 1
    assert [store.holds(one) for one in kept] == [False, True, True]
    assert {one["sha256"] for one in ledger.originals.all()} == set(kept[1:])
    ledger.close()


@pytest.mark.parametrize("name", [".nfs00000000c0ffee01", ".fuse_hidden000000ab00000001", "._result1.jpg"])
def test_what_a_file_system_makes_of_ours_in_a_workplace_goes_with_it(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Of a file that is removed while it is open, and of attributes that a share has no room for."""
    draw(workshop.folder / "a.jpg", 1)

    def make() -> None:
        (made,) = workshop.folder.glob(".liif-*.tmp")
        (made / name).write_bytes(b"of ours")

    at(monkeypatch, "engine done", make)
    assert workshop.once() == {"done": 1}
    assert not list(workshop.folder.glob(".liif-*.tmp"))


def test_what_new_settings_leave_out_is_not_restored_though_it_was_seen_before(workshop: Workshop) -> None:
    path = workshop.folder / "a.jpg"
    data = draw(path, 1)
    with path.open("r+b") as writer, workshop.running() as daemon:
        if free.is_open_for_writing(path) is None:
            pytest.skip("this file system does not tell who writes a file")
        wait_until(lambda: len(daemon.settling) == 1)
        daemon.reload(workshop.settings(exclude=["a.*"]))
        writer.close()
        draw(workshop.folder / "b.jpg", 2)
        wait_until(lambda: workshop.counts().get("done") and not len(daemon.settling))
    assert workshop.once(exclude=["a.*"]) == {"done": 1}
    assert path.read_bytes() == data


def test_what_waits_under_a_former_name_of_its_folder_is_restored_under_the_present_one(workshop: Workshop) -> None:
    data = draw(workshop.folder / "a.jpg", 1)
    link = workshop.base / "link"
    link.symlink_to(workshop.folder)
    workshop.once(path=link)
    undo_all(workshop, link / "a.jpg")
    assert workshop.once() == {"undone": 1}
    assert (workshop.folder / "a.jpg").read_bytes() == data
    ledger = workshop.ledger()
    assert ledger.retry(ledger.jobs(path=link / "a.jpg")) == 1
    ledger.close()
    assert workshop.once() == {"done": 1, "skipped": 1}


def test_a_file_that_is_named_is_not_taken_for_another_case(tmp_path: Path) -> None:
    for seed, name in enumerate(["A.jpg", "a.jpg"]):
        draw(tmp_path / name, seed)
    if len(list(tmp_path.iterdir())) == 1:
        pytest.skip("this file system takes both names for one")
    (folder,) = asked.folders([tmp_path / "A.jpg"], {})
    assert [path.name for path in pictures(folder, tmp_path)] == ["A.jpg"]
    assert (folder, folder.model_copy()) == (asked.folders([tmp_path / "A.jpg"], {})[0], folder)
    (whole,) = asked.folders([tmp_path], {"include": ("A.*",)})
    assert len(list(pictures(whole, tmp_path))) == 2


def test_a_ledger_s_name_in_the_store_is_made_whole_and_follows_the_ledger(tmp_path: Path) -> None:
    """A power loss may leave an empty file; a state folder may be moved."""
    folder = tmp_path / "originals"
    for words in (b"", b"/former/ledger"):
        mine = folder / "ledgers" / ("1" * 32)
        mine.parent.mkdir(parents=True, exist_ok=True)
        mine.write_bytes(words)
        assert Store(folder, Owner("1" * 32, tmp_path / "ledger")).claim() == []
        assert Store(folder, Owner("2" * 32, tmp_path / "other")).claim() == [tmp_path / "ledger"]
        (folder / "ledgers" / ("2" * 32)).unlink()


def test_what_a_kill_left_of_somebody_s_picture_beside_is_put_back(workshop: Workshop) -> None:
    theirs, beside = workshop.folder / "c.jpg", workshop.folder / "a@4x.jpg"
    draw(theirs, 1)
    workshop.once()
    draw(workshop.folder / "a.jpg", 2)
    workshop.once(scales=[2, 4])
    ledger = workshop.ledger()
    (job,) = [job for job in ledger.jobs() if not job.in_place]
    beside.unlink()
    left = shutil.copy(theirs, workshop.base / "left.jpg")
    workplace._clear(left, job, workshop.store, ledger)
    ledger.close()
    assert beside.read_bytes() == theirs.read_bytes()
