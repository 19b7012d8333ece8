"""Which decoder does the work, what it falls back to, and how the fused one's layout is chosen."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from liif_engine.network import decode as plain
from liif_engine.network import decoder
from liif_engine.network.grid import Span, axis

from ..conftest import tiny_network
from .interpreted import DEVICE, HAS_TRITON

if HAS_TRITON:
    from liif_engine.network import kernels, proof, tuning
    from liif_engine.network.kernels import Launch

needs_triton = pytest.mark.skipif(not HAS_TRITON, reason="needs Triton: pip install -c constraints.txt '.[gpu]'")


@pytest.fixture(autouse=True)
def nothing_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoder, "_given_up", [])


def rectangle() -> tuple[Any, ...]:
    span = Span(axis(5, 12), 0, 12, 0)
    return tiny_network(), torch.rand(1, 8, 5, 5), span, span


def whole(strips: Iterator[plain.Strip]) -> torch.Tensor:
    found = list(strips)
    assert [strip.start for strip in found] == [0, *(strip.stop for strip in found[:-1])]
    return torch.cat([strip.values for strip in found])


def test_a_cpu_uses_the_plain_one_and_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    work = rectangle()
    assert torch.equal(whole(decoder.strips(*work)), whole(plain.decode(*work)))
    assert not caplog.text


def test_a_kernel_that_fails_is_replaced_and_said_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Also in the middle of a rectangle: what is done stays, the rest follows."""
    work = rectangle()
    monkeypatch.setitem(plain.STRIP_QUERIES, "cpu", 6)
    assert len(list(plain.decode(*work))) == plain.SHARED_BY

    def breaking(*_: Any) -> Iterator[plain.Strip]:
        yield from list(plain.decode(*work))[:1]
        raise RuntimeError("out of resource: shared memory\nRequired: ...")

    stand_in = SimpleNamespace(serves=lambda *_: True)
    monkeypatch.setattr(decoder, "_kernels", lambda _: None if decoder._given_up else stand_in)
    monkeypatch.setattr(decoder, "_fused", breaking)
    for _ in range(2):
        assert torch.equal(whole(decoder.strips(*work)), whole(plain.decode(*work)))
    assert caplog.text.count("out of resource: shared memory") == 1
    assert "Required" not in caplog.text


def test_a_lack_of_memory_is_not_the_kernels_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def breaking(*_: Any) -> Iterator[plain.Strip]:
        raise torch.OutOfMemoryError("scripted")
        yield

    monkeypatch.setattr(decoder, "_kernels", lambda _: SimpleNamespace(serves=lambda *_: True))
    monkeypatch.setattr(decoder, "_fused", breaking)
    with pytest.raises(torch.OutOfMemoryError):
        whole(decoder.strips(*rectangle()))
    assert not decoder._given_up


@pytest.mark.parametrize(("capability", "used"), [((8, 9), False), ((9, 0), True), ((10, 3), True), ((12, 0), False)])
def test_the_kernel_is_for_gpus_that_it_was_compiled_for(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], used: bool
) -> None:
    """Of newer ones too, some have no room for it: 12.x has the shared memory of 8.9."""
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    monkeypatch.setattr(decoder, "_import", lambda: decoder)
    feature_map: Any = SimpleNamespace(device=torch.device("cuda", 1), dtype=torch.bfloat16)
    assert (decoder._kernels(feature_map) is not None) == used


@needs_triton
@pytest.mark.parametrize("form", [torch.float32, torch.uint8, torch.uint16])
@pytest.mark.parametrize("right", [True, False])
def test_the_kernel_is_believed_where_it_is_seen_to_be_right(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, form: torch.dtype, right: bool
) -> None:
    """A compiler's fault need not end in an error: here one row of the last colour's weights is wrong."""
    model, feature_map, *spans = rectangle()
    model, feature_map = model.to(DEVICE), feature_map.to(DEVICE)
    pack = kernels.pack

    def packed(model: Any) -> Any:
        weights = dataclasses.replace(pack(model), last_weight=pack(model).last_weight.clone())
        weights.last_weight[3, 2] += 0 if right else 1
        return weights

    monkeypatch.setattr(kernels, "pack", packed)
    monkeypatch.setattr(proof, "SIDE", 21)  # the interpreter takes its time
    monkeypatch.setattr(decoder, "_kernels", lambda _: None if decoder._given_up else kernels)
    monkeypatch.setattr(tuning, "launch_for", lambda *_: Launch(32, True, 4, 1))
    with torch.inference_mode():
        found = whole(decoder.strips(model, feature_map, *spans, form=form))
        expected = whole(plain.decode(model, feature_map, *spans))
    assert found.dtype == (form if right else torch.float32)
    full = kernels.FULL_SCALE[found.dtype]
    distance = found.cpu().float() / full - expected.cpu().clamp(0, 1) if full else found.cpu() - expected.cpu()
    assert distance.abs().max() <= (0.51 / full if full else 1e-4)
    assert ("its answers are wrong" in caplog.text) != right


@needs_triton
def test_a_kernel_whose_answers_change_is_not_believed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As a fault in a barrier does it: most of the time, and in most places, the answers are right."""
    model, feature_map, *spans = rectangle()
    model, feature_map = model.to(DEVICE), feature_map.to(DEVICE)
    runs = iter(range(100))

    def unsteady(network: Any, features: torch.Tensor, rows: Span, columns: Span, **_: Any) -> Iterator[plain.Strip]:
        strips = list(plain.decode(network, features, rows, columns))
        strips[0].values[0, 0, 0] += 1e-4 * next(runs)
        yield from strips

    monkeypatch.setattr(kernels, "decode", unsteady)
    monkeypatch.setattr(decoder, "_kernels", lambda _: None if decoder._given_up else kernels)
    monkeypatch.setattr(tuning, "launch_for", lambda *_: Launch(32, True, 4, 1))
    with torch.inference_mode():
        found = whole(decoder.strips(model, feature_map, *spans))
        assert torch.equal(found, whole(plain.decode(model, feature_map, *spans)))
    assert "not the same each time" in caplog.text


@pytest.mark.parametrize(("out", "used"), [((5, 5), False), ((5, 9), False), ((9, 5), False), ((9, 9), True)])
def test_the_kernel_is_not_used_where_one_code_is_asked(
    monkeypatch: pytest.MonkeyPatch, out: tuple[int, int], used: bool
) -> None:
    """At a scale of 1, also along one axis alone, the compiled kernel is another program, which one GPU got wrong."""
    model, feature_map, *_ = rectangle()
    asked = []

    def fused(*arguments: Any) -> Iterator[plain.Strip]:
        asked.append(arguments)
        yield from plain.decode(model, feature_map, *spans)

    monkeypatch.setattr(decoder, "_kernels", lambda _: SimpleNamespace(serves=lambda *_: True))
    monkeypatch.setattr(decoder, "_fused", fused)
    spans = [Span(axis(5, side), 0, side, 0) for side in out]
    work = model, feature_map, *spans
    assert torch.equal(whole(decoder.strips(*work)), whole(plain.decode(*work)))
    assert bool(asked) == used


def test_without_triton_it_is_said_once(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setitem(sys.modules, "liif_engine.network.kernels", None)
    monkeypatch.delattr("liif_engine.network.kernels", raising=False)
    decoder._import.cache_clear()
    for _ in range(2):
        assert decoder._import() is None
    decoder._import.cache_clear()
    assert caplog.text.count("needs Triton") == 1


@needs_triton
def test_the_fastest_with_the_same_bytes_is_chosen() -> None:
    results = {
        Launch(128, True, 8, 2): (b"same", 3.0),
        Launch(64, True, 4, 1): (b"same", 2.0),
        Launch(128, False, 8, 1): (b"other", 1.0),
        Launch(64, True, 4, 2): None,
    }

    def trial(launch: Launch) -> tuple[bytes, float]:
        found = results[launch]
        if found is None:
            raise RuntimeError("out of resource: shared memory")
        return found

    chosen, times = tuning.fastest(results, trial)
    assert chosen == Launch(64, True, 4, 1)
    assert set(times.values()) == {3.0, 2.0}


@needs_triton
def test_when_none_can_be_used_the_reason_is_told() -> None:
    def trial(_: Launch) -> tuple[bytes, float]:
        raise RuntimeError("out of resource: shared memory")

    with pytest.raises(RuntimeError, match="shared memory"):
        tuning.fastest(tuning.CANDIDATES, trial)


@needs_triton
@pytest.mark.parametrize("name", ["kernels", "packed"])
def test_a_measurement_is_valid_for_the_decoder_as_it_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "a card")
    work, module = (tiny_network(), torch.bfloat16, torch.device("cuda")), getattr(tuning, name)
    before = tuning._key(*work)
    (tmp_path / "other.py").write_bytes(Path(module.__file__).read_bytes() + b"#")
    monkeypatch.setattr(module, "__file__", str(tmp_path / "other.py"))
    assert tuning._key(*work) != before


@needs_triton
def test_a_measurement_is_told_and_kept_for_other_processes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(tuning, "_known", {})
    monkeypatch.setattr(tuning, "_key", lambda *_: "a card")
    measured = []

    def trial(launch: Launch) -> tuple[bytes, float]:
        measured.append(launch)
        assert "measuring how" in caplog.text, "whoever waits is told why, before it begins"
        return b"", 1.0 if launch == tuning.CANDIDATES[1] else 2.0

    monkeypatch.setattr(tuning, "trial_on", lambda *_: trial)
    work = tiny_network(), torch.bfloat16, torch.device("cuda")
    assert tuning.launch_for(*work, queries=1000) == tuning.CANDIDATES[0]
    assert not measured, "a small picture does not wait for it"
    assert tuning.launch_for(*work, queries=1 << 22) == tuning.CANDIDATES[1]
    assert measured == list(tuning.CANDIDATES)
    monkeypatch.setattr(tuning, "_known", {})  # as in a new process
    assert tuning.launch_for(*work, queries=1000) == tuning.CANDIDATES[1]
    assert measured == list(tuning.CANDIDATES)
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"], "once, when it begins and ends"
    kept = tmp_path / "liif-restore" / "decoder_launches.json"
    assert json.loads(kept.read_text())["a card"]["block"] == tuning.CANDIDATES[1].block
    kept.write_text("{")
    monkeypatch.setattr(tuning, "_known", {})
    assert tuning.launch_for(*work, queries=1000) == tuning.CANDIDATES[0], "a broken file costs a measurement, no more"
