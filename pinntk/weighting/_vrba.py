"""Variational residual-based attention: what norm of the errors is lowered (Toscano, Chen, Oommen & Karniadakis 2025)."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite, log
from typing import Any

import torch
from torch import Tensor

from pinntk.weighting._rba import RBA, relative_sizes

POTENTIALS = ("exp", "square")


class VRBA(RBA):
    """Residual-based attention whose newest part is the derivative of a potential Phi.

    Toscano, Chen, Oommen & Karniadakis 2025, arXiv 2509.14198:

        q_p = Phi'(|e_p| / epsilon),    l_p <- gamma l_p + eta (phi q_p / max q + 1 - phi),    L_i = 1/n_i sum_p (l_p e_p)^2

    With Phi = exp, q is the distribution over points that maximizes the mean of |e| under it less epsilon times its relative
    entropy to the even one: near the largest errors, so that their maximum is lowered. With Phi = square, q ~ |e|, and the
    scheme is `RBA`.

    potential: "exp" or "square"
    c: with "exp" epsilon = c max|e| / log(k + 2) in step k = 1, 2, ..., so that q / max q = (k + 2)^((|e| / max|e| - 1) / c)
        becomes sharper from step to step; a larger c leaves it flatter. "square" has no use for it
    phi: the share of the distribution; the rest is even, in (0, 1]
    eta, gamma, initial, conditions: as of `RBA`, and so is all that is said of points there

    >>> VRBA(eta=1.0, gamma=0.0).rule(torch.zeros(3), torch.tensor([0.0, 1.0, 2.0]), step=2)
    tensor([0.2500, 0.5000, 1.0000])
    """

    def __init__(
        self,
        potential: str = "exp",
        c: float = 1.0,
        phi: float = 1.0,
        eta: float = 1e-3,
        gamma: float = 0.999,
        initial: float = 1.0,
        conditions: str | Sequence[str] = ("residual",),
    ):
        super().__init__(eta, gamma, initial, conditions)
        if potential not in POTENTIALS:
            raise ValueError(f"potential={potential!r}: one of {', '.join(map(repr, POTENTIALS))}")
        if not isinstance(c, (int, float)) or not (isfinite(c) and c > 0):
            raise ValueError(f"c={c!r}: a finite number above 0")
        if not isinstance(phi, (int, float)) or not 0 < phi <= 1:
            raise ValueError(f"phi={phi!r}: above 0 and at most 1")
        self.potential, self.c, self.phi = potential, float(c), float(phi)

    def tilt(self, errors: Tensor, step: int) -> Tensor:
        """q / max q (n,) from the errors e (n,) of all points of a condition, in step 1, 2, ..."""
        sizes = relative_sizes(errors)
        return sizes if self.potential == "square" else torch.exp(log(step + 2) / self.c * (sizes - sizes.max()))

    def rule(self, weights: Tensor, errors: Tensor, step: int = 1) -> Tensor:
        """The next l (n,) from this one and the errors e (n,) of all points of a condition, in step 1, 2, ..."""
        return self.gamma * weights + self.eta * (self.phi * self.tilt(errors, step) + 1 - self.phi)

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), "name": "vrba", "potential": self.potential, "c": self.c, "phi": self.phi}
