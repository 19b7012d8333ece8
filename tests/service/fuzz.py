"""Requests of every kind, sensible or not, for the tests and for bench/service_fuzz.py."""

from __future__ import annotations

import json
import math
import socket
import tempfile
from contextlib import suppress
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from .conftest import Service

#: Limits that make every wait short and every job small.
SETTINGS: dict[str, Any] = {
    "header_seconds": 0.3,
    "body_seconds": 0.3,
    "max_pixels": 10_000,
    "max_image_bytes": 10_000,
    "limits": {"max_jobs": 50, "max_held_bytes": 1 << 20, "keep_seconds": 1, "follow_seconds": 1, "max_seconds": 5},
}

PIXEL_JOB: dict[str, Any] = {"shape": [5, 7, 3], "dtype": "u8", "scale": 1, "client": "fuzz"}

PRINTABLE = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30)
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=5,
)

#: Values that are nearly right, field by field.
NEARLY = {
    "shape": st.lists(st.one_of(st.integers(-1, 9), st.just(10**30), st.floats()), max_size=4),
    "dtype": st.sampled_from(["u8", "u16", "f16", "f32", "U8", "f64"]),
    "layout": st.sampled_from(["CMYK", "RGB"]),
    "scale": st.floats(0.9, 20) | st.sampled_from([math.nan, math.inf, 1e308, 10_000, "2", True]),
    "size": st.lists(st.integers(0, 50), max_size=3),
    "long_edge": st.integers(-1, 100),
    "megapixels": st.floats(-1, 1),
    "model": st.sampled_from(["copy", "bug", "memory", "refuse", "", "/", "/dev/null", "../x", "\0", "a" * 5000]),
    "precision": st.sampled_from(["auto", "fp32", "bf16", "int8"]),
    "priority": st.sampled_from(["person", "backlog", "boss"]),
    "detach": st.booleans(),
    "client": st.text(max_size=120),
    "timeout_seconds": st.floats(-1, 5),
    "format": st.sampled_from(["png", "jpeg", "PNG", "exe", "../.."]),
    "quality": st.integers(-1, 101),
    "overwrite": st.booleans(),
    "allow_truncated": st.booleans(),
    "source": st.sampled_from(
        ["/", "/dev/zero", "/dev/tty", "/proc/self/mem", "/no", "x", "file:///%00", "file:///%ff"]
    ),
    "destination": st.sampled_from(["/", "", "x", "/no/such/folder/x.png", "file:///%ff/x.png"]),
}
#: One or two fields changed, or any number.
CHANGES = st.one_of(
    st.sampled_from(sorted(NEARLY)).flatmap(lambda key: st.fixed_dictionaries({key: NEARLY[key]})),
    st.lists(st.sampled_from(sorted(NEARLY)), max_size=2, unique=True).flatmap(
        lambda keys: st.fixed_dictionaries({key: NEARLY[key] | JSON for key in keys})
    ),
    st.fixed_dictionaries({}, optional={key: value | JSON for key, value in NEARLY.items()}),
)

METHODS = st.sampled_from(["GET", "POST", "DELETE", "PUT", "HEAD", "OPTIONS", "TRACE", "x", "GET GET"])
PATHS = st.one_of(
    st.sampled_from(
        ["/v1/jobs", "/v1/status", "/v1/jobs/0/events", "/v1/jobs/%00/result", "/metrics", "*", "//", "/%"]
    ),
    st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=20),
)
HEADERS = st.dictionaries(
    st.sampled_from(
        ["content-type", "content-length", "liif-job", "host", "origin", "transfer-encoding", "expect", "upgrade", "x"]
    ),
    st.one_of(
        st.sampled_from(["application/json", "application/octet-stream", "image/png", "5", "-1", "9" * 30, "chunked"]),
        st.sampled_from([json.dumps(PIXEL_JOB), "100-continue", "websocket", "localhost", "é"]),
        PRINTABLE,
    ),
)


@st.composite
def plain_requests(draw: st.DrawFn) -> bytes:
    """HTTP, or nearly."""
    body = draw(st.binary(max_size=200))
    headers = {"host": "localhost", "content-length": str(len(body)), **draw(HEADERS)}
    return _request(draw(METHODS), draw(PATHS), headers, body)


@st.composite
def jobs(draw: st.DrawFn) -> bytes:
    """A job of any kind whose fields are mostly right."""
    changes = draw(CHANGES)
    kind = draw(st.sampled_from(["application/octet-stream", "image/png", "application/json"]))
    if kind == "application/json":
        text = json.dumps({"source": "/no", "scale": 2, **changes})
        return _request("POST", "/v1/jobs", {"content-type": kind}, text.encode())
    asked = {**PIXEL_JOB, **changes} if kind == "application/octet-stream" else {"scale": 2, **changes}
    right = math.prod(PIXEL_JOB["shape"]) * {"u16": 2, "f16": 2, "f32": 4}.get(str(asked.get("dtype")), 1)
    body = draw(st.just(bytes(right)) | st.binary(max_size=120))
    return _request("POST", "/v1/jobs", {"content-type": kind, "liif-job": json.dumps(asked)}, body)


REQUESTS = jobs() | jobs() | plain_requests() | st.binary(max_size=300)


def _request(method: str, path: str, headers: dict[str, str], body: bytes) -> bytes:
    headers = {"host": "localhost", "content-length": str(len(body)), **headers, "connection": "close"}
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    return "\r\n".join(lines).encode("utf-8") + body


def send(service: Service, request: bytes) -> tuple[int, bytes]:
    """(status, body) of the answer to any bytes; status 0 if the service hangs up without one."""
    with socket.socket(socket.AF_UNIX) as one:
        one.settimeout(20)
        one.connect(f"{service.folder}/engine.sock")
        with suppress(BrokenPipeError, ConnectionResetError):  # it may answer before it has read all
            one.sendall(request)
        response = HTTPResponse(one, method="HEAD" if request.startswith(b"HEAD ") else "GET")
        try:
            response.begin()
            return response.status, response.read()
        except (HTTPException, ConnectionResetError):
            return 0, b""
        finally:
            response.close()


class Footprint:
    """What a service takes: to be the same after many requests as before."""

    def __init__(self, service: Service) -> None:
        status = service.client.status()
        processes = [status["pid"], *(row["pid"] for row in status["workers"] if row["pid"])]
        self.resident = {pid: int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096 for pid in processes}
        self.files = _count(Path(f"/proc/{status['pid']}/fd"))
        self.held_bytes = status["memory"]["held_bytes"]
        self.scratch = _count(Path(Path(service.folder, "engine.lock").read_text().splitlines()[1]))
        self.segments = _count(Path("/dev/shm"))
        self.restarts = sum(row["restarts"] for row in status["workers"])


def _count(folder: Path) -> int:
    return sum(1 for _ in folder.iterdir())


def new_folder() -> str:
    """A short path: that of a Unix socket holds about 100 bytes."""
    return tempfile.mkdtemp(prefix="liif-")
