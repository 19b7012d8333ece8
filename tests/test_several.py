"""Files that are named, by workers: what is told of each."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from PIL import Image

from liif_engine.commands.several import restore_several
from liif_engine.crew import Crew
from liif_engine.errors import LiifError, MemoryExhaustedError
from liif_engine.file import Outcome
from liif_engine.plan import Plan, plan
from liif_engine.target import Target
from liif_engine.terminal import Batch
from liif_engine.workers import FileWork, WorkerSettings

from .conftest import picture


def test_a_failure_that_is_not_the_file_s_names_it_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path, str(Path(__file__).parent)])
    plans = []
    for name in ("memory", "copy"):
        Image.fromarray(picture(5, 7)).save(tmp_path / f"{name}.png")  # type: ignore[arg-type]
        plans.append(plan(tmp_path / f"{name}.png", Target(scale=2)))
    told: dict[str, tuple[Outcome | None, LiifError | None]] = {}

    def work_of(one: Plan) -> FileWork:
        return FileWork(str(one.source), str(one.destination), Target(scale=2), model=one.source.stem)

    def end(one: Plan, outcome: Outcome | None, error: LiifError | None) -> None:
        told[one.source.name] = outcome, error

    settings = WorkerSettings(device="cpu", model="copy", engine="faults:Faulty")
    with Batch(1.0, len(plans)) as batch:
        restore_several(plans, work_of, Crew("here"), settings, batch, end)
    assert told["copy.png"][0] is not None
    _, failure = told["memory.png"]
    assert isinstance(failure, MemoryExhaustedError)
    assert failure.path == tmp_path / "memory.png"
