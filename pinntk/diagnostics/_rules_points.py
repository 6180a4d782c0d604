"""Rules about the points that a network is trained on."""

from __future__ import annotations

from math import ceil

from pinntk._util.numbers import number
from pinntk.diagnostics._examination import Examination
from pinntk.diagnostics._finding import Finding, Prescription
from pinntk.diagnostics._judgment import failing, severity
from pinntk.diagnostics._prescriptions import by_ntk, even_points, weighs_points
from pinntk.diagnostics._thresholds import above, below, clearly
from pinntk.diagnostics._unjudged import lacking_need
from pinntk.diagnostics._wording import phrase


def clustered_points(x: Examination) -> Finding | None:
    """Training points leave a part of the region empty, and the errors there are large."""
    worst = max(x.coverage, key=lambda name: _clustering(x, name), default=None)
    if worst is None or _clustering(x, worst) <= 1 or not failing(x):
        return None
    covered, missed = x.coverage[worst], x.missing.get(worst)
    ratio = missed.ratio if missed is not None else float("nan")
    if x.trained and not above("missing-some", ratio):
        return None
    d = x.problem.domain.dimension
    hole = ", ".join(
        f"{axis} = {number(float(value))}" for axis, value in zip(x.problem.coordinates, covered.hole, strict=True)
    )
    return Finding(
        code="clustered-points",
        severity=severity(x),
        sentence=f"The points of {worst} leave a hole {number(covered.gap)} times as wide as evenly spread ones would, about "
        f"{hole}; on fresh points the mean squared error is {number(ratio)} times that on the training points.",
        evidence={
            "gap_ratio": covered.gap,
            "spacing_ratio": covered.spacing,
            "fresh_over_training_error": ratio,
            "duplicate_points": covered.duplicates,
        },
        arrays={"x": x.points[worst][:, :d].cpu().numpy(), "hole": covered.hole},
        confidence=clearly("gap", covered.gap) if above("gap", covered.gap) else clearly("spacing", covered.spacing),
        prescriptions=(even_points(x, {name: len(rows) for name, rows in x.points.items()}),),
    )


def _clustering(x: Examination, name: str) -> float:
    """Above 1 where points cluster."""
    if x.problem[name].region.given is not None:
        return 0.0
    found = x.coverage[name]
    return 1 + found.gap if above("gap", found.gap) or below("spacing", found.spacing) else 0.0


def too_few_points(x: Examination) -> Finding | None:
    """Errors vanish at the training points and are large between them."""
    if not x.missing or lacking_need(x, "too-few-points") or not failing(x):
        return None
    worst = max(x.missing, key=lambda name: x.missing[name].ratio)
    missed = x.missing[worst]
    if not above("missing", missed.ratio) or _clustering(x, worst):
        return None
    counts = {name: len(rows) for name, rows in x.points.items()}
    more = {name: _enough(x, name, n) for name, n in counts.items()}
    bound = by_ntk(x.run) if x.run is not None and weighs_points(x.run.config["weighting"]) else {}  # to points that stay
    return Finding(
        code="too-few-points",
        severity=severity(x),
        sentence=f"On fresh points the mean squared error of {phrase(x.problem, worst)} is {number(missed.ratio)} times that "
        f"on its {counts[worst]} training points: it is small there and nowhere else.",
        evidence={
            "training_points": counts[worst],
            "fresh_over_training_error": missed.ratio,
            "fresh_mean_square": missed.fresh,
            "training_mean_square": missed.trained,
        },
        arrays={"x": x.points[worst][:, : x.problem.domain.dimension].cpu().numpy(), "candidates": missed.points.cpu().numpy()},
        confidence=clearly("missing", missed.ratio),
        prescriptions=(
            even_points(x, more),
            Prescription("draw fresh points in every step", {"training.points": counts, "training.resample": 1, **bound}),
        ),
    )


def _enough(x: Examination, name: str, n: int) -> int:
    """Points that say all that the kernel can know, twice, and at least the default."""
    missed = x.missing.get(name)
    if missed is None or not above("missing", missed.ratio):
        return n
    return max(4 * n, x.problem.default_counts()[name] or n, ceil(2 * x.estimate.rank))
