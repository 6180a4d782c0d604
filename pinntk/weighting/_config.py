"""A step that no condition pays for: ConFIG (Liu, Chu & Thuerey 2025)."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from pinntk.weighting._combiner import Combiner, torchjd


class ConFIG(Combiner):
    """A step at the same angle to the gradient of every condition (Liu, Chu & Thuerey 2025, ICLR, arXiv 2408.11104, eq. 2).

    With g_i the gradient of condition i's term of the loss, u_i that of unit length, and U made of these rows,

        v = U^+ (1, ..., 1) / norm,    g = (sum_i g_i . v) v

    by TorchJD: `pip install "pinntk[combiners]"`. A small step lowers every condition's loss, whatever their sizes. Where
    gradients leave no such direction, as two opposite ones, v is the nearest in the least squares.

    It needs one backward pass a condition, and any optimizer of torch that takes one gradient a step: not L-BFGS, "ssbroyden"
    or a solver on the kernel, which compare losses along a step. Loss weights beside it change the length of g,
    not its direction.

    >>> import torch
    >>> ConFIG().combine(torch.tensor([[2.0, 0.0], [0.0, 1.0]]))  # 45 degrees from both, and not towards the longer one
    tensor([1.5000, 1.5000], dtype=torch.float64)
    """

    def _combine(self, rows: Tensor, seed: int) -> Tensor:
        found: Tensor = torchjd("aggregation").ConFIG()(rows)
        return found

    def describe(self) -> dict[str, Any]:
        return {"name": "config"}
