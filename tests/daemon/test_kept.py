"""Promise 2: originals are on the disk before their results, and are kept as long as was set."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest
from liif_daemon import steps, swap
from liif_daemon.asking import Question
from liif_daemon.ledger import Ledger, clock
from liif_daemon.prune import prune
from liif_daemon.status import gather
from liif_daemon.store import Store
from liif_daemon.undo import undo

from liif_engine.errors import LiifError, OutputError

from .workshop import Workshop, draw, left_open, sha, wait_until

DAY = 86400  # [s]


def test_originals_are_kept_as_long_as_promised(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    up = 0.0
    monkeypatch.setattr(clock, "_since_boot", lambda: ("this start", up))
    kept = draw(workshop.folder / "for-ever.jpg", 1)
    workshop.once()
    let_go = draw(workshop.folder / "a-month.jpg", 2)
    workshop.once(keep_originals="30 days")
    draw(workshop.folder / "never.jpg", 3)
    workshop.once(keep_originals="none")
    ledger, store = workshop.ledger(), workshop.store
    assert sorted(path.name for path in store) == sorted([sha(kept), sha(let_go)])
    assert prune(ledger, store).count == 0
    up += 29 * DAY
    assert prune(ledger, store).count == 0
    up += 2 * DAY
    assert prune(ledger, store, dry_run=True).count == 1
    assert prune(ledger, store).count == 1
    assert [path.name for path in store] == [sha(kept)]
    assert gather(workshop.settings(), ledger)["originals"] == {"count": 1, "bytes": len(kept)}
    for name in ("a-month.jpg", "never.jpg"):
        with pytest.raises(LiifError, match="not in the store"):
            undo(ledger.jobs(path=workshop.folder / name)[0], ledger, store)
    ledger.close()


def test_the_order_of_what_is_made_durable(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Power loss: result and backup are flushed, and the ledger has the result's hash, before the names change."""
    flushed, said = set[tuple[int, int]](), dict[str, list[bool]]()
    real_fsync, real_exchange = os.fsync, swap.exchange

    def fsync(descriptor: int) -> None:
        real_fsync(descriptor)
        found = os.fstat(descriptor)
        flushed.add((found.st_ino, found.st_ctime_ns))

    def as_it_is(path: Path) -> bool:
        """Whether it was flushed since it changed last, in its metadata too."""
        return (path.stat().st_ino, path.stat().st_ctime_ns) in flushed

    def exchange(one: Path, other: Path) -> bool:
        job, kept = workshop.ledger().jobs()[0], workshop.store.path_of(sha(other))
        said["before"] = [
            job.result_sha256 == sha(one),
            as_it_is(one),
            as_it_is(one.parent),
            kept.stat().st_ino in {inode for inode, _ in flushed},  # its name came later
            *map(as_it_is, (kept.parent, kept.parents[1])),
        ]
        flushed.clear()
        return bool(real_exchange(one, other))

    def reached(step: str) -> None:
        if step == "swap verified":
            said["after"] = [as_it_is(workshop.folder), *map(as_it_is, workshop.folder.glob(".liif-*"))]

    draw(workshop.folder / "a.jpg", 1)
    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(swap, "exchange", exchange)
    monkeypatch.setattr(steps, "on_step", reached)
    workshop.once()
    assert said == {"before": [True] * 6, "after": [True] * 2}


def test_no_original_is_let_go_where_two_ledgers_keep_theirs(workshop: Workshop) -> None:
    data = draw(workshop.base / "a.jpg", 1)
    folder, owners = workshop.base / "originals", []
    for name in ("one", "two"):
        ledger = left_open(Ledger(workshop.base / name / "ledger.sqlite"))
        store = Store(folder, ledger.originals.owner())
        ledger.originals.promise(sha(data), store.keep(workshop.base / "a.jpg", sha(data)), store.folder, 0)
        owners.append((ledger, store))
    for (ledger, store), other in zip(owners, ("two", "one"), strict=True):
        with pytest.raises(LiifError, match=f"{other}/ledger.sqlite keeps originals here too"):
            prune(ledger, store)
        assert len(ledger.originals.all()) == 1
        assert store.holds(sha(data))
    (gone, store), (left, _) = owners
    left.close()
    (folder / "ledgers" / owners[1][1].owner.identity).unlink()
    assert prune(gone, store).count == 1
    assert not store.holds(sha(data))
    gone.close()


def test_a_store_that_turned_read_only_is_said_in_words(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    data = draw(workshop.base / "a.jpg", 1)
    ledger, store = workshop.ledger(), workshop.store
    ledger.originals.promise(sha(data), store.keep(workshop.base / "a.jpg", sha(data)), store.folder, 0)

    def refuse(self: Path, **_: bool) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(self))

    with monkeypatch.context() as context:
        context.setattr(Path, "unlink", refuse)
        with pytest.raises(OutputError, match="Read-only"):
            prune(ledger, store)
    assert store.holds(sha(data))
    assert prune(ledger, store).count == 1  # nor was it forgotten
    ledger.close()


def test_an_original_that_leaves_a_store_that_does_not_answer_holds_up_no_other_change(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = draw(workshop.base / "a.jpg", 1)
    ledger, store, remove = workshop.ledger(), workshop.store, Store.remove
    ledger.originals.promise(sha(data), store.keep(workshop.base / "a.jpg", sha(data)), store.folder, 0)
    asked_for, answers = threading.Event(), threading.Event()

    def held_up(self: Store, sha256: str) -> None:
        asked_for.set()
        answers.wait(60)
        remove(self, sha256)

    monkeypatch.setattr(Store, "remove", held_up)
    pruning, change = (
        Question(ask) for ask in (lambda: prune(ledger, store), lambda: ledger.folders.agree(workshop.folder))
    )
    pruning.put()
    assert asked_for.wait(60)
    change.put()
    assert change.wait(30)
    with pytest.raises(OSError, match="just leaving"):  # it would be lost
        ledger.originals.promise(sha(data), 1, store.folder, DAY)
    with pytest.raises(LiifError, match="another process"):
        prune(ledger, store)
    answers.set()
    assert pruning.wait(60)
    ledger.originals.promise(sha(data), store.keep(workshop.base / "a.jpg", sha(data)), store.folder, DAY)
    assert prune(ledger, store).count == 0
    assert store.holds(sha(data))
    ledger.close()


def test_what_a_killed_prune_had_begun_the_next_one_ends_and_who_needs_it_waits(workshop: Workshop) -> None:
    data = draw(workshop.folder / "a.jpg", 1)
    ledger, store = workshop.ledger(), workshop.store
    ledger.originals.promise(sha(data), store.keep(workshop.folder / "a.jpg", sha(data)), store.folder, 0)
    assert ledger.originals.let_go(ledger.originals.all()[0])
    with workshop.running():
        wait_until(lambda: any("just leaving" in job.reason for job in ledger.jobs(state="queued")))
        assert (workshop.folder / "a.jpg").read_bytes() == data
        assert prune(ledger, store).count == 0
        wait_until(lambda: workshop.counts() == {"done": 1})
    assert store.holds(sha(data))
    ledger.close()


def test_what_a_killed_prune_had_begun_stays_where_another_ledger_keeps_originals_by_now(workshop: Workshop) -> None:
    data = draw(workshop.base / "a.jpg", 1)
    ledger, store = workshop.ledger(), workshop.store
    ledger.originals.promise(sha(data), store.keep(workshop.base / "a.jpg", sha(data)), store.folder, 0)
    assert ledger.originals.let_go(ledger.originals.all()[0])
    other = left_open(Ledger(workshop.base / "other" / "ledger.sqlite"))
    Store(store.folder, other.originals.owner()).claim()
    with pytest.raises(LiifError, match="keeps originals here too"):
        prune(ledger, store)
    assert store.holds(sha(data))


def test_an_original_that_comes_back_into_the_store_is_new_there(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = draw(workshop.base / "a.jpg", 1)
    ledger, store, up = workshop.ledger(), workshop.store, 0.0
    monkeypatch.setattr(clock, "_since_boot", lambda: ("this start", up))
    ledger.originals.promise(sha(data), store.keep(workshop.base / "a.jpg", sha(data)), store.folder, DAY)
    up += 100 * DAY
    assert prune(ledger, store).count == 1
    ledger.originals.promise(sha(data), store.keep(workshop.base / "a.jpg", sha(data)), store.folder, DAY)
    assert prune(ledger, store, older_than_days=30).count == 0
    assert store.holds(sha(data))
    ledger.close()
