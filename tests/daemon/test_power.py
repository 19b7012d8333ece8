"""Promises 1, 2 and 7 after a power loss at each step, with whatever it may have left of what was not flushed."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from liif_daemon import dispatch
from liif_daemon import store as store_module
from liif_daemon import swap as swap_module
from liif_daemon.engine import EngineError, Order
from liif_daemon.ledger.database import Database
from liif_daemon.prune import prune
from liif_daemon.renamed import bring_back, elsewhere
from liif_daemon.store import Changed
from liif_daemon.undoable import undoable

from liif_engine.picture.atomic import flush_folder

from .power import Disk
from .test_undo import undo_all
from .workshop import Copying, Workshop, at, draw, sha

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="unflushed bytes are read through /proc")


class Picture:
    """A picture to which power losses happen.

    Args:
        workshop: in whose watched folder it lies.
    """

    def __init__(self, workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
        workshop.folder_values["settle_seconds"] = 0
        monkeypatch.setattr(dispatch, "TICK_SECONDS", 0.001)  # the daemon is started some hundred times
        self.workshop, self.path = workshop, workshop.folder / "a.jpg"
        self.original = draw(self.path, 1)
        self._monkeypatch = monkeypatch

    def not_the_first(self) -> None:
        """Ledger and store are there."""
        self.path.rename(self.workshop.base / "a.jpg")
        draw(self.workshop.folder / "b.jpg", 2)
        self.workshop.once()
        (self.workshop.base / "a.jpg").rename(self.path)

    def here(self) -> bytes | None:
        return self.path.read_bytes() if self.path.exists() else None

    @contextmanager
    def losing_power(self) -> Iterator[set[bytes | None]]:
        """What is done inside is cut off at each step, and the daemon started again; then the original is wanted.

        When all is over, no power loss changes what the path holds.

        Yields:
            What the path may hold then: what it holds before and after, and what is added.
        """
        disk, whole = Disk(self.workshop.base), {self.here(), self.original}
        with self._monkeypatch.context() as patch, disk.losing_power(self._monkeypatch):
            disk.cut_before(patch, Database, "change")
            yield whole
            whole.add(self.here())
            what_is_durable = {tree.get(str(self.path.relative_to(disk.base))) for tree in disk.left()}
            assert what_is_durable == {self.here()}, "what is over is"
        assert len(disk.cuts) > 4
        for cut in disk.cuts:
            cut.lay_out(self.workshop.base)
            try:
                self._check(whole)
            except BaseException as error:
                sizes = {name: content if content is None else len(content) for name, content in cut.tree.items()}
                error.add_note(f"after a power loss before {cut.when} that left {sizes}")
                raise

    def _check(self, whole: set[bytes | None]) -> None:
        workshop = self.workshop
        keeps = workshop.folder_values.get("keep_originals") != "none"
        assert self.here() in whole
        assert not keeps or self.here() == self.original or workshop.store.holds(sha(self.original))
        workshop.once()
        assert self.here() in whole
        assert workshop.leftovers() == []
        if keeps and self.here() != self.original:
            undo_all(workshop, self.path)
        assert not keeps or self.here() == self.original
        assert workshop.leftovers() == []


@pytest.fixture
def picture(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> Picture:
    return Picture(workshop, monkeypatch)


def test_restoring_for_the_first_time_undo_and_another_start(workshop: Workshop, picture: Picture) -> None:
    """Ledger and store are new too, each on a disk of its own."""
    workshop.daemon_values["originals"] = workshop.base / "other" / "originals"
    with picture.losing_power() as whole:
        workshop.once()
        whole.add(picture.here())
        assert undo_all(workshop, picture.path) == 1
        workshop.once()


def test_restoring_and_undo_where_names_cannot_be_exchanged(
    workshop: Workshop, picture: Picture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(swap_module, "exchange", lambda *_: False)
    picture.not_the_first()
    with picture.losing_power() as whole:
        workshop.once()
        whole.add(picture.here())
        assert undo_all(workshop, picture.path) == 1


def test_restoring_without_keeping_originals(workshop: Workshop, picture: Picture) -> None:
    """The last that is left of the original goes only when the result is durable in its place."""
    picture.not_the_first()
    workshop.folder_values["keep_originals"] = "none"
    with picture.losing_power():
        workshop.once()


def test_another_try(workshop: Workshop, picture: Picture) -> None:
    """The workplace of the first was on the disk, as the system sees to within seconds by itself."""

    def fail(_: Order) -> None:
        if len(engine.orders) == 1:
            flush_folder(workshop.folder)
            raise EngineError("not yet", "again")

    picture.not_the_first()
    workshop.engine = engine = Copying(before=fail)
    with picture.losing_power():
        workshop.once()


def test_a_workplace_in_a_folder_that_was_renamed(
    workshop: Workshop, picture: Picture, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = workshop.folder / "old", workshop.folder / "new"
    draw(old / "b.jpg", 2)
    at(monkeypatch, "swap verified", lambda: old.rename(new))
    workshop.once()
    assert workshop.leftovers() != []
    with picture.losing_power():
        workshop.once()


@pytest.mark.parametrize("has_exchange", [True, False])
def test_what_was_written_in_the_instant_of_the_swap_stays_where_it_was_put_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_exchange: bool
) -> None:
    path, workplace = tmp_path / "pictures" / "a.jpg", tmp_path / "pictures" / ".liif-0.tmp"
    workplace.mkdir(parents=True)
    (workplace / "result1.jpg").write_bytes(b"the result")
    path.write_bytes(b"the original")
    if not has_exchange:
        monkeypatch.setattr(swap_module, "exchange", lambda *_: False)
    disk, theirs = Disk(tmp_path), path.open("r+b")

    def write() -> None:
        with theirs:
            theirs.write(b"their own")
            theirs.flush()
            os.fsync(theirs.fileno())

    at(monkeypatch, "folders flushed", write)
    monkeypatch.setattr(swap_module, "is_open_for_writing", lambda _: False)
    with disk.losing_power(monkeypatch):
        with pytest.raises(Changed):
            swap_module.swap(workplace / "result1.jpg", path, sha(b"the original"))
        assert {tree["pictures/a.jpg"] for tree in disk.left()} == {b"their ownnal"}


def test_what_a_ledger_says_of_itself_in_the_store_is_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk(tmp_path)
    with disk.losing_power(monkeypatch):
        store_module.write_durably(tmp_path / "ledgers" / "one", b"its path")
        assert {tree.get("ledgers/one") for tree in disk.left()} == {b"its path"}


def test_undo_of_the_old_name_of_a_renamed_result(workshop: Workshop, picture: Picture) -> None:
    workshop.once()
    picture.path.rename(workshop.folder / "b.jpg")
    with picture.losing_power():
        ledger = workshop.ledger()
        (job,) = undoable(picture.path, ledger)
        bring_back(job, elsewhere([job], ledger)[job.id], ledger, workshop.store)
        ledger.close()


def test_an_original_whose_name_the_disk_did_not_flush_is_not_taken_for_durable(
    workshop: Workshop, picture: Picture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It lies there, whole, when the next try comes."""

    def fails(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    picture.not_the_first()
    store = workshop.store
    with picture.losing_power():
        with monkeypatch.context() as patched:
            patched.setattr(store_module, "flush_folder", fails)
            with pytest.raises(OSError, match=os.strerror(errno.EIO)):
                store.keep(picture.path, sha(picture.original))
        workshop.once()


def test_an_original_that_was_let_go_does_not_come_back(
    workshop: Workshop, picture: Picture, monkeypatch: pytest.MonkeyPatch
) -> None:
    workshop.once()
    ledger, store, disk = workshop.ledger(), workshop.store, Disk(workshop.base)
    with disk.losing_power(monkeypatch):
        assert prune(ledger, store, also=frozenset({sha(picture.original)})).count == 1
    ledger.close()
    for cut in disk.cuts:
        cut.lay_out(workshop.base)
        ledger, store = workshop.ledger(), workshop.store
        prune(ledger, store)
        assert len(ledger.originals.all()) == len(list(store)), cut.when
        ledger.close()
