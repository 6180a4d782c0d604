"""Gradients without their conflicts, pair by pair: PCGrad (Yu et al. 2020)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pinntk.weighting._combiner import Combiner, torchjd


class PCGrad(Combiner):
    """The sum of the conditions' gradients, each less what of it is against another one (Yu et al. 2020, NeurIPS).

    Algorithm 1 of arXiv 2001.06782, by TorchJD: `pip install "pinntk[combiners]"`:

        g_i <- g_i - (g_i . g_j) / |g_j|^2 g_j    where g_i . g_j < 0, for all other j in a drawn order;    g = sum_i g_i

    Of two gradients the result is against neither; of more, it may be. Draws come from the training's seed and its step.
    Without a conflict it is the gradient of the loss.

    It needs one backward pass a condition, and any optimizer of torch that takes one gradient a step: not L-BFGS, "ssbroyden"
    or a solver on the kernel, which compare losses along a step.

    >>> PCGrad().combine(torch.tensor([[1.0, 0.0], [-1.0, 1.0]]))  # (0.5, 0.5) + (0, 1)
    tensor([0.5000, 1.5000], dtype=torch.float64)
    """

    def _combine(self, rows: Tensor, seed: int) -> Tensor:
        with torch.random.fork_rng(devices=[]):  # TorchJD draws from torch's own generator
            torch.manual_seed(seed)
            found: Tensor = torchjd("aggregation").PCGrad()(rows)
        return found

    def describe(self) -> dict[str, Any]:
        return {"name": "pcgrad"}
