"""The causal weights of a training in progress: point weights of every step, and where the ladder of epsilon stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pinntk import distributed
from pinntk.problem import Points, Problem
from pinntk.step import error_values
from pinntk.weighting import Causal


@dataclass(frozen=True)
class Slices:
    """Where points lie in time.

    of: {condition: (n,)}, the slice of each of this process's points
    sizes: {condition: (M,)}, the points in each slice, over all processes, in float64
    """

    of: dict[str, Tensor]
    sizes: dict[str, Tensor]


class Causality:
    """`Causal` at work on a network and a problem. Raises ValueError for a problem without time."""

    def __init__(self, causal: Causal, network: nn.Module, problem: Problem):
        self.causal, self.network, self.problem = causal, network, problem
        self.names = causal.names(problem)
        self.rung = 0
        self.plain: dict[str, Tensor] = {}  # mean(e_i^2) of the conditions that it weighs
        self._weights: Tensor | None = None  # w (M,), in float64
        self._described: dict[str, float] = {}

    def sliced(self, points: Points, share: Points) -> Slices:
        """points: all of them; share: those of this process."""
        of = {name: self.causal.slice_of(self.problem, share[name]) for name in self.names if name in share}
        sizes = {}
        for name in self.names:
            if name in points:
                places = self.causal.slice_of(self.problem, points[name])
                sizes[name] = torch.bincount(places, minlength=self.causal.slices).double()
        return Slices(of, sizes)

    def check(self, points: Points) -> None:
        """Raises ValueError for a condition with fewer points than slices."""
        for name in self.names:
            if name in points and len(points[name]) < self.causal.slices:
                raise ValueError(
                    f"{name!r} has {len(points[name])} points for {self.causal.slices} causal time slices; "
                    f"give more points, or Causal(slices={max(2, len(points[name]) // 10)})"
                )

    def measure(self, slices: Slices, share: Points) -> None:
        """w of the parameters as they are, by a forward pass without gradient."""
        errors = error_values(self.network, self.problem, {name: share[name] for name in slices.of})
        weights = []
        for name, sizes in slices.sizes.items():
            sums = torch.zeros_like(sizes)
            if name in errors:
                sums.index_add_(0, slices.of[name], errors[name].double().square())
            sums = distributed.all_sum(sums)
            self.plain[name] = sums.sum() / sizes.sum()
            weights.append(self.causal.rule(sums / sizes.clamp(min=1), self.rung))
        self._weights = torch.stack(weights).amin(0)
        self._described = {"causal": float(self._weights.min()), "epsilon": self.causal.ladder[self.rung]}

    def climb(self) -> None:
        self.rung = self.causal.climbed(self._weights, self.rung)

    def on(self, slices: Slices, like: Tensor) -> dict[str, Tensor]:
        """The point weights g_p = w_k n / (M n_k), in the dtype of `like`."""
        by_slice = {
            name: self._weights * sizes.sum() / (self.causal.slices * sizes.clamp(min=1))
            for name, sizes in slices.sizes.items()
        }
        return {name: by_slice[name][of].to(like.dtype) for name, of in slices.of.items()}

    def described(self) -> dict[str, float]:
        """What the log says: the smallest w_k, and epsilon."""
        return dict(self._described)

    def state_dict(self) -> dict[str, Any]:
        return {"rung": self.rung}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.rung = state["rung"]
