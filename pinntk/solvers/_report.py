"""What a solver reports of one step."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class StepReport:
    """One step on one set of points.

    loss_before, loss: sum_i lambda_i mean(e_i^2) on these points, before and after; the same if the step was refused
    losses: mean(e_i^2) of each condition, without weights, before the step
    step_length: norm of the change of all parameters together
    damping: mu, as it was added to the diagonal of the matrix that was solved
    accepted: whether the parameters changed
    note: why a step was refused
    """

    loss_before: float
    loss: float
    losses: dict[str, float]
    step_length: float
    damping: float
    accepted: bool
    note: str = ""
