"""The machine's cores, and how long the helper threads of torch's operations keep one awake; no torch."""

from __future__ import annotations

import os
from contextlib import suppress
from functools import cache
from pathlib import Path

#: Looks at the queue before sleeping, some tenths of a millisecond: longer than from one operation to the next of the
#: encoder, and far less than the several milliseconds that GNU's OpenMP, which torch comes with on Linux, takes.
LOOKS = 10_000

#: With one of these OpenMP keeps the thread that loads it on one CPU, and each of its helpers on another.
BINDING = {"OMP_PROC_BIND", "OMP_PLACES", "GOMP_CPU_AFFINITY", "KMP_AFFINITY"}


def sleep_soon() -> None:
    """Has idle helper threads sleep early; for programs of our own, before torch is loaded.

    The decoder's threads start when the encoder ends, and each would share its core with a helper that still looks out
    for work. Whoever sets one of OpenMP's own variables is left alone.
    """
    if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & set(os.environ):
        os.environ["GOMP_SPINCOUNT"] = str(LOOKS)


def cores() -> list[frozenset[int]]:
    """The cores that this program may use, each as those of its CPUs that it may use; none if the system cannot say."""
    if not hasattr(os, "sched_getaffinity"):  # not on Windows and macOS
        return []
    allowed = os.sched_getaffinity(0)
    if BINDING & set(os.environ):
        # A thread that is kept on one CPU hands that down to all that it starts, which are no helpers of OpenMP's.
        for thread in Path("/proc/self/task").glob("*"):
            with suppress(OSError):  # it has ended
                allowed |= os.sched_getaffinity(int(thread.name))
    return sorted({_core(cpu) & allowed for cpu in allowed}, key=min)


@cache
def _core(cpu: int) -> frozenset[int]:
    """The CPUs that are threads of the same core."""
    try:
        listed = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list").read_text("ascii")
        ends = [[int(end) for end in part.split("-")] for part in listed.split(",")]
    except (OSError, ValueError):
        return frozenset([cpu])
    return frozenset(sibling for part in ends for sibling in range(part[0], part[-1] + 1))
