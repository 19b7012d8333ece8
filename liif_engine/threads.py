"""The cores that a program may use, and how long the helper threads of torch's operations keep one awake; no torch."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

#: Looks at the queue before sleeping, some tenths of a millisecond: longer than from one operation to the next of the
#: encoder, and far less than the several milliseconds that GNU's OpenMP, which torch comes with on Linux, takes.
LOOKS = 10_000

#: With one of these OpenMP keeps the thread that loads it on one CPU, and each of its helpers on another.
BINDING = {"OMP_PROC_BIND", "OMP_PLACES", "GOMP_CPU_AFFINITY", "KMP_AFFINITY"}


#: Where Linux shows its control groups: version 2, alone or beside version 1, and version 1's for CPUs.
GROUPS = ("sys/fs/cgroup", "sys/fs/cgroup/unified", "sys/fs/cgroup/cpu", "sys/fs/cgroup/cpu,cpuacct")


def settle() -> None:
    """Has idle helper threads sleep early, and no more at work than there is time for; before torch is loaded.

    For programs of our own. The decoder's threads start when the encoder ends, and each would share its core with a
    helper that still looks out for work. A container that is given two CPUs' time on a machine of 64 still sees 64, and
    64 threads would stand still together for most of it. Whoever sets OpenMP's own variables is left alone.
    """
    if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & set(os.environ):
        os.environ["GOMP_SPINCOUNT"] = str(LOOKS)
    if "OMP_NUM_THREADS" not in os.environ and usable() < _seen():
        os.environ["OMP_NUM_THREADS"] = str(usable())


def alone() -> None:
    """Has NumPy's library for matrices start no threads, of which it has one per CPU; before NumPy is loaded.

    They would be of no use for what little it does here, and where the system gives no more of them, that library ends
    the process as if by Ctrl+C.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


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


def usable() -> int:
    """How many threads may compute at once: one per core, or fewer where this process is given less time."""
    return min(_seen(), time_given() or _seen())


def _seen() -> int:
    return len(cores()) or os.cpu_count() or 1


def time_given(root: Path = Path("/")) -> int | None:
    """The CPUs whose time this process's control groups give it, rounded up; None if they set no limit.

    ``docker run --cpus``, Kubernetes' limits and systemd's ``CPUQuota`` set one.

    Args:
        root: the file system's.
    """
    limits = [limit for folder in _groups(root) for limit in [_limit(folder)] if limit is not None]
    return max(1, math.ceil(min(limits))) if limits else None


def _groups(root: Path) -> Iterator[Path]:
    """The folders of this process's control groups, and of those around them: each may have a limit."""
    try:
        lines = (root / "proc/self/cgroup").read_text("utf-8").splitlines()
    except (OSError, ValueError):  # not on Windows and macOS
        return
    for line in lines:
        _, controllers, own = [*line.split(":", 2), "", ""][:3]
        if controllers and "cpu" not in controllers.split(","):
            continue
        for shown in GROUPS:
            # A container may see its own group as the outermost one, under a name that only its host can follow.
            for inside in (Path(own.lstrip("/")), *Path(own.lstrip("/")).parents):
                yield root / shown / inside


def _limit(group: Path) -> float | None:
    """CPUs whose time a control group is given."""
    with suppress(OSError, ValueError, ZeroDivisionError):
        quota, period = (group / "cpu.max").read_text("ascii").split()
        return None if quota == "max" else int(quota) / int(period)
    with suppress(OSError, ValueError, ZeroDivisionError):
        quota, period = ((group / f"cpu.cfs_{name}_us").read_text("ascii") for name in ("quota", "period"))
        return None if int(quota) < 0 else int(quota) / int(period)
    return None


@cache
def _core(cpu: int) -> frozenset[int]:
    """The CPUs that are threads of the same core."""
    try:
        listed = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list").read_text("ascii")
        ends = [[int(end) for end in part.split("-")] for part in listed.split(",")]
    except (OSError, ValueError):
        return frozenset([cpu])
    return frozenset(sibling for part in ends for sibling in range(part[0], part[-1] + 1))
