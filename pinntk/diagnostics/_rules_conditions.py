"""Rules about points, conditions and the problem itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import ceil, isfinite, sqrt

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Tensor, nn

from pinntk.diagnostics._examination import Examination
from pinntk.diagnostics._finding import Finding, Prescription
from pinntk.diagnostics._judgment import failing, severity, unreachable, unreachable_alone
from pinntk.diagnostics._rules_training import gauss_newton, saturation, unnormalized_inputs
from pinntk.diagnostics._sampling import time_axis
from pinntk.diagnostics._spectrum import error_frequency
from pinntk.diagnostics._thresholds import above, below, clearly
from pinntk.diagnostics._undetermined import undetermined
from pinntk.diagnostics._wording import called, capital, chosen, number
from pinntk.problem import Measurements, Problem
from pinntk.residuals import errors

NTK = {"weighting": {"name": "ntk", "every": 100}}
_FEATURES = 64  # Fourier features that are prescribed
_SLICES = 8  # of time


# Points.


def clustered_points(x: Examination) -> Finding | None:
    """Training points leave a part of the region empty, and the errors there are large."""
    worst = max(x.coverage, key=lambda name: _clustering(x, name))
    if _clustering(x, worst) <= 1 or not failing(x):
        return None
    covered, missed = x.coverage[worst], x.missing.get(worst)
    ratio = missed.ratio if missed is not None else float("nan")
    if x.run is not None and not above("missing-some", ratio):
        return None
    d = x.problem.domain.dimension
    hole = ", ".join(
        f"{axis} = {number(float(value))}" for axis, value in zip(x.problem.coordinates, covered.hole, strict=True)
    )
    return Finding(
        "clustered-points",
        severity(x),
        f"The points of {worst} leave a hole {number(covered.gap)} times as wide as evenly spread ones would, about {hole}; on "
        f"fresh points the squared error is {number(ratio)} times that on the training points.",
        {
            "widest hole over that of even points": covered.gap,
            "spacing over that of even points": covered.spacing,
            "squared error, fresh over training points": ratio,
            "duplicate points": covered.duplicates,
        },
        {"x": x.points[worst][:, :d].cpu().numpy(), "hole": covered.hole},
        clearly("gap", covered.gap) if above("gap", covered.gap) else clearly("spacing", covered.spacing),
        (_even_points(x, {name: len(rows) for name, rows in x.points.items()}),),
    )


def _clustering(x: Examination, name: str) -> float:
    """Above 1 where points cluster."""
    found = x.coverage[name]
    if isinstance(x.problem[name].region, Measurements):
        return 0.0
    return 1 + found.gap if above("gap", found.gap) or below("spacing", found.spacing) else 0.0


def too_few_points(x: Examination) -> Finding | None:
    """Errors vanish at the training points and are large between them."""
    if not x.missing or not failing(x) or x.run is None:
        return None
    worst = max(x.missing, key=lambda name: x.missing[name].ratio)
    missed = x.missing[worst]
    if not above("missing", missed.ratio) or _clustering(x, worst):
        return None
    counts = {name: len(rows) for name, rows in x.points.items()}
    more = {name: _enough(x, name, n) for name, n in counts.items()}
    bound = NTK if x.run.config["weighting"].get("name") == "self-adaptive" else {}  # to points that stay
    return Finding(
        "too-few-points",
        severity(x),
        f"On fresh points the squared error of {called(x.problem, worst)} is {number(missed.ratio)} times that on its "
        f"{counts[worst]} training points: they were learned by heart.",
        {
            "training points": counts[worst],
            "squared error, fresh over training points": missed.ratio,
            "mean squared error on fresh points": missed.fresh,
            "mean squared error on training points": missed.trained,
        },
        {"x": x.points[worst][:, : x.problem.domain.dimension].cpu().numpy(), "candidates": missed.points.cpu().numpy()},
        clearly("missing", missed.ratio),
        (
            _even_points(x, more),
            Prescription("draw fresh points in every step", {"training.points": counts, "training.resample": 1, **bound}),
        ),
    )


def _enough(x: Examination, name: str, n: int) -> int:
    """Points that say all that the kernel can know, twice, and at least the default."""
    missed = x.missing.get(name)
    if missed is None or not above("missing", missed.ratio):
        return n
    return max(4 * n, x.problem.default_counts()[name] or n, ceil(2 * x.estimate.rank))


def _even_points(x: Examination, counts: Mapping[str, int]) -> Prescription:
    counts = {name: n for name, n in counts.items() if not isinstance(x.problem[name].region, Measurements)}
    told = ", ".join(f"{n} of {name}" for name, n in counts.items())
    return Prescription(f"spread the points evenly: {told}", {"training.points": counts, "training.sampling": "sobol"})


# Conditions against each other.


def imbalance(x: Examination) -> Finding | None:
    """One condition trains far faster than another, and the error of the solution comes from the slow one."""
    found = x.balance
    if not above("imbalance", found.imbalance) or not isfinite(found.imbalance) or not failing(x):
        return None
    rates = {name: rate for name, rate in found.rate.items() if rate > 0}
    fast, slow = max(rates, key=rates.get), min(rates, key=rates.get)
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
        "imbalance",
        severity(x),
        f"{capital(called(x.problem, fast))} trains {number(found.imbalance)} times faster than "
        f"{called(x.problem, slow)}, which is hardly learned: slow conditions make up {slow_part:.0%} of the estimated error "
        "of the solution.",
        {"fastest over slowest rate": found.imbalance, "share of the error from slow conditions": slow_part}
        | {f"rate/{name}": rate for name, rate in found.rate.items()},
        {f"eigenvalues/{name}": values.cpu().numpy() for name, values in x.spectrum.blocks.items()},
        clearly("imbalance", found.imbalance) if x.run is not None else 0.5,
        prescriptions,
    )


def conflict(x: Examination) -> Finding | None:
    """Each condition can be met, but not all at once."""
    found = x.estimate
    if not unreachable(x) or unreachable_alone(x) or not above("together", found.unreachable) or x.run is None:
        return None
    worst = sorted(found.remaining, key=lambda name: found.remaining[name] * found.size[name], reverse=True)[:2]
    data = [name for name in found.points if isinstance(x.problem[name].region, Measurements)]
    prescriptions = [
        Prescription(f"look for the one among {', '.join(found.points)} that contradicts the others, and correct it")
    ]
    if data:
        weights = {name: 0.0 if name in data else float(f"{x.weights[name]:.3g}") for name in x.weights}
        prescriptions.insert(
            0,
            Prescription(
                f"train without {', '.join(data)}, whose numbers the others contradict",
                {"weighting": {"name": "fixed", **weights}},
            ),
        )
    return Finding(
        "conflict",
        severity(x),
        f"Each condition can be met alone, but all together leave {found.unreachable:.0%} of the squared errors: most of it in "
        f"{' and '.join(called(x.problem, name) for name in worst)}.",
        {
            "share of errors that cannot be removed": found.unreachable,
            "the same, with one condition alone": max(found.alone.values()),
        }
        | {f"share of errors that stay/{name}": value for name, value in found.remaining.items()},
        {"cosines": x.balance.conflict.cpu().numpy()},
        clearly("unreachable", found.unreachable) + 0.1,
        tuple(prescriptions),
    )


def spectral_bias(x: Examination) -> Finding | None:
    """What is left of a residual are short waves that the kernel does not reach."""
    found = x.estimate
    if not failing(x) or found.rank > found.parameters / 2:
        return None
    residuals = [name for name in found.errors if x.problem[name].kind == "residual" and len(found.errors[name]) > 8]
    if not residuals:
        return None
    worst = max(residuals, key=lambda name: found.size[name])
    if not (unreachable_alone(x) and found.alone[worst] >= found.unreachable / 2):
        return None
    return _short_waves(
        x,
        worst,
        f"{found.alone[worst]:.0%} of what is left of {called(x.problem, worst)} is beyond the kernel's reach",
        clearly("unreachable", found.unreachable),
    )


def slow_waves(x: Examination) -> Finding | None:
    """The same in a weaker form: short waves are what is left to learn. Asked where no other rule speaks."""
    residuals = [name for name in x.estimate.errors if x.problem[name].kind == "residual" and len(x.estimate.errors[name]) > 8]
    if x.run is None or not failing(x) or not residuals:
        return None
    parts = x.estimate.parts
    worst = max(residuals, key=parts.get)
    share = parts[worst] / (sum(parts.values()) or 1.0)
    if not above("slow-waves", share):
        return None
    finding = _short_waves(
        x, worst, f"{share:.0%} of the estimated error comes from what is left of {called(x.problem, worst)}", 0.6
    )
    if finding is None or x.progress is None or x.progress.solving:
        return finding
    # The kernel reaches these waves: what is slow for a gradient is not for Gauss-Newton. Features may not be needed.
    solver = Prescription("train by Gauss-Newton, which learns short waves as fast as long ones", gauss_newton(x))
    return replace(finding, prescriptions=(solver, *finding.prescriptions))


def _short_waves(x: Examination, worst: str, what: str, confidence: float) -> Finding | None:
    found = x.estimate
    wave = error_frequency(found.points[worst], found.errors[worst], x.problem.domain.bounds)
    if not above("waves", wave.dominant):
        return None
    d = x.problem.domain.dimension
    # Features cos(2 pi B x~) with x~ = sqrt(12) (x - mean) / length: f cycles a length are f / sqrt(12) cycles a unit of x~.
    # B ~ N(0, sigma^2) in d coordinates; waves as short as f should lie at twice the typical |B|, the long ones are needed too.
    sigma = float(f"{wave.dominant / (2 * sqrt(12 * d)):.2g}")
    features = {"network.arguments.fourier": [_FEATURES, sigma], "network.arguments.normalize": True}
    prescriptions = (
        (Prescription(f"add Fourier features of standard deviation {chosen(sigma)}", features),)
        if x.settings
        else (Prescription(f"feed the network cos and sin of 2 pi B x, B of {chosen(wave.dominant)} cycles a domain length"),)
    )
    share = x.spectrum.share(x.balance.errors).cpu().numpy()
    return Finding(
        "spectral-bias",
        severity(x),
        f"{what}; it has {chosen(wave.dominant)} waves a domain length, which the network learns slowly or never.",
        {
            "share of errors that cannot be removed": found.unreachable,
            "the same, with this residual alone": found.alone[worst],
            "waves a domain length": wave.dominant,
            "waves a domain length, on average": wave.mean,
            "rank of the kernel": found.rank,
        },
        {"eigenvalues": x.spectrum.values.cpu().numpy(), "share": share},
        confidence,
        prescriptions,
    )


def causality(x: Examination) -> Finding | None:
    """The error of the solution grows in time, since later times are fitted to wrong earlier ones."""
    found = x.estimate
    axis, backward = time_axis(x.problem)
    if axis is None or x.run is None or not above("error", found.relative) or x.causality is None:
        return None
    low, high = x.problem.domain.bounds[axis]
    reached = (found.where[:, axis].cpu().numpy() - low) / (high - low)
    slices = np.clip(((1 - reached if backward else reached) * _SLICES).astype(int), 0, _SLICES - 1)
    square = found.change.square().mean(1).cpu().numpy()
    whole = float(found.values.square().mean().sqrt())
    error = np.array([np.sqrt(square[slices == k].mean()) / whole if (slices == k).any() else np.nan for k in range(_SLICES)])
    known = np.isfinite(error)
    quarter = _SLICES // 4
    late = float(np.nanmean(error[-quarter:]) / max(np.nanmean(error[:quarter]), 1e-300))
    ordered = float(spearmanr(np.arange(_SLICES)[known], error[known]).statistic)
    name = max(x.causality.disorder, key=lambda name: x.causality.disorder[name])
    disorder, early = x.causality.disorder[name], x.causality.early_late[name]
    grows = above("late", late) and above("ordered", ordered)
    if not (grows or above("early-late", early)):
        return None
    if grows:
        what = f"The estimated error grows with time, {number(late)} times from the first quarter to the last"
    else:
        what = f"The residual of {name} is {number(early)} times larger in the first half of time than in the last"
    prescriptions = [
        Prescription("train by Gauss-Newton, whose steps carry the start through all of time at once", gauss_newton(x)),
        Prescription(
            "let later times count once earlier ones are solved",
            {"training.causal": {"epsilon": 1.0, "slices": 16, "threshold": 0.99}, **NTK},
        ),
    ]
    return Finding(
        "causality",
        severity(x),
        f"{what}: later times are fitted to earlier ones that are wrong.",
        {
            "error, last quarter of time over the first": late,
            "order of errors in time (1: growing)": ordered,
            "pairs of times whose earlier residual is larger": disorder,
            "squared residual, first half of time over the last": early,
        },
        {
            "time": (x.causality.edges[1:] + x.causality.edges[:-1]) / 2,
            "error": error,
            "residual": x.causality.mean_square[name],
            "diagonal": x.causality.diagonal[name],
        },
        clearly("late", late) if grows else clearly("early-late", early),
        tuple(prescriptions),
    )


def trivial_solution(x: Examination) -> Finding | None:
    """A field is constant where its data are not."""
    flat = {name: found.ratio for name, found in x.trivial.items() if found.ratio is not None}
    if not flat or not failing(x) or x.run is None:
        return None
    name = min(flat, key=flat.get)
    if not below("trivial", flat[name]):
        return None
    return Finding(
        "trivial-solution",
        severity(x),
        f"The field {name} is about constant: it varies by {flat[name]:.1%} of what its data ask for.",
        {
            "spread of the field over that of its data": flat[name],
            "mean of the field": x.trivial[name].mean,
            "spread of the field": x.trivial[name].std,
        },
        {},
        clearly("trivial", max(flat[name], 1e-6)) - 0.1,
        (Prescription("give every condition the same mean rate, so that the data count", NTK),),
    )


# The problem.


def wrong_problem(x: Examination) -> Finding | None:
    """The conditions are not those of the solution that is meant, or leave it open."""
    return _false_statement(x) or _open_field(x)


class _Exact(nn.Module):
    """The known solution, as a network."""

    def __init__(self, problem: Problem):
        super().__init__()
        self.problem = problem

    def forward(self, rows: Tensor) -> Tensor:
        return self.problem.exact_values(rows)


def _false_statement(x: Examination) -> Finding | None:
    if x.problem.exact is None or len(x.problem.coefficients):
        return None
    found = x.estimate
    asked = {name: rows for name, rows in found.points.items() if not isinstance(x.problem[name].region, Measurements)}
    try:
        with torch.no_grad():
            wrong = errors(_Exact(x.problem), x.problem, asked, "autograd")
            size = float(x.problem.exact_values(found.where).square().mean().sqrt())
    except (RuntimeError, ValueError, TypeError):
        return None  # an exact solution that cannot be differentiated says nothing
    relative = {name: float(e.detach().square().mean().sqrt()) / (found.gain[name] * size or 1.0) for name, e in wrong.items()}
    worst = max(relative, key=relative.get)
    if not above("exact", relative[worst]):
        return None
    return Finding(
        "wrong-problem",
        "critical",
        f"The known solution does not satisfy the condition {worst}: its own error there is "
        f"{number(relative[worst])} of what a wrong solution would have. The statement of the problem is wrong, or its "
        "solution is.",
        {"estimated error": found.relative} | {f"error of the known solution in {k}": v for k, v in relative.items()},
        {"x": asked[worst].cpu().numpy(), "error": wrong[worst].detach().cpu().numpy()},
        clearly("exact", relative[worst]),
        (Prescription(f"check the signs and terms of the condition {worst} against the paper"),),
    )


def _open_field(x: Examination) -> Finding | None:
    if saturation(x) or unnormalized_inputs(x):
        return None  # such a network leaves open what the conditions do not
    # Points may be too few to tell; on many fresh ones only a missing condition stays. And it is the problem's, not the
    # training's: it shows in the initial network as well, where that is known.
    if not any(below("undetermined-rate", found.rate) for found in x.undetermined.values()):
        return None
    points = {name: rows.to(next(iter(x.points.values())).dtype) for name, rows in x.estimate.points.items()}
    again = undetermined(x.network, x.problem, points)
    rates = {name: found.rate for name, found in again.items()}
    if x.initial is not None:
        rates = {name: max(rates[name], found.rate) for name, found in undetermined(x.initial, x.problem, points).items()}
    elif not any(above("undetermined", found.share) for found in again.values()):
        return None
    name = min(rates, key=rates.get)
    if not below("undetermined-rate", rates[name]) or (
        x.run is not None and not (failing(x) or above("undetermined", again[name].share))
    ):
        return None
    found = again[name]
    return Finding(
        "wrong-problem",
        "critical",
        f"The conditions leave the field {name} open, however well they are met: one is missing, on a boundary or at the "
        f"start. Errors a hundred times smaller would fix it only {number(100 ** max(rates[name], 0))} times better.",
        {
            "share of the field left open": found.share,
            "power of the tolerance by which it falls": rates[name],
            "estimated error": x.estimate.relative,
        },
        {"x": found.points.cpu().numpy(), "deviation": found.deviation.cpu().numpy(), "free": found.free.cpu().numpy()},
        clearly("undetermined-rate", max(rates[name], 1e-3)),
        (Prescription(f"add the condition that fixes the field {name} where the figure shows it free"),),
    )
