"""How much memory there is, and whether an error means that it ran out."""

from __future__ import annotations

import ctypes
import gc
import math
import os
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

#: Left to the rest of the system and to what is not counted, as a share of what is free.
SAFETY_SHARE = 0.2

#: glibc's numbers for `mallopt` (malloc.h).
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8

#: How a lack of memory is told where it is no error of a class of its own: by torch for the CPU, by CUDA, by Triton,
#: whose kernels take memory when they are loaded, by CUDA's libraries when they set themselves up, by Apple's GPUs.
OUT_OF_MEMORY = (
    "DefaultCPUAllocator",
    "CUDA error: out of memory",
    "Triton Error [CUDA]: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
    "MPS backend out of memory",
)

#: The largest block and the most memory that are kept for the next use.
KEPT_BLOCK_BYTES, KEPT_BYTES = 1 << 30, 1 << 29

#: How long what was free serves for a need of a small share of it. To ask the system opens a dozen files, which for a
#: thumbnail on a GPU takes a good part of the time. [s]
ASKED_ANEW_AFTER, SMALL_SHARE = 0.25, 1 / 32

#: The most bytes of pictures and results in memory besides those at work, and the most of what is free.
WAITING_BYTES, WAITING_SHARE = 512 << 20, 0.125

_asked: tuple[float, int] = (-math.inf, 0)  # when, and what was free; replaced as a whole, so any thread may


def available_bytes(needed: int | None = None) -> int:
    """Bytes this process may still take before something stops it.

    The least of: the system's available memory, the room left in its control groups (v1 and v2, with their parents),
    and in RLIMIT_AS. On Linux a process over the first two is killed without an exception, so this must be asked first.

    Args:
        needed: the bytes that it is about, if known; for few of them the answer may be ASKED_ANEW_AFTER old.
    """
    global _asked
    when, free = _asked
    now = time.monotonic()
    if needed is None or now - when > ASKED_ANEW_AFTER or needed > free * SMALL_SHARE:
        free = int(min(_limits(), default=1 << 33) * (1 - SAFETY_SHARE))
        _asked = now, free
    return free


def waiting_bytes() -> int:
    """How much pictures may take that were read ahead, and results that are still to be written. [bytes]"""
    return min(WAITING_BYTES, int(available_bytes() * WAITING_SHARE))


def own_bytes() -> tuple[int, int]:
    """Memory that this process holds, and the most it ever held; 0 where the system does not tell. [bytes]"""
    sizes = {"VmRSS": 0, "VmHWM": 0}
    with suppress(OSError, IndexError, ValueError):
        for line in Path("/proc/self/status").read_text().splitlines():
            name, _, value = line.partition(":")
            if name in sizes:
                sizes[name] = int(value.split()[0]) * 1024
    return sizes["VmRSS"], sizes["VmHWM"]


def keep_freed() -> None:
    """Has this process keep what it frees for its next use, where the C library is glibc; for programs of our own.

    By default glibc hands each large block back to the system when it is freed, and the system zeroes its pages when
    they are touched again: with feature maps of tens of megabytes per layer that took a third of the time.
    """
    libc = _glibc()
    if libc is not None:
        libc.mallopt(M_MMAP_THRESHOLD, KEPT_BLOCK_BYTES)
        libc.mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
        libc.mallopt(M_ARENA_MAX, 1)  # else each thread keeps what it freed to itself


def keep_loaded() -> None:
    """Spares Python's collector what has been loaded so far; for programs of our own, once the model is there.

    With torch loaded, a look at everything takes some 70 ms of every thread's time, and would come amid a picture.
    """
    gc.freeze()


def give_back() -> None:
    """Hands what is kept back to the system."""
    libc = _glibc()
    if libc is not None:
        libc.malloc_trim(0)


@cache
def _glibc() -> ctypes.CDLL | None:
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "gnu_get_libc_version") else None


def is_out_of_memory(error: BaseException) -> bool:
    """True for an allocation that failed, on CPU or GPU, and for nothing else."""
    if isinstance(error, MemoryError):
        return True
    if not isinstance(error, RuntimeError):
        return False
    # torch.OutOfMemoryError by name: this module must not load torch.
    if any(kind.__name__ == "OutOfMemoryError" for kind in type(error).__mro__):
        return True
    text = str(error)
    return any(words in text for words in OUT_OF_MEMORY)


def readable(size: float) -> str:
    """A size for people: ``1.4 GB``."""
    for unit in ("bytes", "KB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


def _limits() -> Iterator[int]:
    if sys.platform == "linux":
        yield from _meminfo()
        yield from _control_groups()
    yield from _address_space()
    if sys.platform != "win32" and sys.platform != "linux":
        yield os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    yield from _windows()


def _windows() -> list[int]:
    if sys.platform == "win32":
        # MEMORYSTATUSEX, which begins with its own length: 2 is what is free of the memory, 4 of what may be promised.
        status = (ctypes.c_uint64 * 8)(64)
        if ctypes.windll.kernel32.GlobalMemoryStatusEx(status):
            return [min(status[2], status[4])]
    return []


def _meminfo() -> Iterator[int]:
    for line in _lines(Path("/proc/meminfo")):
        if line.startswith("MemAvailable:"):
            yield int(line.split()[1]) * 1024


def _control_groups(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> Iterator[int]:
    for line in _lines(own):
        _, controllers, group = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        base = root / "memory" if controllers else root
        limit_name, usage_name = (
            ("memory.limit_in_bytes", "memory.usage_in_bytes") if controllers else ("memory.max", "memory.current")
        )
        folder = base / group.strip("/")
        for place in (folder, *folder.parents):
            limit, usage = _number(place / limit_name), _number(place / usage_name)
            if limit is not None and usage is not None:
                yield max(0, limit - usage + _page_cache(place))
            if place == base:
                break


def _page_cache(group: Path) -> int:
    """File pages of a group that the kernel gives back before it kills."""
    for line in _lines(group / "memory.stat"):
        name, _, value = line.partition(" ")
        if name in {"inactive_file", "total_inactive_file"}:
            return int(value)
    return 0


def _address_space() -> Iterator[int]:
    if sys.platform == "win32":
        return
    import resource

    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY:
        used = next((int(line.split()[0]) for line in _lines(Path("/proc/self/statm"))), 0)
        yield max(0, limit - used * resource.getpagesize())


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []


def _number(path: Path) -> int | None:
    lines = _lines(path)
    return int(lines[0]) if lines and lines[0].isdigit() else None
