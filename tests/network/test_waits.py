"""Threads that share a GPU: one at a time launches, and while it waits another does; cuDNN's settings of them all."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest
import torch

from liif_engine.network.exact import exactly
from liif_engine.network.waits import Shared, waiting


@pytest.fixture
def run() -> Iterator[Callable[[Callable[[], None]], threading.Thread]]:
    """Starts a thread; whatever it raises fails the test."""
    threads, errors = list[threading.Thread](), list[BaseException]()

    def start(call: Callable[[], None]) -> threading.Thread:
        def guarded() -> None:
            try:
                call()
            except BaseException as error:
                errors.append(error)

        threads.append(threading.Thread(target=guarded, daemon=True))
        threads[-1].start()
        return threads[-1]

    yield start
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    assert not errors


@pytest.mark.timeout(60)
def test_who_waits_lends_the_right_and_has_it_again_afterwards(run: Callable[[Callable[[], None]], object]) -> None:
    shared, both = Shared(), threading.Barrier(2)
    inside = most = 0

    def compute() -> None:
        nonlocal inside, most
        for _ in range(50):
            with shared.held(lent=True):
                for _ in range(3):
                    inside += 1
                    most = max(most, inside)
                    assert inside == 1
                    inside -= 1
                    with waiting():
                        both.wait(30)  # met only if the other one was let in meanwhile

    run(compute)
    run(compute)


@pytest.mark.timeout(60)
def test_who_does_not_lend_keeps_the_right_while_it_waits(run: Callable[[Callable[[], None]], object]) -> None:
    shared, begun, over = Shared(), threading.Event(), threading.Event()
    order: list[str] = []

    def large() -> None:
        with shared.held(lent=False):
            begun.set()
            with waiting():
                over.wait(30)
            order.append("large")

    def small() -> None:
        with shared.held(lent=True):
            order.append("small")

    run(large)
    assert begun.wait(30)
    run(small)
    over.set()
    while len(order) < 2:
        threading.Event().wait(0.01)
    assert order == ["large", "small"]


def test_the_right_is_given_back_after_a_wait_that_fails() -> None:
    shared = Shared()
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), shared.held(lent=True), waiting():
            raise ZeroDivisionError
    with waiting():  # of one who holds nothing
        pass
    with shared.held(lent=True):
        pass


def flags() -> tuple[bool, bool]:
    return torch.backends.cudnn.deterministic, torch.backends.cudnn.allow_tf32


@pytest.mark.timeout(60)
def test_settings_last_until_the_last_thread_is_done(run: Callable[[Callable[[], None]], threading.Thread]) -> None:
    before, first_in, second_in = flags(), threading.Event(), threading.Event()
    assert before != (True, False)

    def first() -> None:
        with exactly():
            first_in.set()
            assert second_in.wait(30)

    def second() -> None:
        assert first_in.wait(30)
        with exactly():
            second_in.set()
            thread.join(30)
            assert flags() == (True, False)

    thread = run(first)
    run(second).join(30)
    assert flags() == before


def test_settings_are_what_they_were_after_an_error() -> None:
    before, inside = flags(), list[tuple[bool, bool]]()

    def fail() -> None:
        inside.append(flags())
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), exactly():
        fail()
    assert inside == [(True, False)]
    assert flags() == before
