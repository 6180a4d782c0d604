"""The loss weights of a training in progress."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pinntk.problem import Problem
from pinntk.weighting import Weighting


class LossWeights:
    """{condition: lambda_i} in `values`, kept by a `Weighting`."""

    def __init__(self, weighting: Weighting, problem: Problem):
        self.weighting = weighting
        self.values: dict[str, float] = weighting.start(problem)
        self._updates = 0

    def update(self, step: int, measure: Callable[[str], Mapping[str, float]], counts: Mapping[str, int]) -> None:
        """Before this step, where an update is due.

        measure: from "traces" or "gradient norms" to their values by condition
        """
        every = self.weighting.every
        if not every or step % every:
            return
        before = self.values if self._updates else None
        self.values = self.weighting.update(before, measure(self.weighting.measures), counts)
        self._updates += 1

    def state_dict(self) -> dict[str, Any]:
        return {"values": dict(self.values), "updates": self._updates}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.values, self._updates = dict(state["values"]), state["updates"]
