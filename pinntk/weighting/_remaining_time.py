"""Weights that fall over time, by the time that is left for an error to stay in the solution."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import Any

from torch import Tensor

from pinntk.geometry import Faces, PeriodicPair
from pinntk.problem import Points, Problem
from pinntk.problem._integral import Integral
from pinntk.problem._time import time_axis
from pinntk.weighting._point_scheme import PlaceScheme, named_conditions

_MOST = 100.0  # of power and beyond: with more, powers of what is left overflow


class RemainingTime(PlaceScheme):
    """A weight g(t) for every point of the residual conditions, by the time that is left after it until the last, T:

        g(t) = c ((T - t) / (T - t_0) + beyond)^power,    L_i = 1/n_i sum_p g(t_p) e_ip^2

    with c such that the mean of g over [t_0, T] is 1.

    A residual r(s) leaves the error S(t, s) r(s) in the solution at all later times t. If it stays as large as it was left
    (waves, transport and dispersion; S(t, s) keeps the L2 norm), and residuals of different times have nothing to do with each
    other, the square of the error over all times is the integral of (T - s) r(s)^2 over s: power 1. If it grows in proportion
    to time, as that of a wave at a wrong speed does, S(t, s) is of size t - s, and the weight is the integral of
    (t - s)^2 over t, (T - s)^3 / 3: power 3. If it decays, as in diffusion, all times but the last count alike: leave the
    scheme out. Turinici 2024, arXiv 2404.18780, and 2025, arXiv 2407.21642, have weights for errors that grow exponentially.

    power: above 0; 3 is the better on seven of the ten evolutions on which it was chosen (docs/COMPARISONS.md)
    beyond: time after T, over T - t_0, in which errors are to stay, too: so that residuals at T keep some weight; at least 0
    conditions: names or kinds of the conditions whose points are weighed; the others keep mean(e_i^2). Of a kind, those that
        hold at single times only, or over all of time at once, are left out

    The weights follow from where points are: they may be drawn afresh, by `resample` and `adaptive`; solvers take them, and
    causal weights multiply them. They cost a pass over the points for each row of the log, whose loss/NAME stays the plain
    mean(e_i^2), while its "loss" and, without causal weights, weighed_loss/NAME are what is minimized; beside loss weights that
    compare losses, in every step. Loss weights are 1, also of a solver, unless given beside them: ["ntk", "remaining-time"]. In
    a time slab, T is still the end of all slabs, in which its errors go on; c is of the slab.

    >>> import torch, pinntk
    >>> rows = torch.tensor([[0.0, 0.3], [0.5, 0.3], [1.0, 0.3]])
    >>> RemainingTime(power=1.0, beyond=0.0).at(pinntk.load("kdv"), {"kdv": rows})["kdv"]
    tensor([2., 1., 0.], dtype=torch.float64)
    """

    def __init__(self, power: float = 3.0, beyond: float = 0.1, conditions: str | Sequence[str] = ("residual",)):
        if not isinstance(power, (int, float)) or not (isfinite(power) and 0 < power <= _MOST):
            raise ValueError(f"power={power!r}: a number above 0, at most {_MOST:g}")
        if not isinstance(beyond, (int, float)) or not (isfinite(beyond) and 0 <= beyond <= _MOST):
            raise ValueError(f"beyond={beyond!r}: a part of the time interval, from 0 to {_MOST:g}")
        self.power, self.beyond = float(power), float(beyond)
        self.conditions = (conditions,) if isinstance(conditions, str) else tuple(conditions)

    def names(self, problem: Problem) -> list[str]:
        """The conditions whose points it weighs. Raises ValueError where there are none, or no time."""
        axis, _ = time_axis(problem)
        if axis is None:
            raise ValueError(
                f"remaining-time weights need a coordinate 't', or a condition at the start of one; {problem.name} has "
                f"coordinates {problem.coordinates}: leave them out"
            )
        named = named_conditions(problem, "conditions", self.conditions)
        found = [name for name in named if _in_time(problem, name, axis)]
        if timeless := [name for name in named if name in self.conditions and name not in found]:
            raise ValueError(
                f"conditions={list(self.conditions)}: {timeless[0]!r} holds at single times, or over all of time at once; "
                "leave it out"
            )
        if not found:
            raise ValueError(
                f"conditions={list(self.conditions)}: {problem.name} has none of them that holds throughout time; it has "
                f"{problem.names}"
            )
        return found

    def at(self, problem: Problem, points: Points) -> dict[str, Tensor]:
        """g of {condition: (n, d)}, {condition: (n,)} in float64; without the conditions that it does not weigh."""
        names = self.names(problem)
        return {name: self._at(problem, rows) for name, rows in points.items() if name in names}

    def _at(self, problem: Problem, rows: Tensor) -> Tensor:
        axis, backward = time_axis(problem)
        assert axis is not None
        start, end = problem.domain.bounds[axis][:: -1 if backward else 1]
        edges = problem.slab["edges"] if problem.slab else (start, end)
        whole = edges[-1] - edges[0]
        first, last = (edges[-1] - start) / whole, (edges[-1] - end) / whole  # what is left where it begins, and where it ends
        left = ((edges[-1] - rows[:, axis].double()) / whole).clamp(last, first)
        n = self.power + 1
        mean = ((first + self.beyond) ** n - (last + self.beyond) ** n) / (n * (first - last))
        return (left + self.beyond) ** self.power / mean

    def describe(self) -> dict[str, Any]:
        return {"name": "remaining-time", "power": self.power, "beyond": self.beyond, "conditions": list(self.conditions)}


def _in_time(problem: Problem, name: str, axis: int) -> bool:
    """Whether a condition holds throughout an interval of time, each point of it at its own time."""
    region: Any = problem[name].region
    if isinstance(region, Faces):
        return not any(axis in dict(piece) for piece in region.pieces)
    if isinstance(region, PeriodicPair):
        return region.axis != axis
    return not isinstance(region, Integral) or axis in region.kept
