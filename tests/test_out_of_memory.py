"""Where memory runs out or a GPU fails: smaller tiles, the CPU, or words; and what is refused before any work."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch

from liif_engine import Engine, budget
from liif_engine.compute import Computer, Place
from liif_engine.errors import MemoryExhaustedError, TooLargeError
from liif_engine.network.model import EdsrLiif

from .conftest import picture, tiny_network
from .tiny import TOLERANCE, engine


def out_of_memory_above(monkeypatch: pytest.MonkeyPatch, pixels: int) -> list[int]:
    """Makes encoding more than so many pixels run out of memory; the list collects what was tried."""
    tried: list[int] = []
    encode = EdsrLiif.encode

    def limited(self: EdsrLiif, x: torch.Tensor, *rest: object) -> torch.Tensor:
        tried.append(x.shape[2] * x.shape[3])
        if tried[-1] > pixels:
            raise torch.OutOfMemoryError("scripted")
        return encode(self, x, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(EdsrLiif, "encode", limited)
    return tried


def test_out_of_memory_halves_the_tile_and_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pixels = picture(200, 90, dtype="float32")
    expected = engine().restore(pixels, scale=2)
    out_of_memory_above(monkeypatch, 8_000)
    shares: list[float] = []
    result = engine().restore(pixels, scale=2, on_progress=shares.append)
    assert np.abs(result - expected).max() <= TOLERANCE
    assert "out of memory" in caplog.text
    assert shares == sorted(shares)


def test_out_of_memory_on_a_gpu_falls_to_the_cpu(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pixels = picture(50, 90, dtype="float32")
    one = engine()
    expected = one.restore(pixels, scale=2)
    one.device = torch.device("cuda")
    network = Computer.network

    def no_room(self: Computer, place: Place) -> EdsrLiif:
        if place.device.type == "cuda":
            raise torch.OutOfMemoryError("scripted")
        return network(self, place)

    monkeypatch.setattr(Computer, "network", no_room)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    assert np.abs(one.restore(pixels, scale=2) - expected).max() <= TOLERANCE
    assert "going on with the CPU" in caplog.text


FAILURES = [
    torch.AcceleratorError("CUDA error: an illegal memory access was encountered\nFor debugging consider ..."),
    RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
    RuntimeError("GET was unable to find an engine to execute this computation"),
]


@pytest.mark.parametrize("failure", FAILURES, ids=["kernel", "library", "engine"])
def test_a_gpu_that_fails_leaves_the_rest_to_the_cpu(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, failure: RuntimeError
) -> None:
    """In tiles that the CPU's memory holds, where those of a GPU may be larger."""
    pixels = picture(50, 90, dtype="float32")
    one = engine()
    expected = one.restore(pixels, scale=2)
    one.device = torch.device("cuda")
    monkeypatch.setitem(budget.TILE_CORE, "cuda", 64)
    monkeypatch.setitem(budget.TILE_CORE, "cpu", 32)
    network, cores = Computer.network, list[int]()
    restore_tile = Computer.restore

    def failing(self: Computer, place: Place) -> EdsrLiif:
        if place.device.type == "cuda":
            raise failure
        return network(self, place)

    def watched(self: Computer, frame: Any, tile: Any, place: Place, progress: Any) -> None:
        if place.device.type == "cpu":
            cores.append(max(tile.core.height, tile.core.width))
        restore_tile(self, frame, tile, place, progress)

    monkeypatch.setattr(Computer, "network", failing)
    monkeypatch.setattr(Computer, "restore", watched)
    assert np.abs(one.restore(pixels, scale=2) - expected).max() <= TOLERANCE
    assert caplog.text.count("cuda failed") == 1
    assert "For debugging" not in caplog.text
    assert len(cores) > 2
    assert max(cores) <= 32


def test_memory_that_cannot_be_had_is_an_error_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    out_of_memory_above(monkeypatch, 0)
    with pytest.raises(MemoryExhaustedError):
        engine().restore(picture(70, 70), scale=2)


def test_other_errors_are_not_taken_for_a_lack_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("sizes do not match")

    monkeypatch.setattr(EdsrLiif, "encode", broken)
    with pytest.raises(RuntimeError, match="sizes"):
        engine().restore(picture(8, 8), scale=2)


def test_a_result_that_cannot_fit_is_refused_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = out_of_memory_above(monkeypatch, 10**9)
    small = Engine(tiny_network(), device="cpu", memory_bytes=300_000_000)
    with pytest.raises(TooLargeError, match=r"20000x20000.*GB"):
        small.restore(picture(10, 10), size=(20_000, 20_000))
    assert not tried


def test_a_result_that_does_not_fit_now_may_fit_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """Others may hold the memory, a second picture of the same daemon's among them: it is no fault of the picture."""
    one, limited = engine(), Engine(tiny_network(), device="cpu", memory_bytes=1 << 30)
    monkeypatch.setattr(budget.memory, "available_bytes", lambda *_: 1 << 20)
    for each in (one, limited):
        with pytest.raises(MemoryExhaustedError, match="1 MB are free") as caught:
            each.check_memory(40, 30, 3)
        assert "close other programs" in caught.value.remedy
    with pytest.raises(TooLargeError):
        limited.check_memory(40_000, 30_000, 3)


def test_little_memory_means_smaller_tiles_and_equal_results(caplog: pytest.LogCaptureFixture) -> None:
    pixels = picture(300, 300, dtype="float32")
    network = tiny_network(channels=64, blocks=0, hidden=(4,))
    little = Engine(network, device="cpu", precision="fp32", memory_bytes=260_000_000)
    result = little.restore(pixels, scale=1)
    assert "little memory" in caplog.text
    assert np.abs(result - engine(network).restore(pixels, scale=1)).max() <= TOLERANCE


def test_memory_is_reckoned_for_a_strip_on_each_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """On 64 cores the decoder's strips take more than all else; a small tile has few of them all the same."""
    one = engine()
    needed = {}
    for threads in (1, 64):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        needed[threads] = [one._budget.tile_bytes(core, 4.0) for core in (512, 32)]
    assert needed[64][0] - needed[1][0] == 63 * budget.STRIP_BYTES
    assert needed[64][1] == needed[1][1]


LIMITED = """
import resource, sys
import numpy as np
from liif_engine import Engine
from liif_engine.errors import MemoryExhaustedError
resource.setrlimit(resource.RLIMIT_AS, (12 << 30, 12 << 30))
try:
    Engine("published", device="cpu").restore(np.zeros((100, 100, 3), np.uint8), scale=1000)
except MemoryExhaustedError as error:
    print("refused:", error)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS binds on Linux only")
def test_the_address_space_limit_is_respected() -> None:
    done = subprocess.run([sys.executable, "-c", LIMITED], capture_output=True, text=True, timeout=100)
    assert done.stdout.startswith("refused: the result, 100000x100000"), done.stderr
