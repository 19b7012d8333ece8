"""The API through a real socket: results, faults, cancelling, and many callers at once."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from liif_engine import Engine
from liif_engine.network import checkpoint
from liif_engine.network.model import EdsrLiif
from liif_engine.service.client import Cancelled, Client, ServiceError

from ..conftest import picture
from .asking import PIXELS, SHAPE, wait_for
from .conftest import FAULTY, Service, Start


def test_the_result_is_that_of_the_engine(tmp_path: Path, start: Start, network: EdsrLiif) -> None:
    """`liif restore` uses the same `Engine`; one service for all cases, since loading torch takes seconds."""
    tiny = str(tmp_path / "tiny.safetensors")
    checkpoint.save(network, Path(tiny), {})
    service = start(workers={"device": "cpu", "model": tiny})
    for dtype, short, model in (
        ("uint8", "u8", tiny),
        ("uint16", "u16", tiny),
        ("float32", "f32", tiny),
        ("uint8", "u8", "auto"),
    ):
        pixels = picture(30, 41, 4, dtype=dtype)
        shares: list[float] = []
        data, shape = service.client.restore_pixels(
            pixels.tobytes(),
            pixels.shape,
            short,
            on_progress=lambda _, share, to=shares: to.append(share),  # type: ignore[misc]
            scale=2.3,
            model=model,
        )
        wanted = Engine(model, device="cpu").restore(pixels, scale=2.3)
        assert np.array_equal(np.frombuffer(data, dtype).reshape(shape), wanted), (dtype, model)
        assert shares == sorted(shares)
        assert shares[-1] == 1
    loaded = {row["name"] for row in service.client.models() if row["loaded"]}
    assert "web" in loaded, "what `auto` works with counts"
    assert loaded <= {"web", "published"}
    with pytest.raises(ServiceError, match="there is no model 'nothing'") as caught:
        service.client.restore_pixels(PIXELS, SHAPE, "u8", scale=1, model="nothing")
    assert (caught.value.exit_code, caught.value.retryable) == (6, False)


def test_a_size_may_be_given_instead_of_a_scale(service: Service) -> None:
    data, shape = service.client.restore_pixels(PIXELS, SHAPE, "u8", size=(14, 15))
    assert shape == (15, 14, 3)
    assert len(data) == 15 * 14 * 3


@pytest.mark.parametrize("fault", ["crash", "hang", "memory", "bug"])
def test_a_fault_in_the_middle_is_words_and_the_next_job_runs(service: Service, fault: str) -> None:
    with pytest.raises(ServiceError) as caught:
        service.client.restore_pixels(PIXELS, SHAPE, "u8", scale=1, model=fault)
    assert caught.value.remedy
    assert caught.value.exit_code in {7, 10}
    assert caught.value.retryable
    assert service.client.restore_pixels(PIXELS, SHAPE, "u8", scale=1)[0] == PIXELS


def test_closing_the_event_stream_cancels_the_job(service: Service) -> None:
    job = service.client.submit_pixels(PIXELS, SHAPE, "u8", scale=1, model="slow:60")
    events = job.events()
    while next(events)["state"] != "running":
        pass
    started = time.monotonic()
    events.close()
    assert wait_for(service, job.id, "cancelled")["error"]["message"] == "whoever followed the job has gone"
    assert time.monotonic() - started < 2


def test_a_look_at_the_head_of_the_event_stream_does_not_cancel_the_job(service: Service) -> None:
    job = service.client.submit_pixels(PIXELS, SHAPE, "u8", scale=1, model="slow:0.5")
    wait_for(service, job.id, "running")
    service.call("HEAD", f"/v1/jobs/{job.id}/events")
    assert wait_for(service, job.id, "done", "cancelled")["state"] == "done"
    job.forget()


def test_a_detached_job_outlives_its_followers(service: Service) -> None:
    job = service.client.submit_pixels(PIXELS, SHAPE, "u8", scale=1, model="slow:0.5", detach=True)
    events = job.events()
    next(events)
    events.close()
    wait_for(service, job.id, "done")
    assert job.result() == PIXELS
    job.forget()


def test_a_person_does_not_wait_for_the_backlog(service: Service) -> None:
    """bench/service_priority.py measures it with the real network."""
    backlog = Client(service.folder, start=False, name="backlog")
    rest: dict[str, Any] = {"scale": 1, "model": "slow:60", "priority": "backlog", "detach": True}
    jobs = [backlog.submit_pixels(PIXELS, SHAPE, "u8", **rest) for _ in range(20)]
    wait_for(service, jobs[0].id, "running")
    assert service.client.restore_pixels(PIXELS, SHAPE, "u8", scale=1)[0] == PIXELS
    assert [job.state()["state"] for job in jobs] == ["running"] + 19 * ["queued"]
    for job in jobs[::-1]:
        job.cancel()
    wait_for(service, jobs[0].id, "cancelled")
    assert service.client.status()["queue"]["backlog"] == 0


def test_delete_cancels_a_waiting_and_a_running_job(service: Service) -> None:
    running = service.client.submit_pixels(PIXELS, SHAPE, "u8", scale=1, model="slow:60")
    waiting = service.client.submit_pixels(PIXELS, SHAPE, "u8", scale=1)
    wait_for(service, running.id, "running")
    assert service.call("DELETE", f"/v1/jobs/{waiting.id}")[0] == 200
    assert service.call("DELETE", f"/v1/jobs/{running.id}")[0] == 202
    wait_for(service, running.id, "cancelled")
    status, row = service.call("GET", f"/v1/jobs/{running.id}/result")
    assert status == 409
    assert row["error"]["kind"] == "Cancelled"
    with pytest.raises(Cancelled):
        running.wait()


def test_what_progress_raises_cancels(service: Service) -> None:
    def give_up(*_: object) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        service.client.restore_pixels(PIXELS, SHAPE, "u8", give_up, scale=1, model="slow:60")
    assert service.client.restore_pixels(PIXELS, SHAPE, "u8", scale=1)[0] == PIXELS


def test_a_forgotten_job_is_gone_and_nothing_is_held(service: Service) -> None:
    job = service.client.submit_pixels(PIXELS, SHAPE, "u8", scale=1)
    job.wait()
    assert job.cancel()["state"] == "done"
    assert service.call("GET", f"/v1/jobs/{job.id}")[0] == 404
    assert service.client.status()["memory"]["held_bytes"] == 0


def test_the_client_uses_the_port_where_there_is_no_socket(service: Service, tmp_path: Path) -> None:
    (tmp_path / "engine.port").write_bytes(Path(service.folder, "engine.port").read_bytes())
    client = Client(str(tmp_path), start=False)
    assert client.restore_pixels(PIXELS, SHAPE, "u8", scale=1)[0] == PIXELS


def test_many_at_once_all_get_their_own(service: Service) -> None:
    """Forty callers in threads; each gets its own pixels back."""
    wrong = []

    def call(seed: int) -> None:
        pixels = picture(20, 30, seed=seed).tobytes()
        client = Client(service.folder, start=False, name=f"caller {seed % 5}")
        if client.restore_pixels(pixels, (20, 30, 3), "u8", scale=1)[0] != pixels:
            wrong.append(seed)

    threads = [threading.Thread(target=call, args=(seed,)) for seed in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not wrong
    status = service.client.status()
    assert status["memory"]["held_bytes"] == 0
    assert FAULTY["model"] == status["model"]
