"""Rules about conditions that train at different rates or wait for each other."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite, nan, sqrt

import numpy as np
import scipy

from pinntk._util.numbers import number
from pinntk.diagnostics._causality import Causality
from pinntk.diagnostics._examination import Examination
from pinntk.diagnostics._finding import Finding, Prescription
from pinntk.diagnostics._judgment import doubt, error_evidence, failing, off, severity, solution_error
from pinntk.diagnostics._prescriptions import by_ntk, gauss_newton, time_slabs
from pinntk.diagnostics._rules_problem import homogeneous
from pinntk.diagnostics._thresholds import CONFIDENCE, SURER, above, below, clearly
from pinntk.diagnostics._unjudged import lacking_need
from pinntk.diagnostics._wording import capital, percent, phrase
from pinntk.problem._time import time_slices


def imbalance(x: Examination) -> Finding | None:
    """One condition trains far faster than another, and the error of the solution comes from the slow one."""
    found = x.balance
    if not above("imbalance", found.imbalance) or not isfinite(found.imbalance) or not failing(x):
        return None
    rates = {name: found.rate[name] for name in found.names if name in found.dependent}  # others are rounding, however slow
    fast, slow = (choose(rates, key=lambda name: rates[name]) for choose in (max, min))
    middle = sqrt(rates[fast] * rates[slow])
    parts = x.estimate.parts
    slow_part = sum(parts[name] for name in rates if rates[name] < middle) / (sum(parts.values()) or 1.0)
    if x.trained and not above("slow-part", slow_part):
        return None
    already = x.run is not None and x.run.config["weighting"].get("name") == "ntk"
    prescriptions = (
        ()
        if already
        else (Prescription("give every condition the same mean rate, by the traces of its kernel", by_ntk(x.run)),)
    )
    return Finding(
        code="imbalance",
        severity=severity(x),
        sentence=f"{capital(phrase(x.problem, fast))} trains {number(found.imbalance)} times faster than "
        f"{phrase(x.problem, slow)}, and slow conditions make up {percent(slow_part)} of the estimated error of the "
        f"solution.{doubt(x)}",
        evidence={
            "imbalance": found.imbalance,
            "slow_share": slow_part,
            "alignment": found.alignment,
            "cosine": found.cosines[fast][slow],
        }
        | error_evidence(x)
        | {f"rate/{name}": rate for name, rate in found.rate.items()},
        arrays={
            f"eigenvalues/{name}": 2 * found.weights[name] * values.cpu().numpy() for name, values in x.spectrum.blocks.items()
        },
        confidence=clearly("imbalance", found.imbalance) if x.trained else CONFIDENCE["imbalance"],
        prescriptions=prescriptions,
    )


def causality(x: Examination) -> Finding | None:
    """The error of the solution grows in time, since later times are fitted to wrong earlier ones."""
    if lacking_need(x, "causality") or not above("error", solution_error(x)):
        return None
    if x.estimate.unmoved:  # residuals that nothing moves
        return None
    if (order := x.causality) is None:
        return None
    estimated = _Growth(_estimated_by_time(x, order))
    true = None if order.error is None or not np.isfinite(order.error).any() else _Growth(order.error)
    wrong = true is not None and above("estimate-off", off(estimated.error, true.error))
    judged = estimated if true is None else true
    name = max(order.disorder, key=lambda name: order.disorder[name])
    early = order.early_late[name]
    grows = above("late", judged.late_over_early) and above("ordered", judged.order)
    if not (grows or above("early-late", early)):
        return None
    evidence = {
        "late_over_early_error": estimated.late_over_early,
        "time_order": estimated.order,
        "estimated_error_early": estimated.early,
        "estimated_error_late": estimated.late,
        "disorder": order.disorder[name],
        "early_over_late_residual": early,
    }
    arrays = {
        "time": (order.edges[1:] + order.edges[:-1]) / 2,
        "error": estimated.error,
        "residual": order.mean_square[name],
        "diagonal": order.diagonal[name],
    }
    if true is not None:
        evidence["late_over_early_true_error"] = true.late_over_early
        evidence["true_time_order"] = true.order
        evidence["true_error_early"] = true.early
        evidence["true_error_late"] = true.late
        arrays["true_error"] = true.error
    return Finding(
        code="causality",
        severity=severity(x),
        sentence=_causality_sentence(name, early, estimated, true, grows, wrong),
        evidence=evidence,
        arrays=arrays,
        confidence=max(  # of two signs, the surer one
            clearly("late", judged.late_over_early) if grows else 0.0,
            clearly("early-late", early) if above("early-late", early) else 0.0,
        ),
        prescriptions=(
            Prescription("train by Gauss-Newton, whose steps carry the start through all of time at once", gauss_newton(x.run)),
            *time_slabs(x),
            Prescription(
                "let later times count once earlier ones are solved",
                {"training.causal": {"epsilon": 1.0, "slices": 16, "threshold": 0.99}, **by_ntk(x.run)},
            ),
        ),
    )


@dataclass(frozen=True, eq=False)
class _Growth:
    """error: (s,) root mean square of an error in slices of time, over that of the solution; NaN where it is not known."""

    error: np.ndarray

    @property
    def early(self) -> float:
        """Mean over the first quarter of time; NaN where nothing is known there."""
        return _mean(self.error[: len(self.error) // 4])

    @property
    def late(self) -> float:
        return _mean(self.error[-(len(self.error) // 4) :])

    @property
    def late_over_early(self) -> float:
        return self.late / max(self.early, 1e-300)

    @property
    def order(self) -> float:
        """Rank correlation with time."""
        known = np.isfinite(self.error)
        if known.sum() < 2 or not np.ptp(self.error[known]) > 0:
            return nan
        return float(scipy.stats.spearmanr(np.arange(len(self.error))[known], self.error[known]).statistic)


def _estimated_by_time(x: Examination, order: Causality) -> np.ndarray:
    """(s,) root mean square of the estimated error in those slices of time, over that of the estimated solution, which is that
    of the change over the relative error.
    """
    found, count = x.estimate, len(order.edges) - 1
    times = found.where[:, x.problem.domain.axis(order.coordinate)].cpu()
    slices = time_slices(times, order.edges[0], order.edges[-1], count).numpy()
    square = found.change.square().mean(1).cpu().numpy()
    return found.relative * np.sqrt([_mean(square[slices == k]) / square.mean() for k in range(count)])


def _mean(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else nan


def _causality_sentence(name: str, early: float, estimated: _Growth, true: _Growth | None, grows: bool, wrong: bool) -> str:
    """wrong: whether the estimate is far from the true error."""
    if not grows:
        what = f"The mean squared residual of {name} is {number(early)} times as large in the first half of time as in the "
        what += "last (geometric means over eighths)"
    elif true is None:
        what = (
            f"The estimated error grows with time, {number(estimated.late_over_early)} times from the first quarter to the last"
        )
    else:
        what = (
            f"The error grows with time, {number(true.late_over_early)} times from the first quarter to the last (estimated: "
            f"{number(estimated.late_over_early)} times)"
        )
    sentence = f"{what}: later times are fitted to earlier ones that are wrong."
    if true is None and not grows and estimated.late_over_early < 1:
        return (
            f"{sentence} The estimated relative error, that of one linearized step from this network, does not see this and "
            f"may be far too small: it goes from {number(estimated.early)} in the first quarter of time to "
            f"{number(estimated.late)} in the last."
        )
    if true is None or not wrong:
        return sentence
    return (
        f"{sentence} The estimated relative error is not to be trusted here: it goes from {number(estimated.early)} in the "
        f"first quarter of time to {number(estimated.late)} in the last, and the true one from {number(true.early)} to "
        f"{number(true.late)}."
    )


def trivial_solution(x: Examination) -> Finding | None:
    """Zero satisfies every condition, or a field is constant where its data are not."""
    if found := homogeneous(x):
        return found
    flat = {name: found.ratio for name, found in x.trivial.items() if found.ratio is not None}
    if not flat or lacking_need(x, "trivial-solution") or not failing(x):
        return None
    name = min(flat, key=lambda name: flat[name])
    if not below("trivial", flat[name]):
        return None
    return Finding(
        code="trivial-solution",
        severity=severity(x),
        sentence=f"The field {name} is about constant: its standard deviation is {percent(flat[name])} of "
        f"{'that of the known solution' if x.problem.has_solution else 'the root mean square of its data'}.",
        evidence={
            "spread_ratio": flat[name],
            "field_mean": x.trivial[name].mean,
            "field_spread": x.trivial[name].std,
        },
        arrays={},
        confidence=clearly("trivial", flat[name]) + SURER["trivial-solution"],
        prescriptions=(
            Prescription(
                "give every condition the same mean rate, so that the data are trained as fast as the equation", by_ntk(x.run)
            ),
        ),
    )
