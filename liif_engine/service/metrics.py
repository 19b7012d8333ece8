"""The service's figures in Prometheus' text format, version 0.0.4."""

from __future__ import annotations

from collections.abc import Iterator

from liif_engine.service.queue import PRIORITIES, Queue

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"

#: Lines of one metric: (labels, value).
Samples = list[tuple[dict[str, str], float]]


def render(queue: Queue) -> str:
    """All metrics as they are now."""
    return "".join(_metrics(queue))


def _metrics(queue: Queue) -> Iterator[str]:
    ended: Samples = [({"state": state}, count) for state, count in queue.counts.items()]
    yield _metric("jobs_total", "counter", "Jobs that are over, by how they ended.", ended)
    waiting: Samples = [({"priority": name}, queue.waiting(name)) for name in PRIORITIES]
    yield _metric("jobs_waiting", "gauge", "Jobs that wait.", waiting)
    yield _metric("jobs_running", "gauge", "Jobs at work.", [({}, len(queue.running))])
    yield _metric(
        "work_seconds_total", "counter", "Seconds of work on jobs that were done.", [({}, queue.work_seconds)]
    )
    yield _metric("result_pixels_total", "counter", "Pixels of all results.", [({}, queue.result_pixels)])
    yield _metric("held_bytes", "gauge", "Pictures and results held.", [({}, queue.held_bytes)])
    workers = [({"worker": str(index)}, row) for index, row in enumerate(queue.workers.status())]
    restarts: Samples = [(labels, row["restarts"]) for labels, row in workers]
    yield _metric("worker_restarts_total", "counter", "Worker processes that crashed or hung.", restarts)
    resident: Samples = [(labels, row["memory_bytes"]) for labels, row in workers]
    yield _metric("worker_memory_bytes", "gauge", "Memory that a worker's process holds.", resident)
    on_device: Samples = [({**labels, "device": row["device"]}, row["device_bytes"]) for labels, row in workers]
    yield _metric("worker_device_bytes", "gauge", "Memory that a worker holds on its GPU.", on_device)


def _metric(name: str, kind: str, words: str, samples: Samples) -> str:
    lines = [f"# HELP liif_{name} {words}", f"# TYPE liif_{name} {kind}"]
    for labels, value in samples:
        # No value that is put here holds a quote, a backslash or a newline.
        inside = ",".join(f'{key}="{text}"' for key, text in labels.items())
        lines.append(f"liif_{name}{{{inside}}} {float(value)!r}" if inside else f"liif_{name} {float(value)!r}")
    return "\n".join(lines) + "\n"
