"""What schemes share that weigh points: loss weights of 1, and the conditions whose points they weigh."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from pinntk._util.likeness import did_you_mean
from pinntk.problem import KINDS, Points, Problem
from pinntk.weighting._weighting import Weighting


class PointScheme(Weighting):
    """Weights of points; the loss weights are 1. Those that remember belong to their points, which therefore stay."""

    acts_on = "points"

    @property
    def from_nothing(self) -> bool:
        """Whether points begin with no weight at all, of which nothing can be measured."""
        return False

    def names(self, problem: Problem) -> list[str]:
        """The conditions whose points it weighs. Raises ValueError where there are none of that name."""
        raise NotImplementedError

    def start(self, problem: Problem) -> dict[str, float]:
        """The loss weights lambda_i, all 1."""
        self.names(problem)
        return dict.fromkeys(problem.names, 1.0)

    def update(
        self, weights: Mapping[str, float] | None, measured: Mapping[str, float], counts: Mapping[str, int]
    ) -> dict[str, float]:
        """They stay as they are."""
        return dict(weights or {})


class PlaceScheme(PointScheme):
    """Weights that follow from where points are, which need not stay."""

    def at(self, problem: Problem, points: Points) -> dict[str, Tensor]:
        """g of {condition: (n, d)}, {condition: (n,)} in float64; without the conditions that it does not weigh."""
        raise NotImplementedError


def keeps_points(scheme: Weighting | type[Weighting] | None) -> bool:
    """Whether a scheme, or its class, has weights that belong to points, which then stay."""
    if scheme is None or scheme.acts_on != "points":
        return False
    return not issubclass(scheme if isinstance(scheme, type) else type(scheme), PlaceScheme)


def named_conditions(problem: Problem, setting: str, given: Sequence[str]) -> list[str]:
    """The conditions whose name or kind is given, in the problem's order. Raises ValueError for what no condition is."""
    for name in given:
        if name not in problem.names and name not in KINDS:
            known = f"{problem.name} has conditions {problem.names} and kinds {KINDS}"
            raise ValueError(f"{setting} {name!r}: {known}{did_you_mean(name, [*problem.names, *KINDS])}")
    return [c.name for c in problem.conditions if c.name in given or c.kind in given]
