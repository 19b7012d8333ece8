"""What Triton's compiler makes of the fused decoder for a GPU that need not be there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.experimental.gluon._runtime import GluonASTSource

from bench import paired
from liif_engine.network import kernels, packed
from liif_engine.network.kernels import Launch

POINTERS = {
    "result": "u8",
    "extent": "fp32",
    "codes": "bf16",
    "row_codes": "i32",
    "row_shares": "fp32",
    "row_terms": "bf16",
    "column_codes": "i32",
    "column_shares": "fp32",
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
    """What the kernel takes for 8-bit results in bf16."""
    constants = _constants(width, layers) | {
        "BLOCK": launch.block,
        "ONE_LOOP": launch.one_loop,
        "STAGES": launch.stages,
    }
    signature, attributes = _signature(
        kernels._decoder, constants, {"weights": f"tensordesc<bf16[{width // 2}, {width}]>"}
    )
    source = ASTSource(kernels._decoder, signature, constexprs=constants, attrs=attributes)
    return _compiled(source, {"num_warps": launch.warps, "num_stages": launch.stages}, capability)


def resources_of_candidate(*, width: int = 256, layers: int = 3) -> Resources:
    """The same of the candidate in `bench/paired.py`."""
    constants = _constants(width, layers) | {
        "ROWS": paired.ROWS,
        "GROUPS": paired.GROUPS,
        "SLOTS": paired.SLOTS,
        "WARPS": paired.WARPS,
        "OTHERS": paired.REGISTERS[0],
        "LOADER": paired.REGISTERS[1],
    }
    sizes = {"weights": (width // 4, width), "first": (packed.PADDED, width), "last_weight": (width, packed.PADDED)}
    described = {
        name: f"tensordesc<bf16[{rows}, {columns}],{paired.shared_layout(columns)!r}>"
        for name, (rows, columns) in sizes.items()
    }
    signature, attributes = _signature(paired.decoder, constants, described)
    source = GluonASTSource(paired.decoder, signature, constexprs=constants, attrs=attributes)
    return _compiled(source, {"num_warps": paired.WARPS}, 90)


def _constants(width: int, layers: int) -> dict[str, object]:
    return {
        "K": width,
        "WIDTH": width,
        "LAYERS": layers,
        "PAD": packed.PADDED,
        "FULL": 255,
        "DOWN": 2,
        "ACROSS": 2,
        "ROUND": kernels.ROUNDER,
    }


def _signature(
    kernel: Any, constants: dict[str, object], described: dict[str, str]
) -> tuple[dict[str, str], dict[tuple[int], list[list[object]]]]:
    """Types of a kernel's arguments, and which pointers are known to lie on 16 bytes."""
    signature, attributes = {}, {}
    for index, name in enumerate(kernel.arg_names):
        if name in described:
            signature[name] = described[name]
        elif name in POINTERS:
            signature[name] = f"*{POINTERS[name]}"
            attributes[(index,)] = [["tt.divisibility", 16]]
        else:
            signature[name] = "constexpr" if name in constants else "i32"
    return signature, attributes


def _compiled(source: ASTSource, options: dict[str, int], capability: int) -> Resources:
    compiled = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)
    code = compiled.asm["ptx"]
    counts = [code.count(name) for name in ("wgmma.mma_async", "mma.sync", "max.NaN.f32")]
    return Resources(compiled.metadata.shared, *counts)
