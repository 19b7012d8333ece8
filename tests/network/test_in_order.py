"""Pieces on threads: the order, the number of torch's threads, and what happens when a piece fails."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest
import torch

from liif_engine.network.in_order import AHEAD, in_order
from liif_engine.threads import cores


@pytest.mark.parametrize("threads", [1, 2, 3, 9])
def test_results_come_in_the_order_of_the_pieces(threads: int) -> None:
    first_may_end = threading.Event()

    def work(piece: int) -> int:
        if piece == 1:
            first_may_end.set()
        if piece == 0 and threads > 1:
            assert first_may_end.wait(30), "the second piece is worked on beside the first"
        return piece * piece

    assert list(in_order(work, range(7), threads)) == [n * n for n in range(7)]


def test_each_worker_uses_one_core_and_the_caller_keeps_its_own() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        assert set(in_order(lambda _: torch.get_num_threads(), range(8), 2)) == {1}
        assert torch.get_num_threads() == 3
        seen: list[int] = []
        later = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
        later.start()
        later.join()
        assert seen == [3], "threads to come"
    finally:
        torch.set_num_threads(before)


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="needs a system that places threads: Linux")
def test_as_many_workers_as_cores_have_one_each_and_fewer_go_where_they_like() -> None:
    allowed = os.sched_getaffinity(0)
    number = len(cores())
    met = threading.Barrier(number)

    def place(_: int) -> frozenset[int]:
        met.wait(30)  # each worker has one piece
        return frozenset(os.sched_getaffinity(0))

    places = list(in_order(place, range(number), number))
    assert len(set(places)) == number
    assert frozenset.union(*places) == allowed
    assert set(in_order(lambda _: frozenset(os.sched_getaffinity(0)), range(40), number + 1)) == {frozenset(allowed)}
    assert os.sched_getaffinity(0) == allowed, "the caller"


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs a system that places threads: Linux")
def test_a_core_that_cannot_be_had_is_done_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("liif_engine.network.in_order._places", lambda _: [frozenset([1023]), frozenset([1022])])
    assert list(in_order(abs, [-1, -2, -3], 2)) == [1, 2, 3]


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="needs a system that places threads: Linux")
def test_openmp_that_keeps_its_threads_on_cpus_keeps_ours_on_none_of_them() -> None:
    """OpenMP keeps the thread that loads it on the first CPU, and all threads that are started later inherit that."""
    code = """
import os
allowed = os.sched_getaffinity(0)
import torch
from liif_engine.network.in_order import in_order
assert len(os.sched_getaffinity(0)) == 1
torch.ones(1 << 20).exp()  # its helpers start
places = set(in_order(lambda _: frozenset(os.sched_getaffinity(0)), range(40), len(allowed) + 1))
print(places == {frozenset(allowed)})
"""
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("needs two CPUs")
    environment = {key: value for key, value in os.environ.items() if not key.startswith("OMP_")}
    command, environment = [sys.executable, "-c", code], {**environment, "OMP_PROC_BIND": "close"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == "True"


def test_the_others_do_not_wait_for_a_slow_core() -> None:
    others_are_ahead = threading.Event()

    def work(piece: int) -> bool:
        if piece == 0:
            return others_are_ahead.wait(30)
        if piece == 2 * AHEAD:
            others_are_ahead.set()
        return True

    assert all(in_order(work, range(100), 2))


def test_where_there_is_no_room_for_more_threads_torch_has_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    start, begun = threading.Thread.start, list[threading.Thread]()

    def scarce(thread: threading.Thread) -> None:
        if begun:
            raise RuntimeError("can't start new thread")
        begun.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", scarce)
    before = torch.get_num_threads()
    assert list(in_order(abs, [-1, -2, -3], 3)) == [1, 2, 3]
    assert torch.get_num_threads() == before
    begun[0].join(30)
    assert not begun[0].is_alive(), "it would be waited for when the process ends"


def test_ctrl_c_while_threads_start_leaves_none_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    start, begun = threading.Thread.start, list[threading.Thread]()

    def interrupted(thread: threading.Thread) -> None:
        if begun:
            raise KeyboardInterrupt
        begun.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        list(in_order(abs, [-1, -2, -3], 3))
    begun[0].join(30)
    assert not begun[0].is_alive(), "it would be waited for when the process ends"


def test_a_failure_reaches_the_caller_and_ends_the_threads() -> None:
    def work(piece: int) -> int:
        if piece == 2:
            raise MemoryError("scripted")
        return piece

    results = in_order(work, range(100), 2)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(MemoryError, match="scripted"):
        next(results)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("liif-strip")]


def test_a_caller_that_stops_ends_the_threads() -> None:
    begun: list[int] = []

    def work(piece: int) -> int:
        begun.append(piece)
        return piece

    results = in_order(work, range(100), 2)
    next(results)
    results.close()  # type: ignore[attr-defined]
    assert len(begun) <= 2 * AHEAD + 2, "what is begun ahead is bounded"
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("liif-strip")]


def test_no_pieces_no_threads() -> None:
    assert list(in_order(str, [], 4)) == []
