"""What a comparison found: a row for each training, a line for each combination."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import inf, isfinite
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Row:
    """How one training ended.

    error: relative L2; None where the problem has no known solution, and where it failed
    loss: the sum of the conditions' mean squares, without weights
    stopped: why before its last step, if not for the time
    failed: why it has no result; "" where it has one
    warnings: what it was warned of, each once
    curve: (seconds, relative L2 error) while it was trained
    """

    labels: dict[str, str]
    seed: int
    error: float | None = None
    loss: float | None = None
    steps: int = 0
    seconds: float = 0.0
    stopped: str = ""
    failed: str = ""
    warnings: list[str] = field(default_factory=list)
    curve: list[list[float]] = field(default_factory=list)

    @property
    def score(self) -> float:
        """What it is compared by: its error, or its loss where no error is known; infinite where it failed."""
        if self.failed:
            return inf
        found = self.loss if self.error is None else self.error
        return inf if found is None else found


@dataclass(frozen=True)
class Combination:
    """All seeds of the same settings on one problem.

    median, best, worst: of the scores, in which a training that failed is infinite
    steps, seconds: medians of those that did not fail
    failed: how many did
    """

    labels: dict[str, str]
    rows: tuple[Row, ...]

    @property
    def scores(self) -> np.ndarray:
        return np.sort([row.score for row in self.rows])

    @property
    def median(self) -> float:
        scores = self.scores  # of two in the middle, of which one may be infinite, the geometric mean
        low, high = scores[(len(scores) - 1) // 2], scores[len(scores) // 2]
        return float(np.sqrt(low * high)) if isfinite(high) else inf

    @property
    def best(self) -> float:
        return float(self.scores[0])

    @property
    def worst(self) -> float:
        return float(self.scores[-1])

    @property
    def failed(self) -> int:
        return sum(bool(row.failed) for row in self.rows)

    @property
    def steps(self) -> int | None:
        return _middle([row.steps for row in self.rows if not row.failed], int)

    @property
    def seconds(self) -> float | None:
        return _middle([row.seconds for row in self.rows if not row.failed], float)


def _middle(values: Sequence[float], kind: type) -> Any:
    return kind(np.median(values)) if values else None


@dataclass(frozen=True)
class Summary:
    """The rows of a comparison by problem and combination.

    rows: of the trainings that have ended
    planned: labels of all
    missing: how many have not ended
    refused: {combination: why it cannot be}, of those that were not run
    """

    title: str
    rows: tuple[Row, ...]
    planned: tuple[Mapping[str, str], ...]
    missing: int = 0
    refused: Mapping[str, str] = field(default_factory=dict)

    @property
    def problems(self) -> list[str]:
        return list(dict.fromkeys(row.labels["problem"] for row in self.rows))

    def _values(self) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for labels in self.planned:
            for axis, value in labels.items():
                if axis != "problem":
                    found.setdefault(axis, set()).add(value)
        return found

    @property
    def axes(self) -> list[str]:
        """What differs, but for the problem."""
        return [axis for axis, values in self._values().items() if len(values) > 1]

    @property
    def constant(self) -> dict[str, str]:
        """{axis: value} of what is the same everywhere."""
        return {axis: next(iter(values)) for axis, values in self._values().items() if len(values) == 1 and values != {""}}

    def combinations(self, problem: str) -> list[Combination]:
        """Of a problem, the lowest median first."""
        found: dict[tuple[str, ...], list[Row]] = {}
        for row in self.rows:
            if row.labels["problem"] == problem:
                found.setdefault(tuple(row.labels.values()), []).append(row)
        return sorted(
            (Combination(rows[0].labels, tuple(rows)) for rows in found.values()), key=lambda one: (one.median, one.best)
        )

    def by_error(self, problem: str) -> bool:
        """Whether its trainings are compared by their errors, or else by their losses."""
        return any(row.error is not None for row in self.rows if row.labels["problem"] == problem)

    def name(self, labels: Mapping[str, str]) -> str:
        """Of a combination: the values of the axes that differ."""
        return ", ".join(labels[axis] for axis in self.axes if labels.get(axis)) or "all"

    def as_json(self) -> dict[str, Any]:
        return {
            "title": self.title,
            "constant": self.constant,
            "missing": self.missing,
            "refused": dict(self.refused),
            "problems": {problem: [_line(one) for one in self.combinations(problem)] for problem in self.problems},
        }


def _line(one: Combination) -> dict[str, Any]:
    def finite(value: float) -> float | None:
        return value if isfinite(value) else None

    return {
        "labels": one.labels,
        "seeds": [row.seed for row in one.rows],
        "scores": [finite(row.score) for row in one.rows],
        "median": finite(one.median),
        "best": finite(one.best),
        "worst": finite(one.worst),
        "steps": one.steps,
        "seconds": one.seconds,
        "failed": {str(row.seed): row.failed for row in one.rows if row.failed},
        "warnings": {str(row.seed): row.warnings for row in one.rows if row.warnings},
    }
