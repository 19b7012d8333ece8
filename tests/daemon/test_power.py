"""Promises 1, 2 and 7 after a power loss at each step, with whatever it may have left of what was not flushed."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from liif_daemon import dispatch
from liif_daemon import store as store_module
from liif_daemon.prune import prune
from liif_daemon.renamed import bring_back, elsewhere
from liif_daemon.undoable import undoable

from .power import Disk
from .test_undo import undo_all
from .workshop import Workshop, draw, sha

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

    def here(self) -> bytes | None:
        return self.path.read_bytes() if self.path.exists() else None

    @contextmanager
    def losing_power(self) -> Iterator[set[bytes | None]]:
        """What is done inside is cut off at each step, and the daemon started again; then the original is wanted.

        Yields:
            What the path may hold then: what it holds before and after, and what is added.
        """
        disk, whole = Disk(self.workshop.base), {self.here(), self.original}
        with disk.losing_power(self._monkeypatch):
            yield whole
        whole.add(self.here())
        assert len(disk.cuts) > 5
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
        assert self.here() in whole
        assert self.here() == self.original or workshop.store.holds(sha(self.original))
        workshop.once()
        assert self.here() in whole
        assert workshop.leftovers() == []
        if self.here() != self.original:
            undo_all(workshop, self.path)
        assert self.here() == self.original
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

    picture.path.rename(workshop.base / "a.jpg")
    draw(workshop.folder / "b.jpg", 2)
    workshop.once()  # ledger and store are there
    (workshop.base / "a.jpg").rename(picture.path)
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
