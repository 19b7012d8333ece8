"""Triton without a GPU: kernels run in its interpreter, whose bf16 is put right here.

Importing this must come before anything imports Triton: what Triton decorates is bound to its mode for good.
"""

from __future__ import annotations

import importlib.util
import os
import warnings
from typing import Any

import numpy as np
import torch

from liif_engine.network.decoder import GENERATIONS

HAS_TRITON = importlib.util.find_spec("triton") is not None
ON_GPU = torch.cuda.is_available() and torch.cuda.get_device_capability()[0] in GENERATIONS
DEVICE = torch.device("cuda" if ON_GPU else "cpu")

if HAS_TRITON and not ON_GPU:
    os.environ["TRITON_INTERPRET"] = "1"


def correct_bf16() -> None:
    """The interpreter multiplies bf16 as the integers that hold it, and cuts where a GPU rounds to the nearest."""
    import triton.language as tl
    from triton.runtime import interpreter

    builder: Any = interpreter.InterpreterBuilder
    handle = interpreter.TensorHandle
    dot, cast = builder.create_dot, builder.cast_impl

    def wide(data: np.ndarray) -> np.ndarray:
        return (data.astype(np.uint32) << 16).view(np.float32)

    def rounded(data: np.ndarray) -> np.ndarray:
        values = torch.from_numpy(np.array(data, np.float32, order="C"))
        return values.to(torch.bfloat16).view(torch.int16).numpy().view(np.uint16)

    def create_dot(self: Any, a: Any, b: Any, d: Any, *rest: Any) -> Any:
        if a.dtype.scalar == tl.bfloat16:
            a, b = (handle(wide(one.data), tl.float32) for one in (a, b))
        return dot(self, a, b, d, *rest)

    def cast_impl(self: Any, source: Any, kind: Any) -> Any:
        if (source.dtype.scalar, kind.scalar) == (tl.float32, tl.bfloat16):
            return handle(rounded(source.data), tl.bfloat16)
        if (source.dtype.scalar, kind.scalar) == (tl.bfloat16, tl.float32):
            return handle(wide(source.data), tl.float32)
        return cast(self, source, kind)

    builder.create_dot = create_dot
    builder.cast_impl = builder.create_fp_trunc = builder.create_fp_ext = cast_impl


if HAS_TRITON and not ON_GPU:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Triton's own
        correct_bf16()
