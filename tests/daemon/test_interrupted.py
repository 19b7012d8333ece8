"""What a run that was ended had queued: the next run does it as that one is asked, and nothing that it is not asked."""

from __future__ import annotations

import pytest
from liif_daemon.engine import EngineError, Order
from liif_daemon.run import _summary

from liif_engine.errors import ExitCode

from .workshop import Copying, Workshop, draw, size_of, wait_until


def interrupted(workshop: Workshop, **folder: object) -> None:
    """A run that has queued everything and is ended before any of it is done."""

    def end(_: Order) -> None:
        raise EngineError("no engine", "wait")

    engine, workshop.engine = workshop.engine, Copying(end)
    with workshop.running(once=True, **folder) as daemon:
        wait_until(lambda: not daemon.tick())
    workshop.engine = engine


def test_what_an_interrupted_run_queued_is_restored_as_the_next_one_asks(
    workshop: Workshop, capsys: pytest.CaptureFixture[str]
) -> None:
    draw(workshop.folder / "a.jpg", 1)
    interrupted(workshop, scales=[2, 3])
    assert workshop.counts() == {"queued": 2}
    with workshop.running(once=True, scale=4) as daemon:
        wait_until(lambda: not daemon.tick())
        assert _summary(daemon) is ExitCode.OK
    assert capsys.readouterr().out == "1 restored, 0 left as they are, 0 failed, 0 waiting\n"
    assert workshop.counts() == {"done": 1, "skipped": 2}
    assert size_of(workshop.folder / "a.jpg") == (80, 64)
    assert [path.name for path in workshop.folder.iterdir()] == ["a.jpg"]


def test_a_size_that_is_new_is_restored_beside_what_was_queued(workshop: Workshop) -> None:
    draw(workshop.folder / "a.jpg", 1)
    interrupted(workshop)
    assert workshop.once(scales=[2, 3]) == {"done": 2}
    assert size_of(workshop.folder / "a@3x.jpg") == (60, 48)


def test_what_was_queued_in_a_folder_is_restored_by_a_run_in_a_folder_below(workshop: Workshop) -> None:
    draw(workshop.folder / "sub" / "a.jpg", 1)
    interrupted(workshop)
    assert workshop.once(path=workshop.folder / "sub") == {"done": 1}
    assert size_of(workshop.folder / "sub" / "a.jpg") == (40, 32)


def test_a_run_for_one_file_leaves_what_is_queued_beside_it_for_later(workshop: Workshop) -> None:
    for seed, name in enumerate("ab"):
        draw(workshop.folder / f"{name}.jpg", seed)
    interrupted(workshop)
    assert workshop.once(include=["a.jpg"], recursive=False) == {"done": 1, "skipped": 1}
    assert size_of(workshop.folder / "b.jpg") == (20, 16)
    assert workshop.once() == {"done": 2}
