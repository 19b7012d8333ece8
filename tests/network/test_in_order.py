"""Pieces on threads: the order, the number of torch's threads, and what happens when a piece fails."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
import torch

from liif_engine.network.in_order import _core, in_order


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
    cores = len({_core(cpu) & allowed for cpu in allowed})
    met = threading.Barrier(cores)

    def place(_: int) -> frozenset[int]:
        met.wait(30)  # each worker has one piece
        return frozenset(os.sched_getaffinity(0))

    places = list(in_order(place, range(cores), cores))
    assert len(set(places)) == cores
    assert frozenset.union(*places) == allowed
    assert set(in_order(lambda _: frozenset(os.sched_getaffinity(0)), range(40), cores + 1)) == {frozenset(allowed)}
    assert os.sched_getaffinity(0) == allowed, "the caller"


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs a system that places threads: Linux")
def test_a_core_that_cannot_be_had_is_done_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("liif_engine.network.in_order._places", lambda _: [frozenset([1023]), frozenset([1022])])
    assert list(in_order(abs, [-1, -2, -3], 2)) == [1, 2, 3]


@pytest.mark.parametrize(("listed", "core"), [("0-1", {0, 1}), ("3,7", {3, 7}), ("5", {5}), ("", {5}), (None, {5})])
def test_which_cpus_are_threads_of_one_core(
    listed: str | None, core: set[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "list"
    if listed is not None:
        file.write_text(listed + "\n")
    monkeypatch.setattr("liif_engine.network.in_order.Path", lambda _: file)
    assert _core.__wrapped__(5) == core


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
    assert len(begun) <= 4, "what is begun ahead is bounded"
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("liif-strip")]


def test_no_pieces_no_threads() -> None:
    assert list(in_order(str, [], 4)) == []
