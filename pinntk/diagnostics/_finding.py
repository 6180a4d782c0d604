"""What a diagnosis says: a finding, its evidence, and the change of the run that it prescribes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from markupsafe import Markup

from pinntk._util.html import folded, page, table
from pinntk.diagnostics._evidence import label

SEVERITIES = ("critical", "warning", "note")  # in order; a note needs no change
_COLORS = {"critical": "#b42318", "warning": "#9a5b00", "note": "#1a56c4"}


@dataclass(frozen=True)
class Prescription:
    """A concrete change of a run's configuration.

    sentence: what to change and why, for a person
    changes: new values by their key in config.json, dots between levels: {"weighting": {"name": "ntk", "every": 100}},
        {"training.lr": 1e-3}, {"network.arguments.fourier": [64, 2.0]}; empty where a person must act (a wrong sign)
    """

    sentence: str
    changes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
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

    def __repr__(self) -> str:
        return f"Finding({self.code}, {self.severity}, confidence {self.confidence:.0%}: {self.sentence!r})"

    def _repr_html_(self) -> str:
        return page(*self._parts())

    def _parts(self) -> list[Markup]:
        """A title, what is wrong, what to do, and the numbers, which are folded."""
        badge = Markup('<span class="badge" style="background: {}">{}</span> {}')
        parts = [badge.format(_COLORS[self.severity], self.severity, self.code.replace("-", " "))]
        parts.append(Markup('<p>{} <span class="faint">Confidence {:.0%}.</span></p>').format(self.sentence, self.confidence))
        for word, prescription in zip(["To do", *["Or"] * len(self.prescriptions)], self.prescriptions, strict=False):
            parts.append(Markup("<p>{}: {}</p>").format(word, prescription.sentence))
            if prescription.changes:
                lines = "\n".join(f"{place} = {json.dumps(value)}" for place, value in prescription.changes.items())
                parts.append(Markup("<pre>{}</pre>").format(lines))
        if self.evidence:
            rows = [[label(name), float(value)] for name, value in self.evidence.items()]
            parts.append(folded("evidence", table(["", "value"], rows)))
        return parts


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

    def _repr_html_(self) -> str:
        row = Markup("<p><strong>{}</strong></p>{}")
        parts = [row.format(head, Markup("").join(rest)) for head, *rest in (finding._parts() for finding in self)]
        if self.unjudged:
            rows = [[rule.code.replace("-", " "), rule.reason, rule.remedy] for rule in self.unjudged]
            parts.append(table(["not judged", "since", "remedy"], rows))
        many = f"{len(self)} finding{'s' if len(self) > 1 else ''}" if self else "Nothing found"
        return page(many, *parts)
