"""The store of originals: a share that is not mounted, a disk without room, a pipe that has taken a file's name."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections import namedtuple
from pathlib import Path

import pytest
from liif_daemon import check, places, store_watch
from liif_daemon.prune import prune
from liif_daemon.run import _summary
from liif_daemon.store import Changed, Store, StoreAway
from liif_daemon.undo import undo
from liif_daemon.why import why

from liif_engine.errors import ExitCode, OutputError

from .test_status import status
from .workshop import Copying, Workshop, draw, sha, size_of, wait_until


@pytest.fixture
def share(workshop: Workshop) -> Path:
    """The store is a share; to unmount it is to leave an empty folder behind, in which one may write."""
    place = workshop.base / "share"
    place.mkdir()
    workshop.daemon_values["originals"] = place
    return place


def unmount(share: Path) -> None:
    share.rename(share.with_name("elsewhere"))
    share.mkdir()


def mount(share: Path) -> None:
    shutil.rmtree(share)
    share.with_name("elsewhere").rename(share)


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
@pytest.mark.parametrize("umask", [0o002, 0o000])
def test_the_store_and_all_in_it_is_this_users_alone_whatever_the_umask(workshop: Workshop, umask: int) -> None:
    """Who may write there could put another folder in an original's place, or remove it."""
    draw(workshop.folder / "a.bmp", 1)
    workshop.daemon_values["originals"] = workshop.base / "new" / "originals"
    before = os.umask(umask)
    try:
        assert workshop.once() == {"done": 1}
    finally:
        os.umask(before)
    top = workshop.base / "new" / "originals"
    assert {
        one.name: oct(one.stat().st_mode & 0o077) for one in (top, *top.iterdir()) if one.stat().st_mode & 0o077
    } == {}


def test_a_link_in_the_store_is_not_written_through(workshop: Workshop, share: Path) -> None:
    """Where others may write there, they may put one that leads to a file of this user's."""
    ledger = workshop.ledger()
    name = share / "ledgers" / ledger.originals.owner().identity
    ledger.close()
    name.parent.mkdir()
    theirs = workshop.base / "theirs"
    theirs.write_text("theirs")
    name.symlink_to(theirs)
    draw(workshop.folder / "a.jpg", 1)
    assert workshop.once() == {"done": 1}
    assert theirs.read_text() == "theirs"
    assert not name.is_symlink()


def test_nothing_is_restored_while_the_store_is_unmounted(
    workshop: Workshop, share: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(store_watch, "LOOK_SECONDS", 0.0)
    engine = workshop.engine = Copying()
    first = draw(workshop.folder / "a.jpg", 1)
    assert workshop.once() == {"done": 1}
    unmount(share)
    second = draw(workshop.folder / "b.jpg", 2)
    with workshop.running():
        wait_until(lambda: workshop.counts().get("queued") and "are not there" in (status(workshop)["error"] or ""))
        assert list(share.iterdir()) == []
        assert (workshop.folder / "b.jpg").read_bytes() == second
        assert len(engine.orders) == 1
        mount(share)
        wait_until(lambda: workshop.counts() == {"done": 2})
        wait_until(lambda: status(workshop)["error"] is None)
    assert caplog.text.count("nothing is restored") == 1
    assert [workshop.store.holds(sha(data)) for data in (first, second)] == [True, True]


def test_once_ends_without_the_store_and_says_so(
    workshop: Workshop, share: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draw(workshop.folder / "a.jpg", 1)
    workshop.once()
    unmount(share)
    draw(workshop.folder / "b.jpg", 2)
    with workshop.running(once=True) as daemon:
        wait_until(lambda: not daemon.tick())
        assert _summary(daemon) is ExitCode.SEVERAL
    said = capsys.readouterr()
    assert said.out.startswith("0 restored, 0 left as they are, 0 failed, 1 waiting")
    assert "unmounted" in said.err


def test_what_keeps_no_originals_is_restored_without_the_store(workshop: Workshop, share: Path) -> None:
    draw(workshop.folder / "a.jpg", 1)
    workshop.once()
    unmount(share)
    draw(workshop.folder / "b.jpg", 2)
    assert workshop.once(keep_originals="none") == {"done": 2}


def test_a_store_that_goes_amid_the_work_gets_nothing(workshop: Workshop, share: Path) -> None:
    draw(workshop.folder / "a.jpg", 1)
    workshop.once()
    data = draw(workshop.folder / "b.jpg", 2)
    workshop.engine = Copying(before=lambda _: unmount(share) if list(share.iterdir()) else None)
    assert workshop.once() == {"done": 1, "queued": 1}
    assert list(share.iterdir()) == []
    assert (workshop.folder / "b.jpg").read_bytes() == data
    assert workshop.leftovers() == []
    mount(share)
    workshop.engine = Copying()
    assert workshop.once() == {"done": 2}


def test_a_store_that_goes_before_the_copy_does_not_hold_it(
    workshop: Workshop, share: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw(workshop.folder / "a.jpg", 1)
    workshop.once()
    data, store, claim = draw(workshop.folder / "b.jpg", 2), workshop.store, Store.claim

    def and_goes(self: Store) -> list[Path]:
        others = claim(self)
        unmount(share)
        return others

    monkeypatch.setattr(Store, "claim", and_goes)
    with pytest.raises(StoreAway):
        store.keep(workshop.folder / "b.jpg", sha(data))


def test_originals_of_a_store_that_is_unmounted_are_not_said_to_be_gone(workshop: Workshop, share: Path) -> None:
    path = workshop.folder / "a.jpg"
    data = draw(path, 1)
    workshop.once(keep_originals="none")
    workshop.once()
    unmount(share)
    ledger, store, settings = workshop.ledger(), workshop.store, workshop.settings()
    (job,) = ledger.jobs()
    with pytest.raises(StoreAway):
        undo(job, ledger, store)
    assert "out of reach" in " ".join(why(path, settings, ledger, store))
    with ledger.together():  # as if it had been kept for a moment
        ledger.originals.promise("0" * 64, 1, store.folder, 0)
    with pytest.raises(OutputError, match="unmounted"):
        prune(ledger, store)
    assert len(ledger.originals.all()) == 1
    ledger.close()
    assert path.read_bytes() != data
    assert list(share.iterdir()) == []


def test_check_misses_the_store(workshop: Workshop, share: Path) -> None:
    assert list(check._store(workshop.settings())) == []
    draw(workshop.folder / "a.jpg", 1)
    workshop.once()
    assert list(check._store(workshop.settings())) == []
    unmount(share)
    (found,) = check._store(workshop.settings())
    assert found.level == "error"
    assert "unmounted" in found.words


def test_check_finds_a_page_of_the_ledger_that_is_damaged(workshop: Workshop) -> None:
    draw(workshop.folder / "a.jpg", 1)
    workshop.once()
    path = places.ledger_path(workshop.settings())
    whole = path.read_bytes()
    for start in range(4096, len(whole), 4096):
        path.write_bytes(whole[:start] + b"\xff" * 4096 + whole[start + 4096 :])
        (found,) = check._store(workshop.settings())
        assert found.level == "error", start
        assert "The file is damaged" in found.words
    path.write_bytes(whole)
    assert list(check._store(workshop.settings())) == []


def test_a_size_beside_whose_original_is_in_a_store_that_is_unmounted_waits(workshop: Workshop, share: Path) -> None:
    path = workshop.folder / "a.jpg"
    draw(path, 1)
    (workshop.folder / "a@4x.jpg").write_bytes(b"somebody's")
    assert workshop.once(scales=[2, 4])["failed"] >= 1
    (workshop.folder / "a@4x.jpg").unlink()
    ledger = workshop.ledger()
    assert ledger.retry(ledger.jobs(path=path, state="failed")) == 1
    ledger.close()
    unmount(share)
    assert workshop.once(scales=[2, 4], keep_originals="none").get("queued") == 1  # it needs one from the store
    mount(share)
    workshop.once(scales=[2, 4])
    assert size_of(workshop.folder / "a@4x.jpg") == (80, 64)


def test_a_store_that_is_gone_for_good_is_begun_anew_by_a_file(workshop: Workshop, share: Path) -> None:
    draw(workshop.folder / "a.jpg", 1)
    workshop.once()
    unmount(share)
    with pytest.raises(StoreAway) as caught:
        workshop.store.claim()
    claim = Path(str(caught.value.strerror).rpartition(" ")[2])
    claim.parent.mkdir()
    claim.touch()
    data = draw(workshop.folder / "b.jpg", 2)
    assert workshop.once() == {"done": 2}
    assert workshop.store.holds(sha(data))


@pytest.mark.parametrize("had_names", [True, False])
def test_a_ledger_that_is_older_than_the_list_of_stores_wants_its_store_all_the_same(
    workshop: Workshop, share: Path, monkeypatch: pytest.MonkeyPatch, had_names: bool
) -> None:
    """The oldest left no file in the store either: there the originals tell."""
    monkeypatch.setattr(store_watch, "LOOK_SECONDS", 0.0)
    draw(workshop.folder / "a.jpg", 1)
    workshop.once()
    ledger = workshop.ledger()
    with ledger._file.change() as db:
        db.execute("DELETE FROM stores")
    ledger.close()
    if not had_names:
        shutil.rmtree(share / "ledgers")
    unmount(share)
    data = draw(workshop.folder / "b.jpg", 2)
    with workshop.running():
        wait_until(lambda: workshop.counts() == {"done": 1, "queued": 1})
        wait_until(lambda: "are not there" in (status(workshop)["error"] or ""))
        assert (workshop.folder / "b.jpg").read_bytes() == data
        assert list(share.iterdir()) == []
        mount(share)
        wait_until(lambda: workshop.counts() == {"done": 2})
    assert workshop.store.holds(sha(data))
    unmount(share)
    with pytest.raises(StoreAway):
        workshop.store.check()


def test_a_store_without_room_is_found_out_before_the_work(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    usage, free = namedtuple("usage", "total free"), [10]
    engine = workshop.engine = Copying()
    monkeypatch.setattr("liif_daemon.store.shutil.disk_usage", lambda _: usage(1 << 40, free[0]))
    draw(workshop.folder / "a.jpg", 1)
    with workshop.running() as daemon:
        wait_until(lambda: any("full" in job.reason for job in daemon.ledger.jobs(state="queued")))
        assert engine.orders == []
        free[0] = 1 << 30
        wait_until(lambda: workshop.counts() == {"done": 1})


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes with names")
def test_a_pipe_is_not_kept_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.jpg")
    with pytest.raises(Changed):
        Store(tmp_path / "store").keep(tmp_path / "a.jpg", "0" * 64)


@pytest.mark.skipif(os.name != "posix", reason="elsewhere a folder cannot be flushed; runs on Linux and macOS")
def test_nothing_is_replaced_whose_copy_a_failing_disk_may_lose(
    workshop: Workshop, share: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flush = os.fsync

    def fails(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode) and any(share.glob("??/*")):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", fails)
    workshop.engine = Copying()
    before = draw(workshop.folder / "a.jpg", 1)
    workshop.once()
    assert (workshop.folder / "a.jpg").read_bytes() == before
    assert "done" not in workshop.counts()
    monkeypatch.undo()
    assert workshop.once() == {"done": 1}
