"""What a solver says of one step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class StepReport:
    """loss_before, loss: the weighted loss sum_i lambda_i mean(e_i^2) on the step's points, before and after
    losses: mean(e_i^2) of each condition before the step
    step_length: norm of the change of the parameters
    damping: mu of the step taken
    accepted: False if the parameters stay as they were; `note` says why
    """

    loss_before: float
    loss: float
    losses: Mapping[str, float]
    step_length: float
    damping: float
    accepted: bool
    note: str = ""
