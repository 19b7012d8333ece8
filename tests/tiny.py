"""An engine of a tiny random network on the CPU, and by how much two of its answers may differ."""

from __future__ import annotations

import torch

from liif_engine import Engine
from liif_engine.network.device import has_bf16
from liif_engine.network.model import EdsrLiif

from .conftest import tiny_network

TOLERANCE = 0.02 / 255
HAS_BF16 = has_bf16(torch.device("cpu"))


def engine(network: EdsrLiif | None = None, precision: str = "fp32") -> Engine:
    return Engine(network or tiny_network(), device="cpu", precision=precision)
