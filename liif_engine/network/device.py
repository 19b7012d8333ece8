"""Which device and precision a model runs in."""

from __future__ import annotations

import logging
import re
from typing import Literal

import torch

from liif_engine import device_names, memory
from liif_engine.errors import DeviceError

log = logging.getLogger(__name__)

#: Names of what computes on a GPU, as they stand in its errors where these have no class of their own; of a tensor that
#: lies on one it is "cuda" in small letters.
_GPU_WORDS = re.compile("CUDA|cuDNN|CUDNN|CUBLAS|NVIDIA|HIP|unable to find an engine")

Precision = Literal["fp32", "bf16"]

DTYPE: dict[str, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16}


def choose_device(name: str) -> torch.device:
    """A device from its name: ``auto`` (a CUDA GPU that works, or the CPU), ``cpu``, ``cuda``, ``cuda:1``, ``mps``.

    Raises:
        DeviceError: there is no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() and _works() else "cpu")
    device_names.check(name := str(name))  # which may be a device of torch
    device = torch.device(name)
    # By the name, since torch keeps an index in a byte: 256 is 0 to it.
    if device.type == "cuda" and int(name.partition(":")[2] or 0) >= torch.cuda.device_count():
        raise DeviceError(f"there is no CUDA GPU {name!r}: torch {torch.__version__} sees {torch.cuda.device_count()}")
    if device.type == "cuda":
        _begin(name)
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise DeviceError("there is no Apple GPU that torch can use")
    return device


def has_failed(error: Exception, device: torch.device) -> bool:
    """Whether an error is a GPU's, its driver's or its libraries': a CPU can do the work."""
    if device.type != "cuda" or not isinstance(error, RuntimeError):
        return False
    return isinstance(error, torch.AcceleratorError) or _GPU_WORDS.search(str(error)) is not None


def first_line(error: Exception) -> str:
    """Of an error's words, of which torch adds several lines for developers."""
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)


def _works() -> bool:
    """Whether the first GPU computes at all: it may be too old for this torch, taken by another program, or asleep."""
    try:
        torch.ones(1, device="cuda").add_(1).item()
    except RuntimeError as error:
        if not memory.is_out_of_memory(error):
            log.warning("the GPU cannot be used (%s): going on with the CPU", first_line(error))
            return False
    return True


def _begin(name: str) -> None:
    """Sets CUDA up.

    Raises:
        DeviceError: its driver refuses.
    """
    try:
        torch.cuda.init()
    except RuntimeError as error:
        raise DeviceError(f"the GPU {name!r} cannot be used ({first_line(error)})") from error


def has_bf16(device: torch.device) -> bool:
    """Whether the hardware itself multiplies bf16: compute capability 8.0, AVX512-BF16, or AMX."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    return False


def choose_precision(name: str, device: torch.device, *, bits: int = 8) -> Precision:
    """A precision from its name: ``auto``, ``fp32``, ``bf16``.

    ``auto`` is bf16 where the hardware has it and the picture has 8 bits; its error, 57 dB or better, is less than
    an 8-bit step but more than a 16-bit one.

    Raises:
        DeviceError: bf16 asked for where the hardware does not have it.
    """
    if name == "auto":
        return "bf16" if bits <= 8 and has_bf16(device) else "fp32"
    if name == "bf16" and not has_bf16(device):
        raise DeviceError(f"this {device.type} does not compute in bf16", remedy="Use --precision auto.")
    if name == "bf16":
        return "bf16"
    if name == "fp32":
        return "fp32"
    raise DeviceError(f"there is no precision {name!r}", remedy="Use auto, fp32 or bf16.")
