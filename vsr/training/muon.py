"""Muon: momentum made orthogonal, matrix by matrix (Jordan et al., 2024, "Muon: an optimizer for
hidden layers in neural networks"; its scale is that of Liu et al., arXiv 2502.16982).

Adam's step is as long in a direction in which many weights move together as in any other. Muon's
is as long in each of a matrix's directions, so that the rare ones learn as fast.

torch has one too, but one matrix at a time: FDIWN's hundreds of small ones are done here in a
dozen batches, all but two products of them between squares of the matrices' short sides.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["MATRIX_SIDE", "Muon", "is_matrix", "orthogonal", "split"]

#: Coefficients of the quintic iteration, and how often it is done (Jordan et al.).
_A, _B, _C = 3.4445, -4.7750, 2.0315
_TIMES = 5
_MOMENTUM = 0.95
#: Root mean square of a step's numbers, in learning rates: twice the usual 0.2, which was slower.
_STEP = 0.4
#: Rows and columns that a matrix has at least: with fewer there is little to make orthogonal.
MATRIX_SIDE = 8


def is_matrix(parameter: Tensor) -> bool:
    """Whether a parameter is a convolution's weight with rows and columns enough."""
    rows = parameter.shape[0] if parameter.dim() == 4 else 0
    return rows >= MATRIX_SIDE and parameter.numel() // rows >= MATRIX_SIDE


def orthogonal(m: Tensor) -> Tensor:
    """The nearest matrices with equal singular values, nearly: they end between 0.7 and 1.2.

    Newton and Schulz's iteration ``X <- (a + b XX' + c (XX')^2) X``. All its factors are
    polynomials of the first ``XX'`` and commute, so that only squares of the short side are
    multiplied, and ``X`` once, at the end.

    Args:
        m: ``(n, rows, columns)`` float32. Zeros stay zeros.
    """
    if m.shape[-2] > m.shape[-1]:
        return orthogonal(m.mT).mT
    m = m / m.norm(dim=(-2, -1), keepdim=True).clamp_min(1e-20)
    gram = m @ m.mT
    product = one = torch.eye(m.shape[-2], device=m.device, dtype=m.dtype).expand_as(gram)
    for _ in range(_TIMES):
        factor = _A * one + _B * gram + _C * (gram @ gram)
        gram = factor @ gram @ factor
        product = factor @ product
    return product @ m


class Muon:
    """The optimiser.

    Args:
        stacks: ``(values, gradients)`` of matrices of one shape, ``(n, rows, columns)`` float32
            each. The values are changed in place.
    """

    def __init__(self, stacks: Sequence[tuple[Tensor, Tensor]]) -> None:
        self._stacks = stacks
        self._momenta = [torch.zeros_like(gradients) for _, gradients in stacks]

    @torch.no_grad()
    def step(self, rate: Tensor, broken: Tensor) -> None:
        """One step at a learning rate; none where ``broken`` is 1, not 0. Both are scalars."""
        share = (1 - _MOMENTUM) * (1 - broken)
        for (values, gradients), momentum in zip(self._stacks, self._momenta, strict=True):
            clean = gradients.nan_to_num(0, 0, 0)
            momentum.lerp_(clean, share)
            step = orthogonal(clean.lerp(momentum, _MOMENTUM))
            values.sub_(step * (rate * (1 - broken) * (_STEP * max(values.shape[1:]) ** 0.5)))

    def state_dict(self) -> dict[str, Any]:
        """What a later process needs to go on."""
        return {"momenta": self._momenta}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        torch._foreach_copy_(self._momenta, state["momenta"])


def split(groups: Iterable[dict[str, Any]]) -> tuple[list[nn.Parameter], list[dict[str, Any]]]:
    """Matrices of the groups that learn at the full rate, by shape; and the groups without them."""
    matrices: list[nn.Parameter] = []
    rest: list[dict[str, Any]] = []
    for group in groups:
        mine = [p for p in group["params"] if group["share"] == 1 and is_matrix(p)]
        others = [p for p in group["params"] if group["share"] != 1 or not is_matrix(p)]
        matrices += mine
        if others:
            rest.append(group | {"params": others})
    return sorted(matrices, key=lambda p: tuple(p.shape)), rest
