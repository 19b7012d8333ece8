"""Which device and precision a model runs in."""

from __future__ import annotations

from typing import Literal

import torch

from liif_engine.errors import DeviceError

Precision = Literal["fp32", "bf16"]

DTYPE: dict[str, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16}


def choose_device(name: str) -> torch.device:
    """A device from its name: ``auto`` (a CUDA GPU where there is one), ``cpu``, ``cuda``, ``cuda:1``, ``mps``.

    Raises:
        DeviceError: there is no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise DeviceError(f"there is no device {name!r}") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise DeviceError(f"there is no CUDA GPU {name!r}: torch {torch.__version__} sees {torch.cuda.device_count()}")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise DeviceError("there is no Apple GPU that torch can use")
    if device.type not in {"cpu", "cuda", "mps"}:
        raise DeviceError(f"device {name!r} is not supported")
    return device


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
