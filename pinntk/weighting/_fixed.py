"""Loss weights that stay as they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pinntk._util.likeness import did_you_mean
from pinntk.problem import KINDS, Problem
from pinntk.weighting._weighting import Weighting


class Fixed(Weighting):
    """Constant weights lambda_i, by condition name or by kind, name first; 1 where none is given.

    >>> Fixed(boundary=100).weights
    {'boundary': 100.0}
    """

    def __init__(self, **weights: float):
        for name, weight in weights.items():
            if not isinstance(weight, (int, float)) or not 0 <= weight < float("inf"):
                raise ValueError(f"weight {name}={weight!r}: a finite number of at least 0")
        self.weights = {name: float(weight) for name, weight in weights.items()}

    def start(self, problem: Problem) -> dict[str, float]:
        """Weights before the first step. Raises ValueError for a name that the problem does not have."""
        for name in self.weights:
            if name not in problem.names and name not in KINDS:
                known = f"{problem.name} has conditions {problem.names} and kinds {KINDS}"
                raise ValueError(f"weight for {name!r}: {known}{did_you_mean(name, [*problem.names, *KINDS])}")
        return {c.name: self.weights.get(c.name, self.weights.get(c.kind, 1.0)) for c in problem.conditions}

    def update(
        self, weights: Mapping[str, float] | None, measured: Mapping[str, float], counts: Mapping[str, int]
    ) -> dict[str, float]:
        """They stay as they are."""
        return dict(weights or {})

    def describe(self) -> dict[str, Any]:
        return {"name": "fixed", **self.weights}
