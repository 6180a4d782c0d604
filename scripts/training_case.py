"""What a training case is, failing or healthy, and the settings that several share.

Each trains for 2 to 20 seconds on one core and carries one cause, from the literature or from users' reports. `prescription` is
what a person who knows the cause would change; a diagnosis must find its own and never reads it.
Thresholds may be set on the "tuning" cases only; "held-out" ones were for the verdict, until they were looked at; then came
those of fresh_cases.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pinntk

FOLDER = Path(__file__).resolve().parent / "failing_problems"
NTK = {"name": "ntk", "every": 100, "momentum": 0.0}  # with which the cases were measured
NTK_OF_SOLVERS = {"name": "ntk", "every": 25, "momentum": 0.0}


@dataclass(frozen=True)
class Case:
    """A training that goes wrong for one known reason, or a healthy one.

    name: its short name
    cause: the code of its finding ("imbalance", ...); "" if healthy
    problem, parameters: what `pinntk.load` takes; a name with ".py" is a file of scripts/failing_problems
    network: arguments of `pinntk.nn.MLP`, dtype as text ("float64")
    training: arguments of `pinntk.train`, points as counts
    weighting: as in config.json: {"name": "ntk", "every": 100}
    crowded: {coordinate: (low, high)}: the part of the domain, in [0, 1], into which all residual points are pressed
    source: where the failure was reported
    prescription: what a person would change, as `Prescription.changes`, within as many steps; empty where no setting helps
    set: "tuning", "held-out" or "fresh"
    """

    name: str
    cause: str
    problem: str
    source: str
    set: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    network: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    weighting: Mapping[str, Any] = field(default_factory=lambda: {"name": "fixed"})
    crowded: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    prescription: Mapping[str, Any] = field(default_factory=dict)

    @property
    def healthy(self) -> bool:
        return not self.cause

    def load(self) -> pinntk.Problem:
        """The problem, built afresh."""
        return pinntk.load(FOLDER / self.problem if self.problem.endswith(".py") else self.problem, **self.parameters)


SMALL = {"width": 32, "depth": 2}  # what the networks are that do not fail themselves
LINE = {"poisson": 100, "ends": 2}
SQUARE = {"poisson": 300, "walls": 80}
ROD = {"heat": 300, "start": 60, "walls": 60}
CONVECTION = {"convection": 300, "start": 60, "wrap": 60}
