"""Rules about the problem itself in a diagnosis: the verdicts on its conditions, made without the network that was trained."""

from __future__ import annotations

from dataclasses import replace

import torch

from pinntk.diagnostics import _rules_statement as statement
from pinntk.diagnostics._check import possible
from pinntk.diagnostics._corners import Corner, corners
from pinntk.diagnostics._examination import Examination
from pinntk.diagnostics._finding import Finding, Prescription
from pinntk.diagnostics._judgment import error_evidence, failing, severity
from pinntk.diagnostics._rules_architecture import without_derivatives
from pinntk.diagnostics._thresholds import above
from pinntk.problem import Measurements

_BESIDE = 0.1  # of the domain, about a corner


def wrong_problem(x: Examination) -> Finding | None:
    """The conditions are not those of the solution that is meant, or leave it undetermined."""
    return _of(x, statement.false_statement(x.statement)) or _of(x, statement.missing_condition(x.statement))


def independent_condition(x: Examination) -> Finding | None:
    """A condition's error depends on no field and no coefficient."""
    return _of(x, statement.independent_condition(x.statement))


def unsuitable_activation(x: Examination) -> Finding | None:
    """A condition asks for derivatives that are zero for this network."""
    return next(iter(without_derivatives(x.problem, x.network)), None)


def undetermined_coefficient(x: Examination) -> Finding | None:
    """A coefficient may have any value, and the fields make up for it."""
    return _of(x, statement.undetermined_coefficient(x.statement))


def gauge(x: Examination) -> Finding | None:
    """A field is free by a constant that no condition sees, beside fields that are determined."""
    return _of(x, statement.gauge(x.statement))


def homogeneous(x: Examination) -> Finding | None:
    """Zero satisfies every condition; not where it is the only solution, and so the one that is meant."""
    found = statement.homogeneous(x.statement)
    return None if found is None or found.severity == "note" else _of(x, found)


def conflict(x: Examination) -> Finding | None:
    """No function satisfies all conditions, or two disagree in a corner."""
    found = statement.conflict(x.statement)
    if found is None:
        return None
    if x.trained:
        evidence = dict(found.evidence) | {"alignment": x.balance.alignment}
        found = replace(found, evidence=evidence, arrays={"cosines": x.balance.conflict.cpu().numpy()})
    names = [name for name in x.statement.contradicting() if isinstance(x.problem[name].region, Measurements)]
    if names:
        weights = {name: 0.0 if name in names else float(f"{x.weights[name]:.3g}") for name in x.weights}
        leave_out = Prescription(
            f"train without {', '.join(names)}, whose numbers the others contradict",
            {"weighting": {"name": "fixed", **weights}},
        )
        return replace(found, prescriptions=(leave_out, *found.prescriptions))
    if found.severity == "warning" and x.trained and failing(x):
        worst = corners(x.problem, x.statement.names)[0]
        if above("beside-corner", _share_beside(x, worst)):
            return replace(found, severity=severity(x))
    return found


def _share_beside(x: Examination, corner: Corner) -> float:
    """The share of the solution's estimated squared error that lies beside a corner. Errors of the conditions would not do:
    they lie there, whatever else is wrong.
    """
    domain, where = x.problem.domain, x.estimate.where
    near = torch.ones(len(where), dtype=torch.bool, device=where.device)
    for coordinate, value in corner.place.items():
        axis = domain.axis(coordinate)
        low, high = domain.bounds[axis]
        ends = (abs(value - end) < 1e-9 * (high - low) for end in (low, high))
        # The same jump is at the other end of a wall as well.
        places = (low, high) if any(ends) and axis in domain.space else (value,)
        near &= torch.stack([(where[:, axis] - place).abs() <= _BESIDE * (high - low) for place in places]).any(0)
    if corner.part is not None:
        beside = corner.part.distance(where.cpu().double().numpy()) <= _BESIDE
        near &= torch.as_tensor(beside, device=where.device)
    square = x.estimate.change.square().sum(1)
    total = float(square.sum())
    return float(square[near].sum()) / total if total else 0.0


def _of(x: Examination, found: Finding | None) -> Finding | None:
    """A finding about the conditions, if it holds for a network of this construction, with the run's own error."""
    network = x.network if x.initial is None else x.initial
    if found is None or not possible(found, network, x.problem):
        return None
    return replace(found, evidence=dict(found.evidence) | error_evidence(x))
