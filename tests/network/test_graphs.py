"""Which windows are encoded from a graph; the capture itself needs a GPU, and `bench/gpu.py` checks it there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from liif_engine.network import graphs
from liif_engine.network.graphs import GraphedEncoder, Replay
from liif_engine.network.model import EdsrLiif

from ..conftest import tiny_network


class Captures:
    """A stand-in for CUDA: its replays encode as ever, and it counts."""

    def __init__(self, error: Exception | None = None) -> None:
        self.shapes: list[tuple[int, ...]] = []
        self.replayed = 0
        self.error = error

    def __call__(self, network: EdsrLiif, pixels: Tensor) -> Replay:
        if self.error is not None:
            raise self.error
        self.shapes.append(tuple(pixels.shape))
        feature_map = network.encode(pixels)  # a graph writes to the same place each time

        def replay(given: Tensor) -> Tensor:
            self.replayed += 1
            return feature_map.copy_(network.encode(given))

        return replay


def window(height: int, width: int) -> Tensor:
    return torch.rand(1, 3, height, width)


def test_a_shape_that_comes_again_is_replayed_with_the_same_result_and_progress() -> None:
    network, captures = tiny_network(), Captures()
    encoder = GraphedEncoder(network, captures)
    for turn in range(3):
        layers: list[int] = []
        pixels = window(6, 5)
        assert torch.equal(encoder(pixels, lambda layers=layers: layers.append(1)), network.encode(pixels))
        assert len(layers) == network.blocks + 1
        assert captures.replayed == turn
    encoder(window(7, 5), lambda: None)
    assert captures.shapes == [(1, 3, 6, 5)]


def test_urgent_work_amid_other_work_leaves_that_ones_result_alone() -> None:
    """A worker does it from within the running work's report of progress, with the same engine."""
    network = tiny_network()
    encoder = GraphedEncoder(network, Captures())
    for _ in range(graphs.CAPTURED_AT):
        encoder(window(6, 5), lambda: None)
    pixels, urgent = window(6, 5), window(6, 5)
    results: list[Tensor] = []

    def report() -> None:
        if not results:
            results.append(encoder(urgent, lambda: None))

    assert torch.equal(encoder(pixels, report), network.encode(pixels))
    assert torch.equal(results[0], network.encode(urgent))


def test_memory_is_given_back_by_the_graphs_of_all_models() -> None:
    encoders = [GraphedEncoder(tiny_network(seed), Captures()) for seed in range(2)]
    for encoder in encoders:
        for _ in range(graphs.CAPTURED_AT):
            encoder(window(6, 5), lambda: None)
    assert all(encoder._replays for encoder in encoders)
    graphs.clear_all()
    assert not any(encoder._replays for encoder in encoders)


def test_large_windows_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphs, "LARGEST_WINDOW", 20)
    captures = Captures()
    encoder = GraphedEncoder(tiny_network(), captures)
    for _ in range(3):
        encoder(window(5, 5), lambda: None)
    assert not captures.shapes


def test_more_shapes_in_turn_than_there_is_room_for_are_not_captured_anew_each_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Which the graph that was not used for longest making room would do: each just before it comes again."""
    monkeypatch.setattr(graphs, "KEPT_GRAPHS", 4)
    captures = Captures()
    encoder = GraphedEncoder(tiny_network(), captures)
    for _ in range(20):
        for side in (3, 4, 5, 6, 7, 8):
            encoder(window(side, side), lambda: None)
    assert [shape[-1] for shape in captures.shapes] == [3, 4, 5, 6]
    assert captures.replayed == 4 * 19, "and those that are kept are used"


def test_what_comes_often_takes_the_place_of_what_came_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphs, "KEPT_GRAPHS", 2)
    monkeypatch.setattr(graphs, "MEMORY_OF_WINDOWS", 20)
    captures = Captures()
    encoder = GraphedEncoder(tiny_network(), captures)

    def folder(*sides: int, windows: int) -> None:
        for number in range(windows):
            side = sides[number % len(sides)]
            encoder(window(side, side), lambda: None)

    folder(3, 4, windows=60)
    before = captures.replayed
    folder(5, 6, windows=60)
    assert [shape[-1] for shape in captures.shapes] == [3, 4, 5, 6]
    assert captures.replayed - before >= 30
    assert len(encoder._replays) == 2
    folder(*range(7, 30), windows=46)
    assert {shape[-1] for shape in encoder._replays} == {5, 6}, "a few that came twice do not drive out what came often"
    assert len(encoder._uses) < 30


def test_many_small_windows_have_the_room_of_a_large_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphs, "KEPT_PIXELS", 100)
    captures = Captures()
    encoder = GraphedEncoder(tiny_network(), captures)
    for times, sides in ((2, (5, 4, 3, 6)), (30, (7,))):
        for _ in range(times):
            for side in sides:
                encoder(window(side, side), lambda: None)
    assert [shape[-1] for shape in captures.shapes] == [5, 4, 3, 6, 7], "25 + 16 + 9 + 36 pixels, then 49 more"
    assert sum(shape[-1] * shape[-2] for shape in encoder._replays) <= 100


def test_a_capture_that_fails_is_said_once_and_tried_no_more(caplog: pytest.LogCaptureFixture) -> None:
    network = tiny_network()
    encoder = GraphedEncoder(network, Captures(RuntimeError("operation not permitted when stream is capturing")))
    for _ in range(4):
        pixels = window(6, 6)
        assert torch.equal(encoder(pixels, lambda: None), network.encode(pixels))
    assert caplog.text.count("cannot be captured") == 1


def test_a_lack_of_memory_is_no_fault_of_the_graph() -> None:
    encoder = GraphedEncoder(tiny_network(), Captures(torch.OutOfMemoryError("scripted")))
    encoder(window(6, 6), lambda: None)
    with pytest.raises(torch.OutOfMemoryError):
        encoder(window(6, 6), lambda: None)
    assert encoder._usable


def test_the_gpu_that_the_model_is_on_is_at_rest_before_its_graphs_go(monkeypatch: pytest.MonkeyPatch) -> None:
    rested: list[object] = []

    def parameters() -> Iterator[SimpleNamespace]:
        yield SimpleNamespace(device=torch.device("cuda:1"))

    network = tiny_network()
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device=None: rested.append(device))
    encoder = GraphedEncoder(network, Captures())
    encoder.clear()
    assert rested == [], "a model on the CPU waits for no GPU"
    monkeypatch.setattr(network, "parameters", parameters)
    encoder.clear()
    assert rested == [torch.device("cuda:1")], "not the one that is the first, or another's"


def test_a_capture_that_fails_as_it_ends_leaves_the_thread_on_its_own_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    """With stand-ins for torch.cuda, whose graph does as torch's own: what ends the capture raises, and that is all."""
    now = ["the thread's own"]

    class Stream:
        def __init__(self, name: object) -> None:
            self.name = str(name)

        def wait_stream(self, _: object) -> None:
            pass

    @contextmanager
    def on(stream: Stream) -> Iterator[None]:
        before, now[0] = now[0], stream.name
        yield
        now[0] = before

    @contextmanager
    def recorded(_: object, *, stream: Stream, capture_error_mode: str) -> Iterator[None]:
        assert capture_error_mode == "thread_local"
        now[0] = stream.name
        yield
        raise RuntimeError("operation failed due to a previous error during capture")

    stand_ins = {"Stream": Stream, "current_stream": lambda _: Stream(now[0]), "stream": on, "graph": recorded}
    stand_ins |= {"CUDAGraph": object, "set_stream": lambda stream: now.__setitem__(0, stream.name)}
    for name, value in stand_ins.items():
        monkeypatch.setattr(torch.cuda, name, value)
    with pytest.raises(RuntimeError, match="previous error"):
        graphs._capture(tiny_network(), window(6, 5))
    assert now == ["the thread's own"]
