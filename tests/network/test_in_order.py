"""Pieces on threads: the order, the number of torch's threads, and what happens when a piece fails."""

from __future__ import annotations

import threading

import pytest
import torch

from liif_engine.network.in_order import in_order


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
