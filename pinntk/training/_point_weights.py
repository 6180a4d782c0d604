"""Point weights g of a training in progress: what they are; causal ones, with their ladder of epsilon; self-adaptive ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from pinntk._util import distributed
from pinntk.problem import Points, Problem
from pinntk.training._error_values import ErrorValues
from pinntk.training._losses import weighted_sum
from pinntk.weighting import Causal, SelfAdaptive


class PointWeights(Protocol):
    """Weights g_p of points that a step computes anew from its errors."""

    names: list[str]  # of the conditions that it weighs, as far as they have points
    plain_losses: dict[str, Tensor]  # their mean(e_i^2), as last measured

    def set_points(self, points: Points, share: Points) -> None:
        """Takes other training points: all of them, and those of this process. Raises ValueError if they do not fit."""

    def compute(self, dtype: torch.dtype) -> dict[str, Tensor]:
        """g of this process's points, for the parameters as they are."""

    def advance(self) -> None:
        """Once per step, after `compute`."""

    def at(self, points: Points, share: Points) -> dict[str, Tensor]:
        """g, as last computed, at the points of a kernel, in float64."""

    def columns(self) -> dict[str, float]:
        """For the log."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...


def weight_columns(weights: Points) -> dict[str, float]:
    """For the log: the mean and the largest weight of each condition."""
    found: dict[str, float] = {}
    for name, g in weights.items():
        found |= {f"mean_point_weight/{name}": float(g.mean()), f"max_point_weight/{name}": float(g.max())}
    return found


@dataclass(frozen=True)
class _Slices:
    """Where points lie in time.

    of: {condition: (n,)}, the slice of each of this process's points
    sizes: {condition: (M,)}, the points in each slice, over all processes, in float64
    """

    of: dict[str, Tensor]
    sizes: dict[str, Tensor]


class CausalWeights:
    """`Causal`, from the errors of a network. Raises ValueError for a problem without time."""

    def __init__(self, causal: Causal, errors: ErrorValues, problem: Problem, points: Points, share: Points):
        self.causal, self._errors, self.problem = causal, errors, problem
        self.names = causal.names(problem)
        self.rung = 0
        self.plain_losses: dict[str, Tensor] = {}
        self._columns: dict[str, float] = {}
        self.set_points(points, share)
        device = next(iter(points.values())).device
        self._weights = torch.ones(causal.slices, dtype=torch.float64, device=device)  # w (M,)

    def _slices_of(self, points: Points, share: Points) -> _Slices:
        of = {name: self.causal.slice_of(self.problem, share[name]) for name in self.names if name in share}
        sizes = {}
        for name in self.names:
            if name in points:
                places = self.causal.slice_of(self.problem, points[name])
                sizes[name] = torch.bincount(places, minlength=self.causal.slices).double()
        return _Slices(of, sizes)

    def set_points(self, points: Points, share: Points) -> None:
        """Raises ValueError for a condition with fewer points than slices."""
        for name in self.names:
            if name in points and len(points[name]) < self.causal.slices:
                raise ValueError(
                    f"{name!r} has {len(points[name])} points for {self.causal.slices} causal time slices; "
                    f"give more points, or Causal(slices={max(2, len(points[name]) // 10)})"
                )
        self._share, self._slices = share, self._slices_of(points, share)

    def compute(self, dtype: torch.dtype) -> dict[str, Tensor]:
        """g_p = w_k n / (M n_k), by a forward pass without gradient."""
        slices = self._slices
        own = {name: self._share[name] for name in slices.of}
        errors = self._errors(own) if own else {}
        weights = []
        for name, sizes in slices.sizes.items():
            sums = torch.zeros_like(sizes)
            if name in errors:
                sums.index_add_(0, slices.of[name], errors[name].double().square())
            sums = distributed.all_sum(sums)
            self.plain_losses[name] = sums.sum() / sizes.sum()
            weights.append(self.causal.rule(sums / sizes.clamp(min=1), self.rung))
        self._weights = torch.stack(weights).amin(0)
        self._columns = {"causal": float(self._weights.min()), "epsilon": self.causal.ladder[self.rung]}
        return self._at_slices(slices, dtype)

    def advance(self) -> None:
        """Climbs the ladder."""
        self.rung = self.causal.next_rung(self._weights, self.rung)

    def at(self, points: Points, share: Points) -> dict[str, Tensor]:
        return self._at_slices(self._slices_of(points, share), torch.float64)

    def _at_slices(self, slices: _Slices, dtype: torch.dtype) -> dict[str, Tensor]:
        by_slice = {
            name: self._weights * sizes.sum() / (self.causal.slices * sizes.clamp(min=1))
            for name, sizes in slices.sizes.items()
        }
        return {name: by_slice[name][of].to(dtype) for name, of in slices.of.items()}

    def columns(self) -> dict[str, float]:
        """The smallest w_k, and epsilon."""
        return dict(self._columns)

    def state_dict(self) -> dict[str, Any]:
        return {"rung": self.rung}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.rung = state["rung"]


class SelfAdaptiveWeights:
    """`SelfAdaptive`, from the errors of a network. Every process has the weights of all points, and evaluates its share."""

    def __init__(self, scheme: SelfAdaptive, errors: ErrorValues, problem: Problem, points: Points, seed: int):
        self.scheme, self._errors = scheme, errors
        self.plain_losses: dict[str, Tensor] = {}
        self._squares: dict[str, Tensor] = {}  # e^2 as last measured, in float64
        self._columns: dict[str, float] = {}
        self._begin(scheme.first(problem, points, seed))
        self.names = list(self._lambda)
        self.set_points(points, points)

    def _begin(self, weights: Mapping[str, Tensor]) -> None:
        self._lambda = {name: values.requires_grad_() for name, values in weights.items()}
        self._optimizer = self.scheme.ascent(list(self._lambda.values()))

    def set_points(self, points: Points, share: Points) -> None:
        self._points = {name: points[name] for name in self._lambda}

    def compute(self, dtype: torch.dtype) -> dict[str, Tensor]:
        """m(lambda), and e^2 for the ascent, by a forward pass without gradient."""
        found = self._errors.everywhere(self._points)
        self._squares = {name: e.square() for name, e in found.items()}
        self.plain_losses = {name: squares.mean() for name, squares in self._squares.items()}
        weights = self._masked()
        self._columns = weight_columns(weights)
        return {name: g.to(dtype) for name, g in distributed.own_rows(weights).items()}

    def advance(self) -> None:
        """A step up in lambda, from the same parameters as the step down in theta."""
        self._optimizer.zero_grad()
        means = {name: (self.scheme.apply_mask(values) * self._squares[name]).mean() for name, values in self._lambda.items()}
        weighted_sum(means, dict.fromkeys(means, 1.0)).backward()
        self._optimizer.step()

    def at(self, points: Points, share: Points) -> dict[str, Tensor]:
        # The kernel's points are the training points: no loss weights have points of their own here.
        return distributed.own_rows(self._masked())

    def _masked(self) -> dict[str, Tensor]:
        return {name: self.scheme.apply_mask(values.detach()) for name, values in self._lambda.items()}

    def columns(self) -> dict[str, float]:
        """Mean and largest m(lambda) by condition."""
        return dict(self._columns)

    def state_dict(self) -> dict[str, Any]:
        weights = {name: values.detach().clone() for name, values in self._lambda.items()}
        return {"lambda": weights, "optimizer": self._optimizer.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._begin({name: values.to(self._lambda[name].device) for name, values in state["lambda"].items()})
        self._optimizer.load_state_dict(state["optimizer"])
