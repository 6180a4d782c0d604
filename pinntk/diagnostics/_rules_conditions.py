"""Rules about conditions that train at different rates or wait for each other."""

from __future__ import annotations

from math import isfinite, sqrt

import numpy as np
from scipy.stats import spearmanr

from pinntk.diagnostics._examination import Examination
from pinntk.diagnostics._finding import Finding, Prescription
from pinntk.diagnostics._judgment import failing, severity
from pinntk.diagnostics._prescriptions import NTK, gauss_newton, time_slabs
from pinntk.diagnostics._rules_problem import homogeneous
from pinntk.diagnostics._thresholds import CONFIDENCE, SURER, above, below, clearly
from pinntk.diagnostics._wording import capital, number, phrase
from pinntk.problem._time import time_axis, time_slices

_SLICES = 8  # of time


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
    if x.run is not None and not above("slow-part", slow_part):
        return None
    already = x.run is not None and x.run.config["weighting"].get("name") == "ntk"
    prescriptions = (
        () if already else (Prescription("give every condition the same mean rate, by the traces of its kernel", NTK),)
    )
    return Finding(
        code="imbalance",
        severity=severity(x),
        sentence=f"{capital(phrase(x.problem, fast))} trains {number(found.imbalance)} times faster than "
        f"{phrase(x.problem, slow)}, which has hardly been trained: slow conditions make up {slow_part:.0%} of the estimated "
        "error of the solution.",
        evidence={
            "imbalance": found.imbalance,
            "slow_share": slow_part,
            "alignment": found.alignment,
            "cosine": found.cosines[fast][slow],
        }
        | {f"rate/{name}": rate for name, rate in found.rate.items()},
        arrays={f"eigenvalues/{name}": values.cpu().numpy() for name, values in x.spectrum.blocks.items()},
        confidence=clearly("imbalance", found.imbalance) if x.run is not None else CONFIDENCE["imbalance"],
        prescriptions=prescriptions,
    )


def causality(x: Examination) -> Finding | None:
    """The error of the solution grows in time, since later times are fitted to wrong earlier ones."""
    found = x.estimate
    axis, backward = time_axis(x.problem)
    if axis is None or x.run is None or not above("error", found.relative) or found.unmoved:  # residuals that nothing moves
        return None
    if (order := x.causality) is None:
        return None
    start, end = x.problem.domain.bounds[axis][:: -1 if backward else 1]
    slices = time_slices(found.where[:, axis].cpu(), start, end, _SLICES).numpy()
    square = found.change.square().mean(1).cpu().numpy()
    whole = float(found.values.square().mean().sqrt())
    error = np.array([np.sqrt(square[slices == k].mean()) / whole if (slices == k).any() else np.nan for k in range(_SLICES)])
    known = np.isfinite(error)
    quarter = _SLICES // 4
    late = float(np.nanmean(error[-quarter:]) / max(np.nanmean(error[:quarter]), 1e-300))
    ordered = float(spearmanr(np.arange(_SLICES)[known], error[known]).statistic)
    name = max(order.disorder, key=lambda name: order.disorder[name])
    disorder, early = order.disorder[name], order.early_late[name]
    grows = above("late", late) and above("ordered", ordered)
    if not (grows or above("early-late", early)):
        return None
    if grows:
        what = f"The estimated error grows with time, {number(late)} times from the first quarter to the last"
    else:
        what = f"The residual of {name} is {number(early)} times larger in the first half of time than in the last"
    prescriptions = [
        Prescription("train by Gauss-Newton, whose steps carry the start through all of time at once", gauss_newton(x.run)),
        *time_slabs(x.run),
        Prescription(
            "let later times count once earlier ones are solved",
            {"training.causal": {"epsilon": 1.0, "slices": 16, "threshold": 0.99}, **NTK},
        ),
    ]
    return Finding(
        code="causality",
        severity=severity(x),
        sentence=f"{what}: later times are fitted to earlier ones that are wrong.",
        evidence={
            "late_over_early_error": late,
            "time_order": ordered,
            "disorder": disorder,
            "early_over_late_residual": early,
        },
        arrays={
            "time": (order.edges[1:] + order.edges[:-1]) / 2,
            "error": error,
            "residual": order.mean_square[name],
            "diagonal": order.diagonal[name],
        },
        confidence=clearly("late", late) if grows else clearly("early-late", early),
        prescriptions=tuple(prescriptions),
    )


def trivial_solution(x: Examination) -> Finding | None:
    """Zero satisfies every condition, or a field is constant where its data are not."""
    if found := homogeneous(x):
        return found
    flat = {name: found.ratio for name, found in x.trivial.items() if found.ratio is not None}
    if not flat or not failing(x) or x.run is None:
        return None
    name = min(flat, key=lambda name: flat[name])
    if not below("trivial", flat[name]):
        return None
    return Finding(
        code="trivial-solution",
        severity=severity(x),
        sentence=f"The field {name} is about constant: its standard deviation is {flat[name]:.1%} of that of its data.",
        evidence={
            "spread_ratio": flat[name],
            "field_mean": x.trivial[name].mean,
            "field_spread": x.trivial[name].std,
        },
        arrays={},
        confidence=clearly("trivial", flat[name]) + SURER["trivial-solution"],
        prescriptions=(
            Prescription("give every condition the same mean rate, so that the data are trained as fast as the equation", NTK),
        ),
    )
