"""What a diagnosis says: a finding, its evidence, and the change of the run that it prescribes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

SEVERITIES = ("critical", "warning", "note")  # in order; a note needs no change


@dataclass(frozen=True)
class Prescription:
    """A concrete change of a run's configuration.

    sentence: what to change and why, for a person
    changes: new values by their key in config.json, dots between levels: {"weighting": {"name": "ntk", "every": 100}},
        {"training.lr": 1e-3}, {"network.arguments.fourier": [64, 2.0]}; empty where a person must act (a wrong sign)
    """

    sentence: str
    changes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False, kw_only=True)
class Finding:
    """One thing that is wrong with a run.

    code: its short name, a key of the table of thresholds ("imbalance", "spectral-bias", ...)
    severity: "critical", "warning" or "note"
    sentence: what is wrong, in words that a user understands, with the number that shows it
    evidence: the numbers behind it, by keys of `diagnostics.EVIDENCE`
    arrays: what its figure shows, by name
    confidence: 0 to 1
    prescriptions: what to change, the best first; may be empty
    """

    code: str
    severity: str
    sentence: str
    evidence: Mapping[str, float] = field(default_factory=dict)
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    confidence: float = 1.0
    prescriptions: tuple[Prescription, ...] = ()

    def __post_init__(self) -> None:
        if self.severity not in SEVERITIES:
            raise ValueError(f"severity={self.severity!r}: one of {', '.join(SEVERITIES)}")
        if not 0 <= self.confidence <= 1:
            raise ValueError(f"confidence={self.confidence!r}: from 0 to 1")

    def as_json(self) -> dict[str, Any]:
        """All but the arrays, ready for `json.dumps`."""
        return {
            "code": self.code,
            "severity": self.severity,
            "sentence": self.sentence,
            "confidence": float(self.confidence),
            "evidence": {name: float(value) for name, value in self.evidence.items()},
            "prescriptions": [asdict(prescription) for prescription in self.prescriptions],
        }

    def __str__(self) -> str:
        return f"{self.severity}: {self.sentence}"


@dataclass(frozen=True)
class Unjudged:
    """A rule that had nothing to go by.

    code: of the finding that it might have made
    reason: what it lacks, in words
    remedy: how to give it
    """

    code: str
    reason: str
    remedy: str


class Diagnosis(list[Finding]):
    """The findings, and what could not be judged.

    unjudged: the rules that lacked something which they go by; empty where nothing is wrong

    >>> Diagnosis([], [Unjudged("causality", "nothing is known of the training", "record it")]).unjudged[0].code
    'causality'
    """

    def __init__(self, findings: Iterable[Finding] = (), unjudged: Iterable[Unjudged] = ()):
        super().__init__(findings)
        self.unjudged = tuple(unjudged)
