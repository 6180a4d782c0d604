"""What a solver is, and what it reports of one step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import nan
from typing import Any, Protocol

from pinntk.problem import Points


@dataclass(frozen=True)
class StepReport:
    """One step on one set of points.

    loss_before, loss: sum_i lambda_i mean(e_i^2) on these points, before and after; the same if the step was refused
    losses: mean(e_i^2) of each condition, without weights, before the step
    step_length: norm of the change of all parameters together
    damping: mu, as it was added to the diagonal of the matrix that was solved
    accepted: whether the parameters changed
    note: why a step was refused
    relative_damping: mu over the largest eigenvalue of that matrix; NaN where the solver does not know it
    """

    loss_before: float
    loss: float
    losses: dict[str, float]
    step_length: float
    damping: float
    accepted: bool
    note: str = ""
    relative_damping: float = nan


class Solver(Protocol):
    """A method on the kernel that lowers the loss sum_i lambda_i mean(g e_i^2) of a network and its problem.

    As `SOLVERS` names them: made as solver(network, problem, **options), stepped on points that may be others every time.

    weights: lambda_i by condition; None until the first step chooses them
    """

    weights: Mapping[str, float] | None

    @property
    def phase(self) -> str:
        """Of the next step: "explore", for which fresh points are best, or "converge", for the same ones."""
        ...

    @property
    def size(self) -> int:
        """p, the number of parameters."""
        ...

    def explore(self) -> None:
        """Other points, or more of them, are to come: whoever converges explores again."""
        ...

    def converge(self) -> None:
        """From now on the same points are to come; said again, others, and those from now on."""
        ...

    def step(self, points: Points, point_weights: Points | None = None) -> StepReport: ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...
