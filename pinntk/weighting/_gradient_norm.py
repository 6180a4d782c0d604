"""Loss weights from gradient norms: learning-rate annealing (Wang, Teng & Perdikaris 2021)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pinntk.problem import Problem
from pinntk.weighting._balance import balance, check_update, moving_average
from pinntk.weighting._weighting import Weighting

_ROUNDING = 1e-6  # norms, not their squares


class GradientNorm(Weighting):
    """Weights that give every condition's term of the loss the same gradient norm:

        lambda_i = sum_j norm(grad L_j) / norm(grad L_i),    averaged: momentum lambda_old + (1 - momentum) lambda_i

    the form of the Expert's guide (Wang, Sankaran, Wang & Perdikaris 2023, algorithm 1) of SISC 43(5) A3055; the first update
    has nothing to average with. The gradients are those of L_i = mean(e_i^2) in all trained parameters, coefficients among
    them, without lambda_i; with causal weights, of the causal loss. They follow the errors, and so are not kernel weights:
    norm(grad L_i)^2 = 4 e_i^T K_ii e_i / n_i^2, where `NTK` takes the trace of K_ii / n_i.

    every: steps between updates; the first is before step 1
    momentum: weight of the old value in the moving average, in [0, 1)

    Weights change in training steps only, never in evaluation, and a checkpoint holds them.
    """

    measures = "gradient norms"

    def __init__(self, every: int = 100, momentum: float = 0.9):
        check_update(every, momentum)
        self.every, self.momentum = every, momentum
        self._warned: set[str] = set()

    def start(self, problem: Problem) -> dict[str, float]:
        """Placeholder ones; the first update, before the first step, replaces them."""
        self._warned.clear()  # every training is told
        return dict.fromkeys(problem.names, 1.0)

    def rule(self, norms: Mapping[str, float]) -> dict[str, float]:
        """Weights from norm(grad L_i), without momentum."""
        return balance(norms, self._warned, "has no gradient (its error is zero, as under a hard constraint)", _ROUNDING)

    def update(
        self, weights: Mapping[str, float] | None, norms: Mapping[str, float], counts: Mapping[str, int]
    ) -> dict[str, float]:
        """The next weights; `weights` None before the first update."""
        return moving_average(weights, self.rule(norms), self.momentum)

    def describe(self) -> dict[str, Any]:
        return {"name": "gradient-norm", "every": self.every, "momentum": self.momentum}
