"""The loss weights of a training in progress."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor

from pinntk.problem import Problem
from pinntk.weighting import Weighting


class LossWeights:
    """{condition: lambda_i} in `values`, kept by a copy of a `Weighting`: what it remembers is of this training.

    met: conditions that the network meets by construction: the scheme does not see them, and their weights stay
    """

    def __init__(self, weighting: Weighting, problem: Problem, met: Collection[str] = ()):
        self.weighting, self._met = deepcopy(weighting), frozenset(met)
        self.values: dict[str, float] = self.weighting.start(problem)
        self._updates = 0
        self._losses: dict[str, float] = {}

    def update(self, step: int, measure: Callable[[str], Mapping[str, float]], counts: Mapping[str, int]) -> None:
        """Before this step, where an update is due.

        measure: from "traces" or "gradient norms" to their values by condition; losses are known from `see`
        """
        every, measures = self.weighting.every, self.weighting.measures
        if not every or step % every:
            return
        before = self.values if self._updates else None
        found = self._losses if measures == "losses" else measure(measures)
        measured = {name: size for name, size in found.items() if name not in self._met}
        if measured:
            self.values = {**self.values, **self.weighting.update(before, measured, counts)}
            self._updates += 1

    @property
    def sees_losses(self) -> bool:
        """Whether `see` needs all losses of every step."""
        return self.weighting.measures == "losses"

    def see(self, losses: Mapping[str, Tensor]) -> None:
        """After a step: mean(e_i^2) before it, without any weight."""
        if self.sees_losses:
            values = torch.stack([loss.double() for loss in losses.values()]).tolist()  # one wait for a device, not one each
            self._losses = dict(zip(losses, values, strict=True))

    def state_dict(self) -> dict[str, Any]:
        own = {"values": dict(self.values), "updates": self._updates, "losses": dict(self._losses)}
        return {**own, "scheme": self.weighting.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.values, self._updates, self._losses = dict(state["values"]), state["updates"], dict(state.get("losses", {}))
        self.weighting.load_state_dict(state.get("scheme", {}))
