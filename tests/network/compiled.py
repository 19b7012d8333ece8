"""What Triton's compiler makes of the fused decoder for a GPU that need not be there."""

from __future__ import annotations

from dataclasses import dataclass

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from liif_engine.network import kernels
from liif_engine.network.kernels import Launch

POINTERS = {
    "result": "u8",
    "extent": "fp32",
    "codes": "bf16",
    "row_codes": "i32",
    "row_relatives": "fp32",
    "row_terms": "bf16",
    "column_codes": "i32",
    "column_relatives": "fp32",
    "column_terms": "bf16",
    "first": "bf16",
    "biases": "fp32",
    "last_weight": "bf16",
    "last_bias": "fp32",
}


@dataclass(frozen=True)
class Resources:
    """A compiled program's needs.

    Attributes:
        shared_bytes: of shared memory.
        warpgroup_products: instructions of the newest matrix unit.
        older_products: instructions of the one before.
        maxima: greater of two numbers, where a not-a-number is kept; in the interpreter every one keeps it.
    """

    shared_bytes: int
    warpgroup_products: int
    older_products: int
    maxima: int


def resources(launch: Launch, *, width: int = 256, layers: int = 3, capability: int = 90) -> Resources:
    """Compiles for 8-bit results in bf16."""
    constants = {
        "K": width,
        "WIDTH": width,
        "LAYERS": layers,
        "BLOCK": launch.block,
        "ONE_LOOP": launch.one_loop,
        "STAGES": launch.stages,
        "PAD": kernels.PADDED,
        "FULL": 255,
        "EPSILON": kernels.AREA_EPSILON,
        "ROUND": kernels.ROUNDER,
    }
    signature, attributes = {}, {}
    for index, name in enumerate(kernels._decoder.arg_names):
        if name in POINTERS:
            signature[name] = f"*{POINTERS[name]}"
            attributes[(index,)] = [["tt.divisibility", 16]]
        elif name == "weights":
            signature[name] = f"tensordesc<bf16[{width // 2}, {width}]>"
        else:
            signature[name] = "constexpr" if name in constants else "i32"
    compiled = triton.compile(
        ASTSource(kernels._decoder, signature, constexprs=constants, attrs=attributes),
        target=GPUTarget("cuda", capability, 32),
        options={"num_warps": launch.warps, "num_stages": launch.stages},
    )
    code = compiled.asm["ptx"]
    counts = [code.count(name) for name in ("wgmma.mma_async", "mma.sync", "max.NaN.f32")]
    return Resources(compiled.metadata.shared, *counts)
