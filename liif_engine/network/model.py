"""EDSR encoder and LIIF decoder (arXiv 1707.02921, 2012.09161), in the order the data meets them.

Shapes: N pictures, C feature channels (64), K hidden width of the decoder (256), H x W input pixels, Q queries.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

#: Added to distances between queries and latent codes, in code units: beyond a border both codes may be the same one,
#: and lie where the query does.
DISTANCE_EPSILON = 1e-9

#: Nudges a query off the border between two codes, so that "nearest" has one answer in every precision.
COORD_EPSILON = 1e-6

#: The four latent codes around a query, as (y, x) steps of half a code.
ENSEMBLE = ((-1, -1), (-1, 1), (1, -1), (1, 1))


class ResidualBlock(nn.Module):
    """x + conv(relu(conv(x))), without batch norm."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        first = cast(nn.Conv2d, self.body[0])
        given = _as(x, first.weight.dtype)
        inside = _convolved_relu(first, given) if _has_fused_relu(first, given) else self.body[1](first(given))
        deep: Tensor = self.body[2](inside)
        if torch.is_grad_enabled() or deep.dtype != x.dtype:
            return deep + x
        return deep.add_(x)


def _has_fused_relu(convolution: nn.Conv2d, x: Tensor) -> bool:
    """Whether cuDNN is to apply bias and ReLU before it writes, which saves two passes over memory."""
    return (
        x.device.type == "cuda"
        and x.dtype == convolution.weight.dtype
        and x.dtype in {torch.bfloat16, torch.float16}
        and not torch.is_grad_enabled()
        and not torch.version.hip
        and convolution.in_channels % 8 == convolution.out_channels % 8 == 0  # cuDNN's tensor cores want that
    )


def _convolved_relu(convolution: nn.Conv2d, x: Tensor) -> Tensor:
    weight, bias, ones = convolution.weight, convolution.bias, (1, 1)
    return torch.cudnn_convolution_relu(x, weight, bias, ones, ones, ones, 1)


class Edsr(nn.Module):
    """The EDSR-baseline encoder without its upsampling tail and without mean shift."""

    def __init__(self, channels: int, blocks: int) -> None:
        super().__init__()
        self.head = nn.Sequential(nn.Conv2d(3, channels, 3, padding=1))
        self.body = nn.Sequential(
            *(ResidualBlock(channels) for _ in range(blocks)),
            nn.Conv2d(channels, channels, 3, padding=1),
        )

    def forward(self, x: Tensor, on_layer: Callable[[], None] | None = None) -> Tensor:
        # In a reduced model the head and the sum that runs past the blocks stay in fp32; only the blocks' insides are
        # reduced. Each block adds little to that sum, and rounding the sum as often would lose much of what they add.
        shallow = self.head(x)  # (N, C, H, W)
        deep: Tensor = shallow
        dtype = cast(Tensor, self.body[-1].weight).dtype
        for layer in self.body:
            deep = layer(deep if isinstance(layer, ResidualBlock) else _as(deep, dtype))  # (N, C, H, W)
            if on_layer is not None:
                on_layer()
        return _as(deep + shallow, dtype)


def _as(x: Tensor, dtype: torch.dtype) -> Tensor:
    """In a dtype; under autocast as it is, since there the weights' dtype says nothing and each cast is a pass more."""
    return x if torch.is_autocast_enabled(x.device.type) else x.to(dtype)


class Mlp(nn.Module):
    """Linear layers with ReLU between them; the keys are those of the published checkpoint."""

    def __init__(self, in_features: int, hidden: Sequence[int], out_features: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for width in hidden:
            layers += [nn.Linear(in_features, width), nn.ReLU(inplace=True)]
            in_features = width
        layers.append(nn.Linear(in_features, out_features))
        self.layers = nn.Sequential(*layers)

    @property
    def linears(self) -> list[nn.Linear]:
        """The linear layers, first to last."""
        return [layer for layer in self.layers if isinstance(layer, nn.Linear)]


class EdsrLiif(nn.Module):
    """EDSR-LIIF: ``feature_map = model.encode(pixels)``, ``rgb = model.decode(feature_map, coord, cell)``.

    Args:
        channels: feature channels C of the encoder.
        blocks: residual blocks of the encoder.
        hidden: widths of the decoder's hidden layers.
    """

    def __init__(self, channels: int = 64, blocks: int = 16, hidden: Sequence[int] = (256, 256, 256, 256)) -> None:
        super().__init__()
        if not hidden:
            raise ValueError("the decoder needs at least one hidden layer")
        self.channels, self.blocks, self.hidden = channels, blocks, tuple(hidden)
        self.encoder = Edsr(channels, blocks)
        self.imnet = Mlp(9 * channels + 4, hidden, 3)

    @property
    def halo(self) -> int:
        """Input pixels around a query that can change its answer: convolutions, unfolding, nearest neighbour."""
        convolutions = 2 * self.blocks + 2
        return convolutions + 2

    @property
    def encoder_work(self) -> int:
        """Multiply-adds per input pixel: the encoder and the decoder's first layer."""
        c = self.channels
        return 9 * (3 * c + (2 * self.blocks + 1) * c * c + c * self.hidden[0])

    @property
    def answer_work(self) -> int:
        """Multiply-adds of an answer, through the layers after the first; see `grid.sides`."""
        return sum(a * b for a, b in pairwise([*self.hidden, 3]))

    def reduce(self, dtype: torch.dtype) -> EdsrLiif:
        """Converts the model, in place, to bf16 or fp16, all but the encoder's first convolution; returns it."""
        self.encoder.body.to(dtype)
        self.imnet.to(dtype)
        return self

    def encode(self, pixels: Tensor, on_layer: Callable[[], None] | None = None) -> Tensor:
        """Pixels to the encoder's grid.

        Args:
            pixels: (N, 3, H, W), RGB in [0, 1], fp32, also for a model in a reduced precision.
            on_layer: called after each layer of the encoder's body; what it raises ends the work.

        Returns:
            The feature map, (N, C, H, W).
        """
        return cast(Tensor, self.encoder((pixels - 0.5) / 0.5, on_layer))

    def first_layer(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The decoder's first linear layer, split by what it multiplies.

        Returns:
            A 3x3 kernel (K, C, 3, 3) for the unfolded features, bias (K,), and the columns for the
            relative coordinate (K, 2) and the cell (K, 2), each as (y, x).
        """
        first = self.imnet.linears[0]
        features = 9 * self.channels
        kernel = first.weight[:, :features].view(-1, self.channels, 3, 3)
        return kernel, first.bias, first.weight[:, features : features + 2], first.weight[:, features + 2 :]

    def decode(self, feature_map: Tensor, coord: Tensor, cell: Tensor) -> Tensor:
        """The colour at any coordinates; differentiable. For a regular grid `decode.py` is faster.

        The first layer is linear, so its part for the 576 unfolded features is a 3x3 convolution done once
        per input pixel, not once per query.

        Args:
            feature_map: (N, C, H, W).
            coord: (N, Q, 2), (y, x) in [-1, 1], fp32 or better; pixel centres are at (2i + 1) / n - 1.
            cell: (N, Q, 2), (height, width) of the output pixel in the same units.

        Returns:
            (N, Q, 3), RGB around [0, 1], not clamped.
        """
        kernel, bias, coord_columns, cell_columns = self.first_layer()
        height, width = feature_map.shape[-2:]
        size = coord.new_tensor([height, width])
        grid = F.conv2d(feature_map, kernel, bias, padding=1)  # (N, K, H, W)
        rows = grid.permute(0, 2, 3, 1).flatten(0, 2)  # (N*H*W, K); no copy where the memory is channels-last
        first_row = torch.arange(len(grid), device=grid.device).unsqueeze(1) * (height * width)  # (N, 1)
        cell_term = F.linear((cell * size).to(grid.dtype), cell_columns)  # (N, Q, K)

        answers, distances = [], []
        for step in ENSEMBLE:
            shifted = coord + coord.new_tensor(step) / size + COORD_EPSILON
            shifted = shifted.clamp(-1 + COORD_EPSILON, 1 - COORD_EPSILON)
            nearest = ((shifted + 1) * size / 2).floor().long()  # (N, Q, 2)
            relative = (coord - ((2 * nearest + 1) / size - 1)) * size  # (N, Q, 2), in code units
            row = first_row + nearest[..., 0] * width + nearest[..., 1]  # (N, Q)
            # Whole rows, not elements: a training step on a CPU takes a tenth less time than with gather().
            hidden = rows.index_select(0, row.flatten()).view(*row.shape, -1)  # (N, Q, K)
            hidden = hidden + F.linear(relative.to(grid.dtype), coord_columns) + cell_term
            for linear in self.imnet.linears[1:]:
                hidden = linear(F.relu(hidden, inplace=True))
            answers.append(hidden)  # (N, Q, 3)
            distances.append(relative.abs() + DISTANCE_EPSILON)  # (N, Q, 2)

        # Each answer weighs as much as the area towards the opposite corner, whose step is the opposite one.
        mixed = sum(
            answer * (far / (near + far)).prod(-1, keepdim=True)
            for answer, near, far in zip(answers, distances, reversed(distances), strict=True)
        )
        return cast(Tensor, mixed) * 0.5 + 0.5
