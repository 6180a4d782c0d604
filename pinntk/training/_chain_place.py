"""Where in a chain of optimizers a training stands."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pinntk.problem import Problem
from pinntk.training._config import TrainConfig


class ChainPlace:
    """The part of a chain that takes the next step; of any other optimizer its only one.

    begin: is given the number of a part, before its first step and when a checkpoint in it is read
    """

    def __init__(self, parts: Sequence[TrainConfig], begin: Callable[[int], None]):
        self._parts, self._begin = parts, begin
        self.part = 0
        self.began = 0  # the step at which it did
        self._ended: list[str] = []  # what is to be said of parts that ended before their last step

    @property
    def config(self) -> TrainConfig:
        """The settings of this part."""
        return self._parts[self.part]

    def reason_to_stop(self, step: int, reason: str) -> str:
        """Why the chain is at its end before the step that is to come; "" where it goes on, perhaps with its next part.

        reason: why a further step of this part does not help, or ""
        """
        done = step - self.began
        if not reason and done < self.config.steps:
            return ""
        own = [] if not reason else [reason]
        if len(self._parts) > 1 and reason:
            own = [f"{self.config.optimizer} ended after {done} of {self.config.steps} steps: {reason}"]
        if self.part + 1 == len(self._parts):
            return "; ".join([*self._ended, *own])
        self._ended += own
        self.part, self.began = self.part + 1, step
        self._begin(self.part)
        return ""

    def columns(self) -> dict[str, float]:
        """For the log: the number of the part, from 1."""
        return {"part": self.part + 1} if len(self._parts) > 1 else {}

    def state_dict(self) -> dict[str, Any]:
        return {"part": self.part, "began": self.began, "ended": list(self._ended)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.part, self.began, self._ended = state["part"], state["began"], list(state["ended"])
        if self.part:
            self._begin(self.part)


def same_points(a: TrainConfig, b: TrainConfig, problem: Problem) -> bool:
    """Whether points of the one are those of the other, so that they may stay."""
    kinds = ("fixed_points", "sampling", "resample", "rad", "r3", "solver")
    return all(getattr(a, name) == getattr(b, name) for name in kinds) and (
        a.fixed_points or a.counts(problem) == b.counts(problem)
    )
