"""Between a file's levels - 8 bits, 16 bits, floating point - and the network's tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from liif_engine.network.transfer import to_device
from liif_engine.picture import planes

Pixels = NDArray[Any]

#: What the fused decoder writes for a result's dtype.
FORMS = {"uint8": torch.uint8, "uint16": torch.uint16, "float32": torch.float32}

#: ITU-R BT.601 luma of the network's answer to a gray picture.
LUMA = (0.299, 0.587, 0.114)


def to_tensor(view: Pixels, place: torch.device) -> Tensor:
    """(h, w, 1 or 3) in the file's dtype to (1, 3, h, w) fp32 in [0, 1], channels last."""
    full = planes.FULL_SCALE[view.dtype.name]
    # A copy, since the view may be read-only; uint16 has few operations in torch, so it is widened here.
    values = np.array(view, dtype=np.uint8 if view.dtype == np.uint8 else np.float32, order="C")
    tensor = to_device(torch.from_numpy(values), place).float().div_(full)
    return tensor.permute(2, 0, 1)[None].expand(1, 3, -1, -1).contiguous(memory_format=torch.channels_last)


def finished(values: Tensor, dtype: np.dtype[Any], group: slice) -> Tensor:
    """(rows, columns, 3) to (rows, columns, channels of the group) in the result's values, rounded and clamped."""
    if not values.is_floating_point():
        return values
    if group.stop - group.start == 1:
        values = (values * values.new_tensor(LUMA)).sum(-1, keepdim=True)
    values = values.clamp_(0, 1).mul_(planes.FULL_SCALE[dtype.name])
    if dtype == np.float32:
        return values
    return values.round_().to(torch.uint8 if dtype == np.uint8 else torch.int32)  # torch lacks much of uint16


def as_array(values: Tensor, dtype: np.dtype[Any]) -> Pixels:
    """What `finished` gave, on the CPU, as an array of the result's dtype."""
    return values.numpy().astype(dtype, copy=False)
