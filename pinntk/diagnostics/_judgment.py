"""Whether a run is failing, and how severely."""

from __future__ import annotations

from math import isfinite, nan

import numpy as np
import torch

from pinntk._util.numbers import number
from pinntk.diagnostics._examination import Examination
from pinntk.diagnostics._rules_statement import zero_alone
from pinntk.diagnostics._thresholds import above


def unreachable(x: Examination) -> bool:
    """Whether a good part of the errors, and not a tiny one, is removed by no small step of the parameters."""
    return above("unreachable", x.estimate.unreachable) and above("unreachable-size", unreachable_size(x))


def unreachable_size(x: Examination) -> float:
    """The largest of the conditions' errors that no small step removes, without units. The noise of measurements does not
    count: no network should fit it, and where measurements contradict the other conditions, these have errors too.
    """
    found = x.estimate
    names = [name for name in found.remaining if x.problem[name].kind != "data"]
    return max((found.remaining[name] * found.size[name] for name in names), default=0.0)


def unreachable_alone(x: Examination) -> bool:
    """Whether errors are unreachable, and those of a single condition alone are so already; not where no parameter changes
    them at all, which is no matter of the network's size or of waves.
    """
    return not x.estimate.unmoved and unreachable(x) and above("alone", max(x.estimate.alone.values()) / x.estimate.unreachable)


def dead_conditions(x: Examination) -> tuple[str, ...]:
    """Conditions with errors that none of this network's parameters changes, although they depend on its fields."""
    unmoved = x.estimate.unmoved
    return tuple(name for name in unmoved if name not in x.statement.independent) if unmoved else ()


def solution_error(x: Examination) -> float:
    """The estimated relative error, or the true one where a solution is known and it is larger; not where that is the error of
    the known solution itself (`Problem.solution_accuracy`).
    """
    if (of_zero := error_of_zero(x)) is not None:
        return of_zero
    known = x.relative_error
    if known is None or not isfinite(known) or known <= x.problem.solution_accuracy:
        return x.estimate.relative
    return max(x.estimate.relative, known)


def error_of_zero(x: Examination) -> float | None:
    """Where zero is the only solution: the estimated error over the size of the fields that the training began with, since
    relative errors mean nothing. None elsewhere, and without a run.
    """
    if x.initial is None or not zero_alone(x.statement):
        return None
    where = x.estimate.where.to(next(x.initial.parameters()))
    with torch.no_grad():
        began = x.initial(where)
    size = float(began.double().square().mean().sqrt())
    return float(x.estimate.change.double().square().mean().sqrt()) / size if size else 0.0


def error_evidence(x: Examination) -> dict[str, float]:
    """The estimated error of the solution, unless it is infinite, and the true one where it is known."""
    evidence = {}
    if (of_zero := error_of_zero(x)) is not None:
        evidence["error_of_zero"] = of_zero
        return evidence
    if isfinite(x.estimate.relative):
        evidence["estimated_error"] = x.estimate.relative
    if x.relative_error is not None:
        evidence["true_error"] = x.relative_error
    return evidence


def error_text(x: Examination) -> str:
    """Those errors in words."""
    if (of_zero := error_of_zero(x)) is not None:
        return f"the solution is zero, and the estimated error is {number(of_zero)} of the size that the network began with"
    estimated = number(x.estimate.relative) if isfinite(x.estimate.relative) else "unknown"
    up_to = x.problem.up_to
    if x.relative_error is None:
        return f"the estimated relative L2 error of the solution is {estimated}{up_to}"
    doubt = ", which is not to be trusted here" if misled(x) else ""
    return f"the relative L2 error of the solution is {number(x.relative_error)}{up_to} (estimated: {estimated}{doubt})"


def misled(x: Examination) -> bool:
    """Whether a known solution shows the estimated error to be far off."""
    known = x.relative_error
    return known is not None and above("estimate-off", off(np.array([x.estimate.relative]), np.array([known])))


def off(estimated: np.ndarray, true: np.ndarray) -> float:
    """The distance between an estimated error and the true one, over the true one, where both are finite; else NaN.

    >>> off(np.array([0.2, 0.3]), np.array([0.4, 0.6])), off(np.array([1.0]), np.array([np.nan]))
    (0.5, nan)
    """
    known = np.isfinite(estimated) & np.isfinite(true)
    size = float(np.linalg.norm(true[known]))
    return float(np.linalg.norm(estimated[known] - true[known])) / size if size else nan


def doubt(x: Examination) -> str:
    """A sentence for findings that argue from the estimated error, where it is far off; else nothing."""
    if not misled(x):
        return ""
    assert x.relative_error is not None
    return (
        f" The estimated error is not to be trusted here: it is {number(x.estimate.relative)}, and the true relative L2 error "
        f"{number(x.relative_error)}{x.problem.up_to}."
    )


def failing(x: Examination) -> bool:
    """Whether the error of the solution is large, or errors are unreachable. A rule about the result of a training finds
    something only then.
    """
    return above("error", solution_error(x)) or (error_of_zero(x) is None and unreachable(x))


def severity(x: Examination) -> str:
    """Critical where a trained network's solution has hardly a digit; a warning else, also for one that is not trained: what
    its training will do is a forecast.
    """
    wrong = above("severe", solution_error(x)) or (unreachable(x) and above("severe", unreachable_size(x)))
    return "critical" if wrong and x.trained else "warning"
