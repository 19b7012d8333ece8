"""Pixels, and the requests that ask the service about them."""

from __future__ import annotations

import json
import time
from typing import Any

from ..conftest import picture
from .conftest import Service

SHAPE = (5, 7, 3)
PIXELS = picture(*SHAPE).tobytes()

JOB = {"shape": SHAPE, "dtype": "u8", "scale": 1}


def asked(**changes: Any) -> str:
    return json.dumps({**JOB, **changes})


def post(service: Service, body: bytes = PIXELS, kind: str = "application/octet-stream", **changes: Any) -> Any:
    return service.call("POST", "/v1/jobs", body, Content_Type=kind, Liif_Job=asked(**changes))


def wait_for(service: Service, job: str, *states: str) -> dict[str, Any]:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        row: dict[str, Any] = service.call("GET", f"/v1/jobs/{job}")[1]
        if row["state"] in states:
            return row
        time.sleep(0.02)
    raise AssertionError(f"{row} is none of {states}")
