"""Helper threads of a program of ours sleep early, unless its user has said otherwise; and what a core is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from liif_engine import threads
from liif_engine.workers import pool


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, str(threads.LOOKS)),
        ({"GOMP_SPINCOUNT": "7"}, "7"),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, None),
    ],
)
def test_what_the_user_set_stays(before: dict[str, str], after: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = dict(before)
    monkeypatch.setattr(os, "environ", environment)
    threads.sleep_soon()
    assert environment.get("GOMP_SPINCOUNT") == after


@pytest.mark.parametrize(("listed", "core"), [("0-1", {0, 1}), ("3,7", {3, 7}), ("5", {5}), ("", {5}), (None, {5})])
def test_which_cpus_are_threads_of_one_core(
    listed: str | None, core: set[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "list"
    if listed is not None:
        file.write_text(listed + "\n")
    monkeypatch.setattr(threads, "Path", lambda _: file)
    assert threads._core.__wrapped__(5) == core


def test_cores_are_counted_and_not_their_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 4, 5, 6}, raising=False)
    monkeypatch.setattr(threads, "_core", lambda cpu: frozenset([cpu % 4, cpu % 4 + 4]))  # 4 cores, 8 CPUs
    assert threads.cores() == [{0, 4}, {1, 5}, {6}]
    assert pool.threads_for(2) == 1, "two workers share three cores"
    assert pool.threads_for(3) == 1


def test_without_a_word_from_the_system_there_are_no_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert threads.cores() == []
