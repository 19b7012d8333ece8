"""What `gpu.py` compares with, in torch and our own words: LIIF as published, and Real-ESRGAN x4plus' network."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from liif_engine.network.model import EdsrLiif

#: Queries per batch of the published test script.
PUBLISHED_BATCH = 30_000

NUDGE = 1e-6


@torch.inference_mode()
def published_form(model: EdsrLiif, pixels: Tensor, out: tuple[int, int], batch: int = PUBLISHED_BATCH) -> Tensor:
    """The paper's formula with no shortcut: 576 unfolded features gathered for each of a query's four codes.

    They are gathered as whole rows, which is faster than the published code's way through `grid_sample`.

    Args:
        model: in the dtype to compute in.
        pixels: (1, 3, H, W) in [0, 1].
        out: (height, width) of the result.

    Returns:
        (height, width, 3), clamped to [0, 1].
    """
    feature_map = model.encode(pixels)
    codes = F.unfold(feature_map, 3, padding=1)[0].T.contiguous()  # (H*W, 576)
    device = pixels.device
    axes = [(2 * torch.arange(n, device=device, dtype=torch.float32) + 1) / n - 1 for n in out]
    coord = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).view(-1, 2)  # (Q, 2)
    parts = [_answers(model, codes, tuple(feature_map.shape[2:]), part, out) for part in coord.split(batch)]
    return (torch.cat(parts) * 0.5 + 0.5).clamp(0, 1).view(*out, 3)


def _answers(model: EdsrLiif, codes: Tensor, grid: tuple[int, ...], coord: Tensor, out: tuple[int, int]) -> Tensor:
    """(Q, 3) for coordinates (Q, 2), of a grid of (height, width) codes."""
    size = coord.new_tensor(grid)
    cell = coord.new_tensor([2 / out[0], 2 / out[1]]).mul(size).expand_as(coord)
    answers, areas = [], []
    for step in ((-1, -1), (-1, 1), (1, -1), (1, 1)):
        at = (coord + coord.new_tensor(step) / size + NUDGE).clamp(-1 + NUDGE, 1 - NUDGE)
        nearest = ((at + 1) * size / 2).floor()
        relative = (coord - ((2 * nearest + 1) / size - 1)) * size
        code = codes.index_select(0, (nearest[:, 0] * size[1] + nearest[:, 1]).long())
        features = torch.cat([code, relative.to(code.dtype), cell.to(code.dtype)], -1)  # (Q, 580)
        answers.append(model.imnet.layers(features).float())
        areas.append(relative.prod(-1).abs() + 1e-9)
    total = torch.stack(areas).sum(0)
    return torch.stack(
        [answer * (area / total)[:, None] for answer, area in zip(answers, areas[::-1], strict=True)]
    ).sum(0)


class DenseBlock(nn.Module):
    """Five convolutions, each of all that came before it."""

    def __init__(self, channels: int, growth: int) -> None:
        super().__init__()
        widths = [growth] * 4 + [channels]
        self.convolutions = nn.ModuleList(
            nn.Conv2d(channels + index * growth, width, 3, padding=1) for index, width in enumerate(widths)
        )

    def forward(self, x: Tensor) -> Tensor:
        known = [x]
        for convolution in self.convolutions[:-1]:
            known.append(F.leaky_relu(convolution(torch.cat(known, 1)), 0.2, inplace=True))
        last: Tensor = self.convolutions[-1](torch.cat(known, 1))
        return last * 0.2 + x


class Rrdb(nn.Module):
    """The shape of Real-ESRGAN x4plus (arXiv 2107.10833; ESRGAN, 1809.00219): 23 blocks of three dense blocks."""

    def __init__(self, channels: int = 64, blocks: int = 23, growth: int = 32) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, channels, 3, padding=1)
        self.blocks = nn.ModuleList(
            nn.Sequential(*(DenseBlock(channels, growth) for _ in range(3))) for _ in range(blocks)
        )
        self.trunk = nn.Conv2d(channels, channels, 3, padding=1)
        self.rise = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2))
        self.fine = nn.Conv2d(channels, channels, 3, padding=1)
        self.last = nn.Conv2d(channels, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        shallow = self.first(x)
        deep = shallow
        for block in self.blocks:
            deep = block(deep) * 0.2 + deep
        deep = shallow + self.trunk(deep)
        for convolution in self.rise:
            deep = F.leaky_relu(convolution(F.interpolate(deep, scale_factor=2, mode="nearest")), 0.2, inplace=True)
        answer: Tensor = self.last(F.leaky_relu(self.fine(deep), 0.2, inplace=True))
        return answer
