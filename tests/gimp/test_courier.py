"""What the plug-in makes of an engine that has hardly started: it waits until the engine knows its device."""

from __future__ import annotations

import sys
import time
from types import ModuleType
from typing import Any

import pytest

from liif_engine.service import client


@pytest.fixture
def courier(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The plug-in's module, which finds its copy of the client beside itself."""
    monkeypatch.setitem(sys.modules, "client", client)
    from gimp_plugin.liif_restore import courier

    monkeypatch.setattr(courier, "BEAT_SECONDS", 0)
    return courier


class Engine:
    """An engine that says this of its worker, one after the other."""

    def __init__(self, *workers: dict[str, Any]) -> None:
        self.workers = list(workers)

    def ensure_running(self) -> dict[str, Any]:
        return {"pid": 7, "workers": [self.workers.pop(0)]}

    status = ensure_running


LOADING = {"state": "starting", "device": "auto", "fault": ""}
BROKEN = {"state": "released", "device": "auto", "fault": "the engine cannot be loaded"}
CPU = {"state": "idle", "device": "cpu", "fault": ""}


def make(courier: ModuleType, monkeypatch: pytest.MonkeyPatch, device: str, *workers: dict[str, Any]) -> Engine:
    engine = Engine(*workers)
    monkeypatch.setattr(client, "Client", lambda **_: engine)
    assert courier.make_client(device) is engine
    return engine


def test_an_engine_that_still_loads_is_asked_again_for_its_device(
    courier: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert make(courier, monkeypatch, "cpu", LOADING, LOADING, CPU).workers == []
    with pytest.raises(client.ServiceError, match="works on cpu, not on cuda"):
        make(courier, monkeypatch, "cuda", LOADING, CPU)


def test_an_engine_that_cannot_load_is_left_to_say_why(courier: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    make(courier, monkeypatch, "cpu", LOADING, BROKEN)


@pytest.mark.parametrize("step", [-3600, 3600])
def test_a_clock_that_is_set_does_not_change_how_long_is_waited(
    courier: ModuleType, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    told = [time.time()]

    def jumps() -> float:
        told.append(told[-1] + step)
        return told[-1]

    monkeypatch.setattr(time, "time", jumps)
    monkeypatch.setattr(client, "START_SECONDS", 0.1)
    monkeypatch.setattr(courier, "BEAT_SECONDS", 0.02)
    engine, asked = Engine(LOADING), list[float]()

    def status() -> dict[str, Any]:
        asked.append(time.monotonic())
        assert len(asked) < 100, "it is waited for ever"
        return {"pid": 7, "workers": [LOADING]}

    engine.status = status  # type: ignore[method-assign]
    courier.when_devices_are_known(engine, status())
    assert asked[-1] - asked[0] > 0.05
    assert len(asked) > 2


def test_who_takes_any_device_does_not_wait(courier: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    assert make(courier, monkeypatch, "auto", LOADING, CPU).workers == [CPU]
