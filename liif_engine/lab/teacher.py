"""The answers that a student learns beside the truth: a model's, or its self-ensemble's.

A self-ensemble is right a little more often than its model, and says the same of a pair each time, which the truth does
not: most of what it differs by from any answer nobody could have known. So a model can learn from its own ensemble.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from liif_engine.lab.validate import Answer
from liif_engine.picture.turns import AS_IT_IS, TURNS, Turn


class Teacher:
    """Answers queries, one batch a step.

    Args:
        answer: the model's.
        ways: of the eight ways to lay a patch, those it is asked in at each step, drawn anew; their answers' mean is
            what is learnt. 0: as it is, in no other. Over many steps few ways teach what all eight would.
        seed: decides the ways.
    """

    def __init__(self, answer: Answer, ways: int, seed: int) -> None:
        self._answer, self._ways, self._seed = answer, ways, seed

    @torch.no_grad()
    def __call__(self, pixels: Tensor, coord: Tensor, cell: Tensor, step: int) -> Tensor:
        """The answers to a batch.

        Args:
            pixels: (N, 3, P, P).
            coord: (N, Q, 2) as (y, x), in [-1, 1].
            cell: (N, Q, 2), the same along both axes.
            step: of the run; the same step draws the same ways.

        Returns:
            RGB (N, Q, 3).
        """
        ways = [AS_IT_IS]
        if self._ways:
            drawn = np.random.default_rng([self._seed, step, len(TURNS)]).permutation(len(TURNS))
            ways = [TURNS[which] for which in drawn[: self._ways]]
        answers = [self._answer(*_turned(pixels, coord, way), cell) for way in ways]
        return torch.stack(answers).mean(0)


def _turned(pixels: Tensor, coord: Tensor, turn: Turn) -> tuple[Tensor, Tensor]:
    """Patches as they lie when turned, and where what was asked for lies then."""
    if turn.swap:
        pixels, coord = pixels.transpose(2, 3), coord.flip(-1)
    backwards = (turn.upside_down, turn.mirrored)
    pixels = pixels.flip([2 + axis for axis in (0, 1) if backwards[axis]])
    signs = coord.new_tensor([-1.0 if turned else 1.0 for turned in backwards])
    return pixels.contiguous(memory_format=torch.channels_last), coord * signs
