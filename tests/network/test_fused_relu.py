"""The encoder on a GPU: a block's first convolution with bias and ReLU in one step, as near to fp32 as in three."""

from __future__ import annotations

import pytest
import torch

from liif_engine.network import checkpoint, model


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU, whose library fuses them")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("side", [1, 7, 64])
def test_one_step_is_as_near_to_fp32_as_three(monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype, side: int) -> None:
    exact = checkpoint.load("web").to("cuda", memory_format=torch.channels_last)  # type: ignore[call-overload]
    reduced = checkpoint.copy_of(exact).reduce(dtype)
    pixels = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0)).cuda()
    with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
        wanted, one = exact.encode(pixels), reduced.encode(pixels)
        monkeypatch.setattr(model, "_has_fused_relu", lambda *_: False)
        three = reduced.encode(pixels)
    assert (one - wanted).abs().max() <= 1.5 * (three - wanted).abs().max()


def test_it_is_left_to_a_gpu_in_half_precision() -> None:
    convolution = torch.nn.Conv2d(8, 8, 3)
    with torch.inference_mode():
        assert not model._has_fused_relu(convolution, torch.zeros(1, 8, 4, 4))
