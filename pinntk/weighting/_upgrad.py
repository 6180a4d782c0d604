"""Gradients without any conflict: UPGrad (Quinton & Rey 2024)."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from pinntk.weighting._combiner import Combiner, torchjd

_RIDGE = 1e-12  # on Gramians of unit vectors: below it a dependence among gradients is rounding


class UPGrad(Combiner):
    """The sum of the conditions' gradients, each projected to where it is against none (Quinton & Rey 2024, arXiv 2406.16232).

    By TorchJD: `pip install "pinntk[combiners]"`. With G of rows g_i,

        g = sum_i (the vector nearest to g_i among those v with G v >= 0)

    so that G g >= 0: a small step raises no condition's loss. It is m times the paper's mean, and so, without a conflict, the
    gradient of the loss. TorchJD gets gradients of unit length, and puts their lengths back: its default settings add 1e-4 of
    the largest one's square to every other, which a condition with small gradients would pay for.

    It needs one backward pass a condition, and any optimizer of torch that takes one gradient a step: not L-BFGS, "ssbroyden"
    or a solver on the kernel, which compare losses along a step.

    >>> import torch
    >>> UPGrad().combine(torch.tensor([[1.0, 0.0], [-1.0, 1.0]]))
    tensor([0.5000, 1.5000], dtype=torch.float64)
    """

    def _combine(self, rows: Tensor, seed: int) -> Tensor:
        lengths = rows.norm(dim=1)
        units, longest = rows / lengths[:, None], lengths.max()
        projector = torchjd("linalg").QuadprogProjector(norm_eps=0.0, reg_eps=_RIDGE)
        weights = torchjd("aggregation").UPGradWeighting(lengths / longest, projector)(units @ units.T)
        found: Tensor = longest * (weights @ units)
        return found

    def describe(self) -> dict[str, Any]:
        return {"name": "upgrad"}
