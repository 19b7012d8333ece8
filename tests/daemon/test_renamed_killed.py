"""Kills while a renamed result is undone: nothing is lost, and the next run or undo goes on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from .test_undo import command_undo
from .workshop import Workshop, draw


def test_a_kill_while_a_renamed_result_is_taken_away_loses_nothing(workshop: Workshop) -> None:
    old, new = workshop.folder / "a.jpg", workshop.folder / "b.jpg"
    data = draw(old, 1)
    workshop.once()
    old.rename(new)
    code = KILLED_TAKING_AWAY.format(root=str(Path(__file__).parents[2]), base=str(workshop.base))
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == -9
    assert old.read_bytes() == data
    assert len(list(workshop.folder.glob(".liif-*.tmp/*"))) == 1, "it was being looked at"
    assert workshop.once() == {"undone": 1}
    assert workshop.leftovers() == []
    assert list(workshop.folder.iterdir()) == [old]


@pytest.mark.parametrize("first", ["undo", "dry run", "daemon"])
def test_an_undo_of_a_renamed_result_that_is_killed_before_its_last_step_goes_on(
    workshop: Workshop, first: str
) -> None:
    old, new = workshop.folder / "a.jpg", workshop.folder / "b.jpg"
    data = draw(old, 1)
    workshop.once()
    old.rename(new)
    code = KILLED_BEFORE_ITS_NAME.format(root=str(Path(__file__).parents[2]), base=str(workshop.base))
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == -9
    assert not old.exists()
    if first == "dry run":
        assert command_undo(workshop, old, "--dry-run") == f"{old} (dry run); its result, {new}, would go\n"
        assert not old.exists()
    if first == "daemon":
        assert workshop.once() == {"undone": 1}
        assert old.read_bytes() == data
    else:
        assert command_undo(workshop, old).endswith(f"its result, {new}, was taken away\n")
        assert not new.exists()
    assert old.read_bytes() == data
    assert workshop.once() == {"undone": 1}
    assert workshop.leftovers() == []


KILLED_BEFORE_ITS_NAME = """
import os, sys
sys.path.insert(0, {root!r})
from pathlib import Path
from liif_daemon import undo
from tests.daemon.test_undo import Workshop, undo_all
undo.rename_if_free = lambda *_: os.kill(os.getpid(), 9)
workshop = Workshop(Path({base!r}))
undo_all(workshop, workshop.folder / "a.jpg")
"""


KILLED_TAKING_AWAY = """
import os, sys
sys.path.insert(0, {root!r})
from pathlib import Path
from liif_daemon import renamed
from tests.daemon.test_undo import Workshop, undoable
workshop = Workshop(Path({base!r}))
ledger = workshop.ledger()
(job,) = undoable(workshop.folder / "a.jpg", ledger)
found = renamed.elsewhere([job], ledger)[job.id]
renamed.hash_of = lambda _: os.kill(os.getpid(), 9)
renamed.bring_back(job, found, ledger, workshop.store)
"""
