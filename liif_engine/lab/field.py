"""All that the network can see when it makes one patch of a result: the patch's receptive field, cut out.

Within it the patch's pixels come out exactly as in the whole picture, at a small part of the work; so experiments on
one patch (attribution, taking parts away, noise) are run here. Differentiable.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from liif_engine.levels import LUMA
from liif_engine.network.model import EdsrLiif
from liif_engine.picture import tiles
from liif_engine.picture.tiles import Grid, Rect

Pixels = NDArray[np.uint8]


class Field:
    """A patch of a picture with its receptive field.

    Args:
        model: in fp32 on the CPU.
        pixels: (H, W, 1 or 3) uint8, the picture.
        patch: input pixels whose result is looked at.
        size: (width, height) of the result.

    Attributes:
        patch: as given.
        window: the input pixels that can change the patch, cut at the picture's border.
        output: the result's pixels that the patch becomes.
        inner: the patch within the window.
        pixels: (1, 3, h, w) of the window, fp32 in [0, 1].
    """

    def __init__(self, model: EdsrLiif, pixels: Pixels, patch: Rect, size: tuple[int, int]) -> None:
        height, width, channels = pixels.shape
        tile = tiles.tile(Grid(height, width, size[1], size[0], model.halo), patch)
        self.model, self.patch, self.window, self.output = model, patch, tile.window, tile.output
        window = tile.window
        self.inner = Rect(
            patch.top - window.top, patch.bottom - window.top, patch.left - window.left, patch.right - window.left
        )
        cut = pixels[window.top : window.bottom, window.left : window.right].astype(np.float32) / 255
        self.pixels = torch.from_numpy(cut).permute(2, 0, 1)[None].expand(1, 3, -1, -1).contiguous()
        self._gray = channels == 1
        rows = _positions(tile.output.top, tile.output.bottom, height / size[1], window.top, window.height)
        columns = _positions(tile.output.left, tile.output.right, width / size[0], window.left, window.width)
        self.coord = torch.from_numpy(np.stack(np.meshgrid(rows, columns, indexing="ij"), -1)).flatten(0, 1)[None]
        cell = [2 * height / size[1] / window.height, 2 * width / size[0] / window.width]
        self.cell = self.coord.new_tensor(cell).expand_as(self.coord)  # both (1, Q, 2), float64

    def answer(self, pixels: Tensor | None = None, model: EdsrLiif | None = None) -> Tensor:
        """The patch of the result.

        Args:
            pixels: (1, 3, h, w), what the network is shown instead of the window's own pixels.
            model: what answers instead of the field's own model.

        Returns:
            (rows, columns, 3) fp32 around [0, 1], not clamped.
        """
        model = self.model if model is None else model
        feature_map = model.encode(self.pixels if pixels is None else pixels)
        return self.shape(model.decode(feature_map, self.coord, self.cell))

    def shape(self, colours: Tensor) -> Tensor:
        """(1, Q, 3) to (rows, columns, 3) fp32; of a gray picture each colour is the luma."""
        colours = colours.float().view(self.output.height, self.output.width, 3)
        if self._gray:
            return (colours * colours.new_tensor(LUMA)).sum(-1, keepdim=True).expand(-1, -1, 3)
        return colours

    def outside(self, reach: int, around: Rect | None = None) -> Tensor:
        """The window with everything farther than `reach` pixels away replaced by the nearest pixel that is not.

        Args:
            reach: pixels kept around the patch.
            around: what is kept instead of the patch, in the window's pixels.

        Returns:
            (1, 3, h, w).
        """
        core = around or self.inner
        rows = torch.arange(self.window.height).clamp(core.top - reach, core.bottom - 1 + reach)
        columns = torch.arange(self.window.width).clamp(core.left - reach, core.right - 1 + reach)
        rows, columns = rows.clamp(0, self.window.height - 1), columns.clamp(0, self.window.width - 1)
        return self.pixels[:, :, rows][:, :, :, columns]


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch on one thread inside the block.

    A field is so small that threads mostly wait for each other: on two busy cores two threads took nine times the CPU
    time of one.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def luma(colours: Tensor) -> Tensor:
    """(rows, columns, 3) in [0, 1] to (rows, columns) BT.601 luma in grey levels, 0-255."""
    return (colours * colours.new_tensor(LUMA)).sum(-1) * 255


def rms(difference: Tensor) -> float:
    """Root mean square of a difference of colours in [0, 1], in grey levels."""
    return float(difference.square().mean().sqrt()) * 255


def _positions(start: int, stop: int, step: float, origin: int, length: int) -> NDArray[np.float64]:
    """Centres of output pixels along an axis, in the -1 to 1 of a window of `length` pixels from `origin` on."""
    centres = (np.arange(start, stop, dtype=np.float64) + 0.5) * step
    return 2 * (centres - origin) / length - 1
