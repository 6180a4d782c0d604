"""Loss weights from exact kernel traces (Wang, Yu & Perdikaris 2022, algorithm 1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pinntk.problem import Problem
from pinntk.weighting._balance import balance, check_update, moving_average
from pinntk.weighting._weighting import Weighting

OF_SOLVERS: Mapping[str, Any] = {"every": 25, "momentum": 0.0}  # whose steps are large, so that an average would lag


class NTK(Weighting):
    """Weights that give every condition the same sum of convergence rates, from the traces of its kernel block.

    For equal n_i it is the same mean rate, which is the paper's aim.

    normalization:
        "mean": lambda_i = sum_j Tr K~_jj / Tr K~_ii with K~_ii = K_ii / n_i, the kernel of the loss mean(e_i^2) that is
            minimized; unchanged when a condition gets more points
        "sum": lambda_i = sum_j Tr K_jj / Tr K_ii, algorithm 1 to the letter; the same for equal n_i
    every: steps between updates; the first is before step 1
    momentum: weight of the old value in a moving average, in [0, 1). Without one, as in the paper, a weight may leap a
        thousandfold at the second update, and Adam's second moments take a thousand steps to forget that
    points: counts by kind or name for kernel points of their own, as in {"residual": 200}; the training points if None
    groups: names of conditions that share one weight, as in [("start", "walls")]: their traces and points are summed

    Weights change in training steps only, never in evaluation, and a checkpoint holds them.

    >>> NTK().rule({"ends": 20.0, "poisson": 3000.0}, counts={"ends": 2, "poisson": 10})
    {'ends': 31.0, 'poisson': 1.0333333333333334}
    """

    def __init__(
        self,
        every: int = 100,
        momentum: float = 0.9,
        normalization: str = "mean",
        points: Mapping[str, int] | None = None,
        groups: Sequence[Sequence[str]] = (),
    ):
        check_update(every, momentum)
        if normalization not in ("mean", "sum"):
            raise ValueError(f"normalization={normalization!r}: use 'mean' or 'sum'")
        self.every, self.momentum, self.normalization = every, momentum, normalization
        self.points = None if points is None else dict(points)
        self.groups = tuple(tuple(group) for group in groups)
        self._warned: set[tuple[str, ...]] = set()  # whose kernel is zero; each is warned of once

    def start(self, problem: Problem) -> dict[str, float]:
        """Placeholder ones; the first update, before the first step, replaces them."""
        grouped = [name for group in self.groups for name in group]
        for name in grouped:
            if name not in problem.names or grouped.count(name) > 1:
                raise ValueError(f"groups: {name!r} must be one of {problem.names}, in one group only")
        self._warned.clear()  # every training is told
        return dict.fromkeys(problem.names, 1.0)

    def rule(self, traces: Mapping[str, float], counts: Mapping[str, int]) -> dict[str, float]:
        """Weights from traces Tr K_ii and numbers of points n_i, without momentum. Conditions may be left out.

        A trace of 0 leaves the weight at 1. One that is rounding, of a condition that the network meets by construction, is not
        known from a small one: trainings and solvers put a 0 there, and so should you.
        """
        grouped = {name: group for group in self.groups for name in group}
        groups = dict.fromkeys(grouped.get(name, (name,)) for name in traces)
        size = {}
        for group in groups:
            known = [name for name in group if name in traces]
            n = sum(counts[name] for name in known) if self.normalization == "mean" else 1
            size[group] = sum(traces[name] for name in known) / n
        weights = balance(
            size,
            self._warned,
            "does not depend on the parameters (its kernel is zero), as under a hard constraint, or u_xx of a relu network",
        )
        return {name: weights[grouped.get(name, (name,))] for name in traces}

    def update(
        self, weights: Mapping[str, float] | None, traces: Mapping[str, float], counts: Mapping[str, int]
    ) -> dict[str, float]:
        """The next weights; `weights` None before the first update."""
        return moving_average(weights, self.rule(traces, counts), self.momentum)

    def describe(self) -> dict[str, Any]:
        return {
            "name": "ntk",
            "every": self.every,
            "momentum": self.momentum,
            "normalization": self.normalization,
            "points": self.points,
            "groups": [list(group) for group in self.groups],
        }
