"""The decoder's layers after the first, each with its ReLU in one pass where oneDNN can do that.

A ReLU of its own costs a CPU more than its arithmetic: it reads and writes every activation once more, and in bf16 it
widens and rounds each. oneDNN applies it to the sums of a matrix product before they leave the registers, and it is
also the faster of torch's two matrix libraries on CPUs that are not Intel's.
"""

from __future__ import annotations

import platform

import torch
import torch.nn.functional as F
from torch import Tensor

from liif_engine.network.model import EdsrLiif

#: A hidden value beyond this could overflow in the next sum; of fp32's and bf16's range.
LARGEST = 1e37


class Perceptron:
    """The layers after the first of one network: ``answers = perceptron(hidden, safe=True)``.

    Prepared once per picture: oneDNN takes the weights in an order of its own.

    Args:
        model: in the dtype and on the device it is to compute in.
    """

    def __init__(self, model: EdsrLiif) -> None:
        *self.middle, self.last = model.imnet.linears[1:]
        self.fused = has_fused(self.last.weight)
        # The answer itself is summed and kept in fp32: rounded to bf16, it alone would cost a quarter of a level.
        self._last_weight, self._last_bias = self.last.weight.float(), self.last.bias.float()
        if self.fused:
            self._packed = [_packed(layer.weight) for layer in self.middle]
            self._packed_last = _packed(self._last_weight)
        # Relative coordinates and cells lie within 2 latent codes.
        self._coordinates = 2 * float(torch.cat(model.first_layer()[2:], 1).float().abs().sum(1).max())
        self._slopes = [float(layer.weight.float().abs().sum(1).max()) for layer in self.middle]
        self._offsets = [float(layer.bias.float().abs().max()) for layer in self.middle]

    def is_safe(self, codes: Tensor) -> bool:
        """Whether no hidden value can overflow, given the first layer's feature part.

        oneDNN's ReLU turns not-a-numbers into zeros, which would hide an overflow from the check at the end. Where this
        says no, the slower layers are used, which hand them on.
        """
        if not self.fused:
            return False
        low, high = (float(end) for end in codes.aminmax())
        largest = max(-low, high) + self._coordinates
        for slope, offset in zip(self._slopes, self._offsets, strict=True):
            largest = largest * slope + offset
        return largest < LARGEST  # false for a not-a-number

    def __call__(self, hidden: Tensor, *, safe: bool) -> Tensor:
        """(queries, K) after the first layer's ReLU to (queries, 3) fp32."""
        if not (safe and self.fused):
            for layer in self.middle:
                hidden = F.linear(hidden, layer.weight, layer.bias).relu_()
            return F.linear(hidden.float(), self._last_weight, self._last_bias)
        for layer, weight in zip(self.middle, self._packed, strict=True):
            hidden = _product(hidden, weight, layer.bias, "relu")
        return _product(hidden.float(), self._packed_last, self._last_bias, "none")


def put_sum(result: Tensor, a: Tensor, b: Tensor, *, safe: bool) -> None:
    """Writes ``relu(a + b)`` to `result`, where torch has that in one pass.

    Args:
        result: in any dtype; the sum is rounded to it once.
        a, b: fp32, of shapes that together make that of `result`.
        safe: whether the sum cannot overflow, which the one pass would hide.
    """
    if not (safe and hasattr(torch.ops.aten, "_add_relu")):
        result.copy_((a + b).relu_())
    elif result.dtype == a.dtype:
        torch.ops.aten._add_relu.out(a, b, out=result)
    else:
        result.copy_(torch.ops.aten._add_relu.Tensor(a, b))


def has_fused(weight: Tensor) -> bool:
    """Whether torch's oneDNN multiplies and applies ReLU at once for weights of this dtype and device."""
    return (
        weight.device.type == "cpu"
        and weight.dtype in {torch.float32, torch.bfloat16}
        and platform.machine().lower() in {"x86_64", "amd64"}
        and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    )


def _product(x: Tensor, packed: Tensor, bias: Tensor, activation: str) -> Tensor:
    product: Tensor = torch.ops.mkldnn._linear_pointwise(x, packed, bias, activation, [], "")
    return product


def _packed(weight: Tensor) -> Tensor:
    """The weight in oneDNN's own order."""
    if hasattr(torch.ops.mkldnn, "_reorder_linear_weight"):
        packed: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight, None)
        return packed
    return weight
