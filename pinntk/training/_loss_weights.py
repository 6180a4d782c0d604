"""The loss weights of a training in progress."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from pinntk.problem import Problem
from pinntk.weighting import Weighting


class LossWeights:
    """{condition: lambda_i} in `values`, kept by a `Weighting`.

    met: conditions that the network meets by construction: the scheme does not see them, and their weights stay
    """

    def __init__(self, weighting: Weighting, problem: Problem, met: Collection[str] = ()):
        self.weighting, self._met = weighting, frozenset(met)
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
        measured = {name: size for name, size in measure(self.weighting.measures).items() if name not in self._met}
        if measured:
            self.values = {**self.values, **self.weighting.update(before, measured, counts)}
        self._updates += 1

    def state_dict(self) -> dict[str, Any]:
        return {"values": dict(self.values), "updates": self._updates}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.values, self._updates = dict(state["values"]), state["updates"]
