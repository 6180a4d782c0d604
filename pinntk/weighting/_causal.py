"""Causal weights: later times count once earlier ones are solved (Wang, Sankaran & Perdikaris 2022, arXiv 2203.07404)."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import Any

import torch
from torch import Tensor

from pinntk.geometry import Domain
from pinntk.geometry._bounded import TIME
from pinntk.problem import PointSet, Problem
from pinntk.problem._time import time_slices


class Causal:
    """Weights over time inside the residual conditions, beside the loss weights lambda_i of any scheme.

    The time interval is cut into M slices of equal length. With L_k the mean of e^2 over a condition's points in slice k,

        w_k = exp(-epsilon sum_{j<k} L_j),    L_i = 1/M sum_k w_k L_k    in place of    mean(e_i^2)

    where w is a constant to the gradient: point p of slice k has the point weight g_p = w_k n / (M n_k). A slice without points
    has L_k = 0. Several residual conditions share the smallest of their w_k: a system is solved up to a time when all its
    equations are. Conditions of other kinds, and residuals on faces, keep mean(e_i^2).

    epsilon: how strictly; a ladder of values, as in (0.01, 0.1, 1, 10, 100), takes the next when all w_k are above `threshold`
    slices: M
    threshold: in (0, 1)

    The w_k are computed anew in every step, by a forward pass without gradient before it: they are exactly those of the
    step's parameters and points, the same through all evaluations of a line search, and nothing but the rung of the ladder
    has to be kept. It costs about a third of an eager step.

    Under `NTK` the kernel traced is that of the loss that is minimized, of the errors sqrt(g_p) e_p: exactly sum_p g_p K_pp;
    lambda_r grows while slices are shut, as in the authors' code. The log's loss/NAME stays the plain mean(e_i^2); its "loss"
    is what is minimized, "causal" the smallest w_k and "epsilon" the rung.

    >>> Causal(epsilon=2.0, slices=4).rule(torch.tensor([0.0, 0.5, 1.0, 0.0]))
    tensor([1.0000, 1.0000, 0.3679, 0.0498])
    """

    def __init__(self, epsilon: float | Sequence[float] = 1.0, slices: int = 16, threshold: float = 0.99):
        ladder = tuple(epsilon) if isinstance(epsilon, Sequence) and not isinstance(epsilon, str) else (epsilon,)
        numbers = all(isinstance(value, (int, float)) and isfinite(value) and value > 0 for value in ladder)
        if not ladder or not numbers or list(ladder) != sorted(set(ladder)):
            raise ValueError(f"epsilon={epsilon!r}: a number above 0, or several in ascending order, as in (0.01, 0.1, 1)")
        if not isinstance(slices, int) or slices < 2:
            raise ValueError(f"slices={slices!r}: a whole number of time slices, at least 2")
        if not 0 < threshold < 1:
            raise ValueError(f"threshold={threshold!r}: between 0 and 1")
        self.ladder, self.slices, self.threshold = tuple(map(float, ladder)), slices, threshold

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Causal) and self.describe() == other.describe()

    def __repr__(self) -> str:
        return f"Causal({', '.join(f'{name}={value!r}' for name, value in self.describe().items())})"

    def __hash__(self) -> int:
        return hash((self.ladder, self.slices, self.threshold))

    def names(self, problem: Problem) -> list[str]:
        """The conditions that it weighs. Raises ValueError if there are none."""
        found = [c.name for c in problem.conditions if c.kind == "residual" and isinstance(c.region, (Domain, PointSet))]
        if TIME not in problem.coordinates or not found:
            raise ValueError(
                f"causal weights need a coordinate {TIME!r} and a residual inside the domain; {problem.name} has coordinates "
                f"{problem.coordinates} and residuals {found}: leave causal out"
            )
        return found

    def slice_of(self, problem: Problem, rows: Tensor) -> Tensor:
        """The slice 0 .. M - 1 of each of (n, d) points, (n,)."""
        axis = problem.domain.axis(TIME)
        low, high = problem.domain.bounds[axis]
        return time_slices(rows[:, axis], low, high, self.slices)

    def rule(self, losses: Tensor, rung: int = 0) -> Tensor:
        """w (M,) from the slice losses L (M,)."""
        before = losses.cumsum(0).roll(1)
        before[0] = 0
        return torch.exp(-self.ladder[rung] * before)

    def next_rung(self, weights: Tensor, rung: int) -> int:
        """The rung for the next step, from this one's w."""
        return min(rung + int(bool(weights.min() > self.threshold)), len(self.ladder) - 1)

    def describe(self) -> dict[str, Any]:
        epsilon = self.ladder[0] if len(self.ladder) == 1 else list(self.ladder)
        return {"epsilon": epsilon, "slices": self.slices, "threshold": self.threshold}
