"""Rules about the problem itself: a false statement, a condition that is missing."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pinntk.diagnostics._examination import Examination
from pinntk.diagnostics._finding import Finding, Prescription
from pinntk.diagnostics._judgment import failing
from pinntk.diagnostics._rules_sizes import unscaled_fields
from pinntk.diagnostics._rules_training import saturation, unnormalized_inputs
from pinntk.diagnostics._thresholds import above, below, clearly
from pinntk.diagnostics._undetermined import undetermined
from pinntk.diagnostics._wording import number
from pinntk.problem import Measurements, Problem
from pinntk.residuals import errors


def wrong_problem(x: Examination) -> Finding | None:
    """The conditions are not those of the solution that is meant, or leave it undetermined."""
    return _false_statement(x) or _undetermined_field(x)


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
    worst = max(relative, key=lambda name: relative[name])
    if not above("exact", relative[worst]):
        return None
    return Finding(
        code="wrong-problem",
        severity="critical",
        sentence=f"The known solution does not satisfy the condition {worst}: its own error there is "
        f"{number(relative[worst])} of that of a wrong solution. The condition is wrong, or the solution is.",
        evidence={"estimated_error": found.relative} | {f"exact_error/{k}": v for k, v in relative.items()},
        arrays={"x": asked[worst].cpu().numpy(), "error": wrong[worst].detach().cpu().numpy()},
        confidence=clearly("exact", relative[worst]),
        prescriptions=(Prescription(f"check the signs and terms of the condition {worst} against the paper"),),
    )


def _undetermined_field(x: Examination) -> Finding | None:
    if saturation(x) or unnormalized_inputs(x) or unscaled_fields(x):
        return None  # such a network leaves fields undetermined that the conditions determine
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
    name = min(rates, key=lambda name: rates[name])
    if not below("undetermined-rate", rates[name]) or (
        x.run is not None and not (failing(x) or above("undetermined", again[name].share))
    ):
        return None
    found = again[name]
    return Finding(
        code="wrong-problem",
        severity="critical",
        sentence=f"The conditions leave the field {name} undetermined, however well they are met: one is missing, on a "
        f"boundary or at the start. Errors a hundred times smaller would determine it only "
        f"{number(100 ** max(rates[name], 0))} times better.",
        evidence={
            "undetermined_share": found.share,
            "undetermined_rate": rates[name],
            "estimated_error": x.estimate.relative,
        },
        arrays={"x": found.points.cpu().numpy(), "deviation": found.deviation.cpu().numpy(), "free": found.free.cpu().numpy()},
        confidence=clearly("undetermined-rate", rates[name]),
        prescriptions=(
            Prescription(f"add the condition that determines the field {name} where the figure shows it undetermined"),
        ),
    )
