"""Undo that is killed, stopped or out of room amid its work: the original comes back all the same."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import NoReturn

import pytest
from liif_daemon import steps
from liif_daemon import undo as undo_module
from liif_daemon.dispatch import Daemon
from liif_daemon.renamed import bring_back
from liif_daemon.undo import undo
from liif_daemon.undoable import undoable

from liif_engine.errors import OutputError

from .test_undo import HOUR, undo_all
from .workshop import Workshop, draw, sha


@pytest.mark.parametrize("step", ["carried", "about to swap", "swapped"])
def test_undo_while_the_clock_is_set_forward_leaves_the_file_whole_and_may_be_tried_again(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """A daemon then takes the workplace for one that was left behind an hour ago."""
    path = workshop.folder / "a.jpg"
    original = draw(path, 1)
    workshop.once()
    result = path.read_bytes()
    ledger, store = workshop.ledger(), workshop.store
    daemon = Daemon(workshop.settings(), ledger, workshop.engine)
    (job,) = undoable(path, ledger)
    flush = undo_module.flush

    def meanwhile(reached: str) -> None:
        if reached == step:
            with monkeypatch.context() as patched:
                patched.setattr(time, "time", lambda real=time.time: real() + 2 * HOUR)
                (workplace,) = workshop.folder.glob(".liif-*.tmp")
                daemon._on_workplace(workplace)
                assert not workplace.exists()

    with monkeypatch.context() as patched:
        patched.setattr(steps, "on_step", meanwhile)
        patched.setattr(undo_module, "flush", lambda copy: (meanwhile("carried"), flush(copy)))
        if step == "swapped":
            undo(job, ledger, store)
        else:
            with pytest.raises(OutputError, match="removed meanwhile") as caught:
                undo(job, ledger, store)
            assert caught.value.remedy == "Try again."
            assert path.read_bytes() == result
    if step != "swapped":
        (job,) = undoable(path, ledger)
        undo(job, ledger, store)
    assert path.read_bytes() == original
    assert undoable(path, ledger) == []
    assert not list(workshop.folder.glob(".liif-*.tmp"))
    ledger.close()


KILLED_UNDO = """
import os, sys
sys.path.insert(0, {root!r})
from pathlib import Path
from liif_daemon import steps
from tests.daemon.test_undo import Workshop, undo_all
steps.on_step = lambda name: os.kill(os.getpid(), 9) if name == {step!r} else None
workshop = Workshop(Path({base!r}))
undo_all(workshop, workshop.folder / "a.jpg")
"""


KILLED_COPYING = """
import os, sys
sys.path.insert(0, {root!r})
from pathlib import Path
from tests.daemon.test_undo import Workshop, undo_all
import shutil


def copyfile(one, other):
    other.write_bytes(one.read_bytes()[:100])
    os.kill(os.getpid(), 9)
shutil.copyfile = copyfile
workshop = Workshop(Path({base!r}))
undo_all(workshop, workshop.folder / "a.jpg")
"""


@pytest.mark.parametrize("step", ["about to swap", "swapped", "folders flushed", "swap verified"])
def test_an_undo_that_is_killed_loses_nothing(workshop: Workshop, step: str) -> None:
    path = workshop.folder / "a.jpg"
    data = draw(path, 1)
    workshop.once()
    result = path.read_bytes()
    code = KILLED_UNDO.format(root=str(Path(__file__).parents[2]), base=str(workshop.base), step=step)
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == -9
    assert path.read_bytes() in {data, result}
    assert workshop.store.holds(sha(data))
    assert workshop.once() == {"undone": 1}  # it is not restored a second time
    assert workshop.leftovers() == []
    undo_all(workshop, path)
    assert path.read_bytes() == data


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_an_original_that_could_be_copied_in_part_only_takes_no_place(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    path = workshop.folder / "a.jpg"
    data = draw(path, 1)
    workshop.once()
    result = path.read_bytes()

    def fill(one: Path, other: Path) -> None:
        other.write_bytes(one.read_bytes()[:100])
        raise OSError(number, os.strerror(number), str(one), None, str(other))  # as shutil has it

    with monkeypatch.context() as context:
        context.setattr("liif_daemon.undo.shutil.copyfile", fill)
        with pytest.raises(OSError, match=re.escape(os.strerror(number))) as caught:
            undo_all(workshop, path)
    assert path.read_bytes() == result
    is_of_the_store = caught.value.filename == str(workshop.store.path_of(sha(data)))
    assert is_of_the_store == (number == errno.EIO), "a disk that is full is not the one that was read from"
    assert workshop.leftovers() == []
    assert undo_all(workshop, path) == 1
    assert path.read_bytes() == data


def test_an_undo_after_a_killed_one_that_is_stopped_leaves_what_the_ledger_says(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = workshop.folder / "a.jpg"
    data = draw(path, 1)
    workshop.once()
    code = KILLED_UNDO.format(root=str(Path(__file__).parents[2]), base=str(workshop.base), step="swapped")
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == -9
    path.unlink()  # by somebody, who asks for it again, and presses Ctrl+C

    def stop(*_: Path) -> NoReturn:
        raise KeyboardInterrupt

    with monkeypatch.context() as context:
        context.setattr(undo_module, "rename_if_free", stop)
        with pytest.raises(KeyboardInterrupt):
            undo_all(workshop, path)
    assert workshop.counts() == {"done": 1}
    assert not path.exists(), "it would be restored again"
    assert undo_all(workshop, path) == 1
    assert path.read_bytes() == data
    assert workshop.once() == {"undone": 1}


def test_an_undo_that_is_killed_amid_its_copy_leaves_the_result(workshop: Workshop) -> None:
    path = workshop.folder / "a.jpg"
    data = draw(path, 1)
    workshop.once()
    result = path.read_bytes()
    code = KILLED_COPYING.format(root=str(Path(__file__).parents[2]), base=str(workshop.base))
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == -9
    assert workshop.once() == {"done": 1}
    assert path.read_bytes() == result
    assert workshop.leftovers() == []
    assert undo_all(workshop, path) == 1
    assert path.read_bytes() == data


def test_what_a_killed_undo_has_left_goes_with_the_next_undo(workshop: Workshop) -> None:
    path = workshop.folder / "a.jpg"
    data = draw(path, 1)
    workshop.once()
    code = KILLED_COPYING.format(root=str(Path(__file__).parents[2]), base=str(workshop.base))
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == -9
    assert len(workshop.leftovers()) == 1
    assert undo_all(workshop, path) == 1
    assert path.read_bytes() == data
    assert workshop.leftovers() == []


def test_what_a_killed_undo_has_left_in_a_folder_that_was_renamed_since_goes_with_the_next_undo(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = workshop.folder / "old", workshop.folder / "new"
    data = draw(old / "a.jpg", 1)
    workshop.once()

    def die(*_: object) -> NoReturn:
        for name in ("tidy", "remove_workplace"):  # a kill lets nothing be put in order
            patch.setattr(undo_module, name, lambda *_: None)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(undo_module, "_copy_whole", die)
        with pytest.raises(KeyboardInterrupt):
            undo_all(workshop, old / "a.jpg")
    assert len(workshop.leftovers()) == 1
    old.rename(new)
    assert undo_all(workshop, new / "a.jpg") == 1
    assert (new / "a.jpg").read_bytes() == data
    assert workshop.leftovers() == []


def test_what_is_put_in_the_place_in_the_instant_of_the_swap_is_kept_though_undo_is_stopped(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = workshop.folder / "a.jpg"
    original = draw(path, 1)
    workshop.once()
    theirs = draw(workshop.base / "theirs.jpg", 2)
    ledger, store = workshop.ledger(), workshop.store
    (job,) = undoable(path, ledger)

    def reached(step: str) -> None:
        if step == "about to swap":
            (workshop.base / "theirs.jpg").replace(path)
        if step == "swapped":
            raise KeyboardInterrupt

    monkeypatch.setattr(steps, "on_step", reached)
    with pytest.raises(KeyboardInterrupt):
        undo(job, ledger, store)
    assert path.read_bytes() == original
    assert store.path_of(sha(theirs)).read_bytes() == theirs
    assert workshop.leftovers() == []


def test_an_undo_whose_last_tidying_fails_says_that_the_original_is_back(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = workshop.folder / "a.jpg"
    original = draw(path, 1)
    workshop.once()
    ledger = workshop.ledger()
    (job,) = undoable(path, ledger)

    def fails(folder: Path) -> NoReturn:
        raise OSError(errno.EIO, os.strerror(errno.EIO), os.fspath(folder))

    with monkeypatch.context() as patched:
        patched.setattr(undo_module, "tidy", lambda *_: None)
        patched.setattr(undo_module, "remove_workplace", fails)
        with pytest.raises(OutputError, match=r"the original is back, but .* \(Input/output error\)"):
            bring_back(job, None, ledger, workshop.store)
    assert path.read_bytes() == original
    assert workshop.once() == {"undone": 1}
    assert workshop.leftovers() == []
