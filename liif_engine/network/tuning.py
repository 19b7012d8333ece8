"""Which layout of the fused decoder is fastest on this GPU: measured once, kept, the same bytes whichever wins."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
import triton

from liif_engine import memory
from liif_engine.base_folder import base_folder
from liif_engine.errors import ConfigError
from liif_engine.network import kernels, packed
from liif_engine.network.grid import Span, axis
from liif_engine.network.kernels import Launch
from liif_engine.network.model import EdsrLiif

log = logging.getLogger(__name__)

#: The first is used until something was measured, and sets the bytes. An H200 made 339 TFLOP/s of the first at width
#: 256, 328 of the second, 417 of the third and 307 of the fourth, with 96, 176 and 81 KB of shared memory.
CANDIDATES = (
    Launch(64, one_loop=True, warps=4, stages=1),
    Launch(128, one_loop=True, warps=8, stages=2),
    Launch(64, one_loop=False, warps=4, stages=1),
    Launch(128, one_loop=False, warps=8, stages=1),
)

#: Smaller rectangles are decoded with what is known, rather than to wait for a measurement of some seconds.
WORTH_MEASURING = 1 << 20

#: The trial: a square feature map of this side, enlarged four times; and how often each candidate is timed.
TRIAL_SIDE, TRIAL_RUNS = 256, 7

#: A candidate's result in bytes and its time in milliseconds; what it raises disqualifies it.
Trial = Callable[[Launch], tuple[bytes, float]]

_known: dict[str, Launch] = {}


def launch_for(model: EdsrLiif, dtype: torch.dtype, device: torch.device, queries: int) -> Launch:
    """The fastest layout known for a model on a GPU; measured now if none is and there is enough to decode.

    What holds: all candidates sum in one order, and one whose trial result differs in any byte from the first's is
    never chosen. So a measurement, or the lack of one, changes the time a picture takes and not its bytes; on another
    kind of GPU, or with another version of Triton, the bytes may differ.
    """
    key = _key(model, dtype, device)
    if key not in _known:
        found = _read().get(key)
        if found is None and queries < WORTH_MEASURING:
            return CANDIDATES[0]
        _known[key] = _launch(found) if found is not None else _measured(key, model, dtype, device)
    return _known[key]


def fastest(candidates: Iterable[Launch], trial: Trial) -> tuple[Launch, dict[Launch, float]]:
    """The fastest candidate among those whose bytes equal the first usable one's, and every usable one's milliseconds.

    Raises:
        Exception: what the last candidate raised, if none can be used.
    """
    expected, times, failure = None, {}, None
    for candidate in candidates:
        try:
            result, milliseconds = trial(candidate)
        except Exception as error:
            if memory.is_out_of_memory(error):
                raise
            log.info("the fused decoder cannot be laid out as %s: %s", candidate, _first_line(error))
            failure = error
            continue
        expected = result if expected is None else expected
        if result == expected:
            times[candidate] = milliseconds
        else:
            log.info("the fused decoder laid out as %s gives other bytes: not used", candidate)
    if not times:
        raise failure or ValueError("no candidates")
    return min(times, key=lambda candidate: times[candidate]), times


def trial_on(model: EdsrLiif, dtype: torch.dtype, device: torch.device, side: int = TRIAL_SIDE) -> Trial:
    """A trial that decodes a random feature map of this side at x4 on a GPU."""
    generator = torch.Generator(device).manual_seed(0)
    feature_map = torch.randn(1, model.channels, side, side, device=device, generator=generator).to(dtype)
    feature_map = feature_map.contiguous(memory_format=torch.channels_last)
    span = Span(axis(side, 4 * side), 0, 4 * side, 0)

    def trial(launch: Launch) -> tuple[bytes, float]:
        times, result = [], None
        with torch.cuda.device_of(feature_map):
            for _ in range(TRIAL_RUNS + 1):
                begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
                begin.record()
                strips = list(kernels.decode(model, feature_map, span, span, launch=launch))
                end.record()
                end.synchronize()
                times.append(begin.elapsed_time(end))
                values = torch.cat([strip.values for strip in strips])
                if result is not None and not torch.equal(values, result):
                    raise ArithmeticError("its answers are not the same each time")
                result = values
        assert result is not None
        return result.cpu().numpy().tobytes(), statistics.median(times[1:])  # the first one compiles

    return trial


def _measured(key: str, model: EdsrLiif, dtype: torch.dtype, device: torch.device) -> Launch:
    # A warning, so that whoever waits is told: on a slow machine compiling takes long, and looks like a hang.
    log.warning("measuring how to lay out the decoder on this GPU; done once, it may take a minute")
    started = time.monotonic()
    launch, times = fastest(CANDIDATES, trial_on(model, dtype, device))
    kept = _write({**_read(), key: {**dataclasses.asdict(launch), "milliseconds": round(times[launch], 4)}})
    seconds = time.monotonic() - started
    log.warning("measured in %.0f s%s", seconds, f", and kept in {_file()}" if kept else "; it cannot be kept")
    return launch


def _key(model: EdsrLiif, dtype: torch.dtype, device: torch.device) -> str:
    """What a measurement is valid for."""
    code = b"".join(Path(name).read_bytes() for module in (kernels, packed) if (name := module.__file__))
    source = hashlib.sha256(code).hexdigest()[:12]
    shape = f"{dtype}".removeprefix("torch.") + f" {'x'.join(map(str, model.hidden))}"
    return f"{torch.cuda.get_device_name(device)}; triton {triton.__version__}; {shape}; {source}"


def _file() -> Path:
    return base_folder("XDG_CACHE_HOME", ".cache") / "liif-restore" / "decoder_launches.json"


def _read() -> dict[str, Any]:
    """What was measured before; nothing if the file cannot be read, which costs a new measurement only."""
    try:
        content = json.loads(_file().read_text("utf-8"))
        return {key: value for key, value in content.items() if _launch(value)}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, ConfigError):
        return {}


def _launch(row: dict[str, Any]) -> Launch:
    return Launch(int(row["block"]), bool(row["one_loop"]), int(row["warps"]), int(row["stages"]))


def _write(rows: dict[str, Any]) -> bool:
    """Whole or not at all, since several processes may measure; a folder that cannot be written to is no error."""
    try:
        file = _file()
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=file.parent, suffix=".tmp", delete=False, encoding="utf-8") as new:
            json.dump(rows, new, indent=2, sort_keys=True)
        Path(new.name).replace(file)
    except (OSError, ConfigError) as error:
        log.info("the measurement cannot be kept: %s", error)
        return False
    return True


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
