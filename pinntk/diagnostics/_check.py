"""`pinntk.check`: what is wrong with a problem, before anything is trained."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from pinntk._util.precision import without_autocast
from pinntk.diagnostics._architecture import can_be_zero, may_be_open
from pinntk.diagnostics._finding import Diagnosis, Finding, Unjudged
from pinntk.diagnostics._rules_architecture import without_derivatives
from pinntk.diagnostics._rules_statement import QUICK, STATEMENT_RULES
from pinntk.diagnostics._statement import Statement
from pinntk.diagnostics._unjudged import FOLLOWED, OPERATORS, SEEN
from pinntk.nn import MLP
from pinntk.problem import Problem
from pinntk.residuals import errors
from pinntk.residuals._checks import check_operators
from pinntk.residuals._values import NonFiniteError, non_finite

_CODES = ("independent-condition", "wrong-problem", "trivial-solution", "conflict", "undetermined-coefficient", "gauge")
_TRIED = 16  # points of a condition on which a small network is tried
_FEW = 40  # trial functions of the quick part, which asks only whether conditions respond at all


@without_autocast
def check(problem: Problem, network: nn.Module | None = None, *, quick: bool = False) -> Diagnosis:
    """What is wrong with a problem, and with the network that is to solve it, before a step is trained; empty if nothing is.

    Found are conditions that leave a field or a coefficient open, that no function can meet, that zero meets, that depend on no
    field, that disagree in a corner or that the known solution violates; and a network whose derivatives are zero where a
    condition asks for them. The conditions are judged on smooth trial functions of the domain (`diagnostics.TrialSpace`), in
    float64 on the CPU, so that a network that is narrow, saturated or untrained cannot make good conditions look bad.

    network: one whose construction meets what the conditions leave out makes up for it; whether it has the derivatives that
        they ask for is asked as well
    quick: only what a few evaluations of the conditions show, in about a tenth of the time

    Foreign conditions are on no trial functions: what the others do not say alone is not judged, and named in
    `Diagnosis.unjudged`. So is a conflict, or a missing condition, that trial functions may make by themselves, next to narrow
    notches and bent holes.

    Raises TypeError for what is no problem; DependentPointsError for errors that are random or mix points; NonFiniteError for
    those that are finite nowhere; an operator's own exceptions as `pinntk.errors` does.

    >>> import pinntk
    >>> domain = pinntk.Box(x=(0, 1))
    >>> @pinntk.residual(domain)
    ... def poisson(u_xx):
    ...     return u_xx + 1
    >>> @pinntk.boundary(domain.at(x=0))
    ... def left(u):
    ...     return u
    >>> [finding.code for finding in pinntk.check(pinntk.Problem(domain, [poisson, left]))]
    ['wrong-problem']
    """
    if not isinstance(problem, Problem):
        raise TypeError(f"problem is a {type(problem).__name__}; give a pinntk.Problem, or load one with pinntk.load")
    statement = Statement(problem, functions=_FEW) if quick else Statement(problem)
    if not quick and not problem.foreign:
        _refuse_what_are_no_errors(problem, statement.defined)
    found = statement_findings(statement, network, QUICK if quick else tuple(STATEMENT_RULES))
    if network is not None:
        found = sorted([*found, *without_derivatives(problem, network)], key=_severe)
    codes = [finding.code for finding in found]
    rules = (*_CODES, "unsuitable-activation") if network is not None else _CODES
    left_out = [code for code in rules if code not in codes] if problem.foreign else []
    unjudged = [Unjudged(code, OPERATORS.reason, OPERATORS.remedy) for code in left_out]
    if not quick and not left_out and "conflict" not in codes and statement.untold:
        unjudged.append(Unjudged("conflict", FOLLOWED.reason, FOLLOWED.remedy))
    if not quick and not left_out and "wrong-problem" not in codes and statement.freedom.missed:
        unjudged.append(Unjudged("wrong-problem", SEEN.reason, SEEN.remedy))
    return Diagnosis(found, unjudged)


def _refuse_what_are_no_errors(problem: Problem, defined: bool) -> None:
    """Tries the conditions on a small network, as a training would: what they return may be random, depend on other points, or
    be finite nowhere.
    """
    network = MLP(problem, width=8, depth=1, output_scales={}, dtype=torch.float64)
    counts = {name: None if default is None else _TRIED for name, default in problem.default_counts().items()}
    points = problem.sample({name: n for name, n in counts.items() if n is not None}, dtype=torch.float64)
    check_operators(network, problem, points)
    if not defined:
        with torch.no_grad():
            found = errors(network, problem, points)
        for name, error in found.items():
            if not bool(error.isfinite().any()):
                raise NonFiniteError(non_finite(network, problem, name, points[name], error))


def statement_findings(s: Statement, network: nn.Module | None, rules: Sequence[str]) -> list[Finding]:
    """What those rules find; not what a network rules out by construction."""
    found = [finding for name in rules if (finding := STATEMENT_RULES[name](s)) is not None]
    return sorted(found if network is None else [f for f in found if possible(f, network, s.problem)], key=_severe)


def possible(finding: Finding, network: nn.Module, problem: Problem) -> bool:
    """Whether a finding about conditions holds for a network as well, which may meet by construction what they leave out."""
    if finding.code == "trivial-solution":
        return can_be_zero(network, problem)
    return may_be_open(network, problem) if "least_response" in finding.evidence else True


def _severe(finding: Finding) -> int:
    return ("critical", "warning", "note").index(finding.severity)
