"""Point weights of a training in progress that remember where errors were large: residual-based attention."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from pinntk._util import distributed
from pinntk.problem import Points, Problem
from pinntk.training._error_values import ErrorValues
from pinntk.training._point_weights import weight_columns
from pinntk.weighting import RBA


class AttentionWeights:
    """`RBA`, and `VRBA`, from the errors of a network. Of several processes each holds l of all points."""

    def __init__(self, scheme: RBA, errors: ErrorValues, problem: Problem, points: Points):
        self.scheme, self._errors = scheme, errors
        self.plain_losses: dict[str, Tensor] = {}
        self._lambda = self._next = scheme.first(problem, points)
        self.names = list(self._lambda)
        self._step = 0
        self._columns: dict[str, float] = {}
        self.set_points(points, points)

    def set_points(self, points: Points, share: Points) -> None:
        self._points = {name: points[name] for name in self._lambda}

    def compute(self, dtype: torch.dtype) -> dict[str, Tensor]:
        """l^2 of this step, by a forward pass without gradient."""
        for name, e in self._errors.everywhere(self._points).items():
            self.plain_losses[name] = e.square().mean()
            self._next = {**self._next, name: self.scheme.rule(self._lambda[name], e, self._step + 1)}
        weights = self._masked()
        self._columns = weight_columns(weights)
        return {name: g.to(dtype) for name, g in distributed.own_rows(weights).items()}

    def advance(self) -> None:
        """Remembers them, for the next step."""
        self._lambda, self._step = self._next, self._step + 1

    def at(self, points: Points, share: Points) -> dict[str, Tensor]:
        # The kernel's points are the training points: no loss weights have points of their own here.
        return distributed.own_rows(self._masked())

    def _masked(self) -> dict[str, Tensor]:
        return {name: self.scheme.apply_mask(weights) for name, weights in self._next.items()}

    def columns(self) -> dict[str, float]:
        """Mean and largest l^2 by condition."""
        return dict(self._columns)

    def state_dict(self) -> dict[str, Any]:
        return {"lambda": {name: weights.clone() for name, weights in self._lambda.items()}, "step": self._step}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._lambda = {name: weights.to(self._lambda[name].device) for name, weights in state["lambda"].items()}
        self._next, self._step = self._lambda, state["step"]
