"""What counts as free memory, read from made-up control groups, and which errors mean that it ran out."""

from __future__ import annotations

import ctypes
import math
import struct
import subprocess
import sys
import types
from pathlib import Path

import pytest
import torch

from liif_engine import memory


def group(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)


def test_the_tightest_of_nested_groups_counts(tmp_path: Path) -> None:
    root, own = tmp_path / "cgroup", tmp_path / "own"
    own.write_text("0::/outer/inner\n")
    group(root / "outer", memory__max="1000000", memory__current="400000", memory__stat="anon 1\ninactive_file 50000\n")
    group(root / "outer" / "inner", memory__max="max", memory__current="300000")
    assert list(memory._control_groups(root, own)) == [650_000]


def test_version_1_groups(tmp_path: Path) -> None:
    root, own = tmp_path / "cgroup", tmp_path / "own"
    own.write_text("5:cpu,cpuacct:/box\n4:memory:/box\n")
    group(root / "memory" / "box", memory__limit_in_bytes="900", memory__usage_in_bytes="1000")
    assert list(memory._control_groups(root, own)) == [0]


def test_without_control_groups(tmp_path: Path) -> None:
    assert list(memory._control_groups(tmp_path, tmp_path / "none")) == []
    assert memory.available_bytes() > 1 << 20


def test_a_small_need_is_not_asked_for_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now, free, asked = [0.0], [1 << 30], []
    monkeypatch.setattr(memory.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(memory, "_asked", (-math.inf, 0))
    monkeypatch.setattr(memory, "_limits", lambda: asked.append(1) or [free[0]])
    known = int((1 << 30) * (1 - memory.SAFETY_SHARE))
    assert [memory.available_bytes(1 << 20) for _ in range(9)] == [known] * 9
    assert len(asked) == 1
    free[0] = 1 << 28
    assert memory.available_bytes(known // 16) == memory.available_bytes() < known  # a large one is, and without a need
    free[0] = 1 << 24
    now[0] = 1.01 * memory.ASKED_ANEW_AFTER
    assert memory.available_bytes(1) < 1 << 24


def test_windows_is_asked_what_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a stand-in, which fills what it is given as Windows does."""
    gigabytes = {"total": 32, "free": 10, "most": 48, "left": 7, "space": 1 << 17, "unused": 1 << 16, "extended": 0}

    def fill(given: object) -> int:
        length = struct.unpack_from("<L", given)[0]  # type: ignore[call-overload]
        struct.pack_into("<LL7Q", given, 0, length, 69, *(one << 30 for one in gigabytes.values()))  # type: ignore[arg-type]
        return 1

    kernel32 = types.SimpleNamespace(GlobalMemoryStatusEx=fill)
    monkeypatch.setattr(ctypes, "windll", types.SimpleNamespace(kernel32=kernel32), raising=False)
    monkeypatch.setattr(sys, "platform", "win32")
    assert memory.available_bytes() == int((7 << 30) * (1 - memory.SAFETY_SHARE))


def test_only_a_lack_of_memory_is_one() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 60)
    assert memory.is_out_of_memory(caught.value)
    assert memory.is_out_of_memory(MemoryError())
    assert memory.is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert not memory.is_out_of_memory(RuntimeError("out of range"))
    assert not memory.is_out_of_memory(ValueError("DefaultCPUAllocator"))


@pytest.mark.parametrize(
    "words",
    [
        "CUDA error: out of memory\nCompile with `TORCH_USE_CUDA_DSA` to enable device-side assertions.",
        "Triton Error [CUDA]: out of memory",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "MPS backend out of memory (MPS allocated: 8.92 GB, other allocations: 1.20 GB, max allowed: 9.07 GB).",
    ],
)
def test_the_libraries_of_gpus_say_it_in_words_of_their_own(words: str) -> None:
    assert memory.is_out_of_memory(RuntimeError(words))


def test_sizes_for_people() -> None:
    assert [memory.readable(n) for n in (0, 999, 1e6, 2.54e9, 3e12)] == [
        "0 bytes",
        "999 bytes",
        "1 MB",
        "2.5 GB",
        "3000.0 GB",
    ]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's own")
def test_a_process_that_keeps_what_it_frees_touches_fewer_new_pages() -> None:
    """A large block that is freed and taken again is not zeroed by the system a second time, and can be given back."""
    code = """
import resource, sys
import numpy as np
from liif_engine import memory
if memory._glibc() is None:
    sys.exit(9)
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(8):
        np.ones(4_000_000)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
by_default = faults()
memory.keep_freed()
faults()
kept = faults()
memory.give_back()
print(by_default, kept, faults())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if done.returncode == 9:
        pytest.skip("another C library than glibc")
    by_default, kept, again = map(int, done.stdout.split())
    assert kept < by_default / 4
    assert again > kept


@pytest.mark.parametrize(
    "load",
    [
        "from liif_engine.commands.options import make_engine, settings_from;"
        " engine = make_engine(settings_from(None))",
        "from liif_engine.workers import inside, WorkerSettings;"
        " engine = inside.Engines(WorkerSettings(), 'cpu').get('fast', 'auto')",
    ],
)
def test_what_a_program_has_loaded_is_no_work_for_pythons_collector(load: str) -> None:
    code = f"""
import gc
{load}
print(gc.get_freeze_count(), len(gc.get_objects()))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    spared, left = map(int, done.stdout.split())
    assert left < spared / 100
