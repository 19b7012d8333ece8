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
    threads.settle()
    assert environment.get("GOMP_SPINCOUNT") == after


@pytest.mark.parametrize(("before", "after"), [({}, "1"), ({"OPENBLAS_NUM_THREADS": "7"}, "7")])
def test_numpy_starts_no_threads(before: dict[str, str], after: str, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = dict(before)
    monkeypatch.setattr(os, "environ", environment)
    threads.alone()
    assert environment["OPENBLAS_NUM_THREADS"] == after


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


def grouped(root: Path, listed: str, **limits: str) -> Path:
    """A root of a file system that shows control groups; the limits by path, with `__` for a slash."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(listed)
    for name, limit in limits.items():
        file = root / "sys/fs/cgroup" / name.replace("__", "/").replace("_dot_", ".")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(limit + "\n")
    return root


@pytest.mark.parametrize(
    ("listed", "limits", "given"),
    [
        ("0::/\n", {"cpu_dot_max": "200000 100000"}, 2),  # as a container sees its own group
        ("0::/\n", {"cpu_dot_max": "max 100000"}, None),
        ("0::/a/b\n", {"a__b__cpu_dot_max": "max 100000", "a__cpu_dot_max": "150000 100000"}, 2),  # of one around it
        ("0::/a/b\n", {"a__b__cpu_dot_max": "50000 100000", "a__cpu_dot_max": "400000 100000"}, 1),
        ("0::/a\n", {}, None),
        # Version 1, and a path that is the host's: the container has its own group as the outermost one.
        (
            "5:cpuset:/x\n4:cpu,cpuacct:/docker/1f\n0::/\n",
            {"cpu,cpuacct__cpu_dot_cfs_quota_us": "350000", "cpu,cpuacct__cpu_dot_cfs_period_us": "100000"},
            4,
        ),
        ("1:cpu:/a\n", {"cpu__a__cpu_dot_cfs_quota_us": "-1", "cpu__a__cpu_dot_cfs_period_us": "100000"}, None),
        ("1:cpuset:/a\n", {"cpu__a__cpu_dot_cfs_quota_us": "100000", "cpu__a__cpu_dot_cfs_period_us": "100000"}, None),
        ("0::/\n", {"cpu_dot_max": "of no use"}, None),
        ("0::/\n", {"cpu_dot_max": "100000 0"}, None),
        ("of no use\n", {"cpu_dot_max": "max 100000"}, None),
    ],
)
def test_the_time_that_a_container_is_given(
    listed: str, limits: dict[str, str], given: int | None, tmp_path: Path
) -> None:
    assert threads.time_given(grouped(tmp_path, listed, **limits)) == given


def test_without_control_groups_no_limit_is_known(tmp_path: Path) -> None:
    assert threads.time_given(tmp_path) is None


@pytest.mark.parametrize(
    ("given", "before", "after"), [(3, {}, "3"), (3, {"OMP_NUM_THREADS": "7"}, "7"), (8, {}, None), (None, {}, None)]
)
def test_no_more_threads_than_there_is_time_for(
    given: int | None, before: dict[str, str], after: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = dict(before)
    monkeypatch.setattr(os, "environ", environment)
    monkeypatch.setattr(threads, "cores", lambda: [frozenset([cpu]) for cpu in range(8)])
    monkeypatch.setattr(threads, "time_given", lambda: given)
    threads.settle()
    assert environment.get("OMP_NUM_THREADS") == after
    assert threads.usable() == (given or 8)
    assert pool.threads_for(2) == (given or 8) // 2
