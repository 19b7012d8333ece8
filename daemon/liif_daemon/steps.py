"""The steps of a replacement by name: the seam at which the fault suite kills, fills and lies. Does nothing else."""

from __future__ import annotations

from collections.abc import Callable

#: In the order in which they are passed.
STEPS = (
    "claimed",
    "workplace made",
    "engine done",
    "result verified",
    "backup written",
    "backup durable",
    "metadata carried",
    "result promised",
    "about to swap",
    "swapped",
    "folders flushed",
    "swap verified",
    "ledger done",
    "workplace removed",
)

#: Called at each step with its name. Only tests put something else here.
on_step: Callable[[str], None] = lambda _: None  # noqa: E731


def reached(step: str) -> None:
    """Says that a step was reached."""
    on_step(step)
