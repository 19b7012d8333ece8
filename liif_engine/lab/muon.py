"""Muon: every matrix of weights moves by a matrix whose singular values are all about one.

Keller Jordan et al., "Muon: An optimizer for hidden layers in neural networks" (2024); the size of its steps as in
"Muon is Scalable for LLM Training", arXiv 2502.16982, so that a rate that suits Adam suits it too. Adam's step, entry
by entry, is large in the few directions that most pictures ask for; this one is as large in the rare ones.

``torch.optim.Muon`` takes only matrices, one after another; here kernels of convolutions are matrices too (a row for
each output channel), and those of one shape are computed together.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim.adam import adam

#: Of the odd polynomial that draws singular values towards one, and how often it is applied.
_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_ROUNDS = 5

#: Part of the last gradient in the average of the gradients.
_NEWS = 0.05

#: Root mean square of a step's entries, as a part of the rate: what Adam's tends to be.
_STEP = 0.2

#: A matrix with a side shorter than this (colours in or out) is left to Adam.
_SHORTEST = 32

_BETAS = (0.9, 0.999)


def orthogonal(matrices: Tensor) -> Tensor:
    """Matrices with the same singular vectors and singular values of about one (0.7 to 1.2; tiny ones stay below).

    Args:
        matrices: (B, M, N), floats of any size; all zeros stay so.

    Returns:
        (B, M, N).
    """
    linear, cubic, quintic = _COEFFICIENTS
    x = matrices / (torch.linalg.matrix_norm(matrices, keepdim=True) + 1e-12)
    if tall := x.shape[-2] > x.shape[-1]:
        x = x.mT
    for _ in range(_ROUNDS):
        square = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(square, square, square, beta=cubic, alpha=quintic), x, beta=linear)
    last: Tensor = x.mT if tall else x
    return last


class Muon(torch.optim.Optimizer):
    """Muon for matrices and kernels, Adam for biases and for what leads from and to the three colours.

    Args:
        params: groups of parameters, as torch's optimisers take them.
        lr: the learning rate of both.
    """

    def __init__(self, params: Iterable[dict[str, Any]], lr: float) -> None:
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # noqa: ARG002
        """One step along the gradients that are there."""
        for group in self.param_groups:
            changing = [parameter for parameter in group["params"] if parameter.grad is not None]
            matrices = [parameter for parameter in changing if _is_matrix(parameter)]
            self._step_matrices(matrices, group["lr"])
            self._step_adam([parameter for parameter in changing if not _is_matrix(parameter)], group["lr"])

    def _step_matrices(self, parameters: list[Tensor], rate: float) -> None:
        alike: dict[tuple[int, ...], list[Tensor]] = {}
        for parameter in parameters:
            if not (state := self.state[parameter]):
                state["exp_avg"] = torch.zeros_like(parameter)
            alike.setdefault(tuple(parameter.shape), []).append(parameter)
        # All of a shape at once: a GPU would wait for a hundred small operations one by one.
        for shape, those in alike.items():
            gradients = [parameter.grad for parameter in those if parameter.grad is not None]
            averages = [self.state[parameter]["exp_avg"] for parameter in those]
            torch._foreach_lerp_(averages, gradients, _NEWS)
            # Nesterov's: as if the average had taken the last gradient twice.
            ahead = torch._foreach_lerp(averages, gradients, _NEWS)
            rows = torch.stack([one.movedim(1, -1).reshape(shape[0], -1) for one in ahead])
            steps = orthogonal(rows) * (_STEP * max(rows.shape[1:]) ** 0.5)
            laid = steps.reshape(len(those), shape[0], *shape[2:], shape[1]).movedim(-1, 2)
            torch._foreach_sub_(those, list(laid.unbind()), alpha=rate)

    def _step_adam(self, parameters: list[Tensor], rate: float) -> None:
        for parameter in parameters:
            if not (state := self.state[parameter]):
                state["step"] = torch.zeros(())
                state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
        states = [self.state[parameter] for parameter in parameters]
        adam(
            parameters,
            [parameter.grad for parameter in parameters if parameter.grad is not None],
            [state["exp_avg"] for state in states],
            [state["exp_avg_sq"] for state in states],
            [],
            [state["step"] for state in states],
            amsgrad=False,
            beta1=_BETAS[0],
            beta2=_BETAS[1],
            lr=rate,
            weight_decay=0.0,
            eps=1e-8,
            maximize=False,
        )


def _is_matrix(parameter: Tensor) -> bool:
    return parameter.dim() >= 2 and min(parameter.shape[0], parameter[0].numel()) >= _SHORTEST
