"""Residual-based attention: weights of points that remember where errors were large (Anagnostopoulos et al. 2024)."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import Any

import torch
from torch import Tensor

from pinntk.problem import Points, Problem
from pinntk.weighting._point_scheme import PointScheme, named_conditions


class RBA(PointScheme):
    """A weight l_ip for every training point p of the residual conditions, by its errors so far.

    Anagnostopoulos, Toscano, Stergiopulos & Karniadakis 2024, CMAME 421:116805, arXiv 2307.00379. In every step, before its
    gradient,

        l_ip <- gamma l_ip + eta |e_ip| / max_q |e_iq|,    L_i = 1/n_i sum_p (l_ip e_ip)^2

    so that the point weights are l_ip^2, `Run.point_weights`, constants to the gradient. They follow the errors of about the
    last 1 / (1 - gamma) steps, and are at most (eta / (1 - gamma))^2 once `initial` is forgotten.

    eta: of the newest errors, above 0
    gamma: of what is remembered, in [0, 1)
    initial: l before the first step, at least 0
    conditions: names or kinds of the conditions whose points are weighed; the others keep mean(e_i^2)

    By default l is at most 1, so that the other conditions count as the worst points do. The authors' own settings for
    Allen-Cahn, eta = 0.01, for which l is at most 10, and a factor of 100 on the initial condition, are 100 times that loss.
    Their code begins with 0 or close to it, so that the weighed conditions count for little until 1 / (1 - gamma) steps are
    done; `initial` = 0 is that, but not beside loss weights that are measured, which it would leave nothing to measure.

    Weights belong to points, which therefore stay: `resample` is refused, and so are causal weights beside them, solvers, and
    traces of `NTK` on points of its own. A checkpoint holds them. They cost a forward pass without gradient before each step,
    about a third of an eager one. The log's loss/NAME stays the plain mean(e_i^2); its "loss" is what is minimized, and
    mean_point_weight/NAME and max_point_weight/NAME are those of l^2. Loss weights of conditions go beside them:
    weighting=["ntk", "rba"].

    >>> RBA(eta=0.1, gamma=0.5).rule(torch.tensor([0.0, 0.2]), torch.tensor([3.0, 1.5]))
    tensor([0.1000, 0.1500])
    """

    def __init__(
        self, eta: float = 1e-3, gamma: float = 0.999, initial: float = 1.0, conditions: str | Sequence[str] = ("residual",)
    ):
        self.eta, self.gamma, self.initial = _checked(eta, gamma, initial)
        self.conditions = (conditions,) if isinstance(conditions, str) else tuple(conditions)

    @property
    def from_nothing(self) -> bool:
        """Whether points begin with no weight at all."""
        return self.initial == 0

    @property
    def bound(self) -> float:
        """What l comes to at a point whose error is always the largest: eta / (1 - gamma)."""
        return self.eta / (1 - self.gamma)

    def names(self, problem: Problem) -> list[str]:
        """The conditions whose points it weighs. Raises ValueError where there are none."""
        return attended(problem, self.conditions)

    def first(self, problem: Problem, points: Points) -> dict[str, Tensor]:
        """l before the first step, {condition: (n,)} in float64."""
        rows = {name: points[name] for name in self.names(problem) if name in points}
        return {
            name: torch.full((len(own),), self.initial, dtype=torch.float64, device=own.device) for name, own in rows.items()
        }

    def rule(self, weights: Tensor, errors: Tensor, step: int = 1) -> Tensor:
        """The next l (n,) from this one and the errors e (n,) of all points of a condition, in any step."""
        return self.gamma * weights + self.eta * relative_sizes(errors)

    def apply_mask(self, weights: Tensor) -> Tensor:
        """The point weights l^2."""
        return weights.square()

    def describe(self) -> dict[str, Any]:
        return {
            "name": "rba",
            "eta": self.eta,
            "gamma": self.gamma,
            "initial": self.initial,
            "conditions": list(self.conditions),
        }


def attended(problem: Problem, conditions: Sequence[str]) -> list[str]:
    """The conditions whose points are weighed. Raises ValueError where there are none."""
    if not (found := named_conditions(problem, "conditions", conditions)):
        raise ValueError(f"conditions={list(conditions)}: {problem.name} has none of them; it has {problem.names}")
    return found


def relative_sizes(errors: Tensor) -> Tensor:
    """|e| over the largest, (n,); zeros where all are zero."""
    sizes = errors.abs()
    largest = sizes.max()
    return sizes / torch.where(largest > 0, largest, 1.0)


def _checked(eta: float, gamma: float, initial: float) -> tuple[float, float, float]:
    """Raises ValueError for settings that residual-based attention cannot have."""
    if not isinstance(eta, (int, float)) or not (isfinite(eta) and eta > 0):
        raise ValueError(f"eta={eta!r}: a finite number above 0")
    if not isinstance(gamma, (int, float)) or not 0 <= gamma < 1:
        raise ValueError(f"gamma={gamma!r}: at least 0 and below 1")
    if not isinstance(initial, (int, float)) or not (isfinite(initial) and initial >= 0):
        raise ValueError(f"initial={initial!r}: a finite number of at least 0")
    return float(eta), float(gamma), float(initial)
