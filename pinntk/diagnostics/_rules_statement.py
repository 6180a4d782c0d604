"""Rules about the statement of a problem: what its conditions say by themselves, before anything is trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from torch import Tensor

from pinntk._util.numbers import number
from pinntk.diagnostics._corners import corners
from pinntk.diagnostics._finding import Finding, Prescription
from pinntk.diagnostics._solvability import Open
from pinntk.diagnostics._statement import Statement
from pinntk.diagnostics._thresholds import above, clearly
from pinntk.diagnostics._wording import joined, percent
from pinntk.geometry import Domain
from pinntk.geometry import _sampling as sampling
from pinntk.problem import Measurements

_POINTS = 200  # of the figure, and of each face, on which what is left open is looked at
_PRECISION = 1e-12  # of the least response, as it is told
_ONE_SIGN = 0.9  # mean over mean size of an error that has one sign


def independent_condition(s: Statement) -> Finding | None:
    """A condition's error depends on no field and no coefficient."""
    if not s.independent:
        return None
    names = s.independent
    listed = ", ".join(names)
    return Finding(
        code="independent-condition",
        severity="critical",
        sentence=f"The error of {listed} depends on no field and on no unknown coefficient, so that no training can change it.",
        evidence={f"error_at_zero/{name}": _rms_at_zero(s, name) for name in names},
        confidence=0.99,
        prescriptions=(
            Prescription(
                f"look in {listed} for a detach(), numpy() or no_grad(), for a factor that is zero, or for a field that it was "
                "meant to use"
            ),
        ),
    )


def missing_condition(s: Statement) -> Finding | None:
    """A field is open however well the conditions are met, and not up to a constant beside other fields only."""
    open_fields = [k for k in s.freedom.open if not _harmless(s, k)]
    found = s.freedom.seen
    if not open_fields or found is None:
        return None
    k = max(open_fields, key=lambda k: float(found.fields[k]))
    field = s.problem.fields[k]
    x, deviation, free, place = _least_determined(s, k)
    constant = not s.freedom.early and above("constant", float(found.flat[k]))
    size = number(found.response) if found.response >= _PRECISION else f"less than {number(_PRECISION)}"
    if not any(spec.field == k for name in s.names for spec in s.problem.arguments[name]):
        what = f"No condition reads the field {field}, which is undetermined"
    elif all(s.problem[name].kind != "residual" for name in s.names):
        what = f"No condition is an equation in the domain, a @residual, so that the field {field} is undetermined there"
    elif constant:
        what = f"The conditions leave the field {field} undetermined by a constant, however well they are met"
    else:
        where = f", most of all at {place}" if place else ""
        what = (
            f"The conditions leave the field {field} undetermined{where}, however well they are met: one is missing, on a "
            f"boundary or at the start. Some changes of {field} bring about {size} of the errors that others "
            "of that size do"
        )
    if all(s.problem[name].kind != "residual" for name in s.names):
        to_do, place = "add the equation", ""
    else:
        to_do = f"give {field} at one point" if constant else f"add the condition that determines {field}"
    return Finding(
        code="wrong-problem",
        severity="critical",
        sentence=f"{what}.",
        evidence=_openness(found),
        arrays={"x": x.numpy(), "deviation": deviation.numpy(), "free": free.numpy()},
        confidence=clearly("open-fall", found.fall),
        prescriptions=(Prescription(to_do + (f", at {place}" if place and not constant else "")),),
    )


def gauge(s: Statement) -> Finding | None:
    """A field is free by a constant that no condition sees, beside fields that are determined."""
    fields = [s.problem.fields[k] for k in s.freedom.open if _harmless(s, k)]
    if not fields or s.freedom.seen is None:
        return None
    listed = ", ".join(fields)
    known = s.problem.gauge
    off = f"Where {listed} is compared with values from elsewhere, take the means off first."
    errors = f"Errors are measured{s.problem.up_to}." if all(name in known for name in fields) else off
    return Finding(
        code="gauge",
        severity="note",
        sentence=f"Every condition allows another constant in {listed}: no other field feels it, and no training determines "
        f"it. {errors}",
        evidence=_openness(s.freedom.seen),
        confidence=0.9,
        prescriptions=(),
    )


def false_statement(s: Statement) -> Finding | None:
    """The known solution violates a condition by more than a small step of the fields would mend."""
    violation = s.violation
    if not violation:
        return None
    worst = max(violation, key=lambda name: violation[name])
    if not above("exact", violation[worst]):
        return None
    return Finding(
        code="wrong-problem",
        severity="critical",
        sentence=f"The known solution does not satisfy the condition {worst}: to mend it, the solution would have to change by "
        f"{number(violation[worst])} of its size. The condition is wrong, or the solution is.",
        evidence={f"exact_error/{name}": value for name, value in violation.items()},
        confidence=clearly("exact", violation[worst]),
        prescriptions=(Prescription(f"check the signs and terms of the condition {worst} against the paper"),),
    )


def zero_alone(s: Statement) -> bool:
    """Whether zero satisfies every condition, and no other trial function does."""
    return s.homogeneous and s.views.linear and not s.freedom.open


def homogeneous(s: Statement) -> Finding | None:
    """Zero satisfies every condition, and is not what is meant."""
    if not s.homogeneous or (s.views.known is not None and not bool(s.views.known[0].any())):
        return None
    fields = " = ".join(s.problem.fields)
    only = zero_alone(s) and s.views.known is None  # then it is the solution, perhaps the one that is meant
    what = (
        "and no other function that was tried does"
        if only
        else "nothing asks for anything else, and a training that ends there has a loss of zero"
    )
    other = "" if s.views.known is None else " The known solution is another one."
    return Finding(
        code="trivial-solution",
        severity="note" if only else "critical",
        sentence=f"{fields} = 0 satisfies every condition exactly{',' if only else ':'} {what}.{other}",
        evidence={f"error_at_zero/{name}": _rms_at_zero(s, name) for name in s.names},
        confidence=0.95,
        prescriptions=(
            Prescription(
                "add the condition that sets the size of the solution: a value that is not zero, or an integral (through a "
                "further field whose derivative is the integrand)"
            ),
        ),
    )


def conflict(s: Statement) -> Finding | None:
    """No function satisfies all conditions, or two prescribe different values in a corner."""
    return _no_solution(s) or _corner(s)


def _no_solution(s: Statement) -> Finding | None:
    if s.contradiction is None:
        return None
    found, view = s.contradiction
    names = s.contradicting() or s.names
    residuals = [name for name in names if s.problem[name].kind == "residual"]
    even = [name for name in residuals if _one_sign(found.errors[view.spans[name]])]
    measured = [name for name in names if isinstance(s.problem[name].region, Measurements)]
    because = ""
    if even and not measured and len(names) > 1:
        others = " and ".join(name for name in names if name not in even)
        because = f" What remains of {even[0]} has one sign everywhere: its integral over the domain does not fit {others}."
    sure = "Without any one of them the others could be met." if len(names) > 1 and s.contradicting() else ""
    return Finding(
        code="conflict",
        severity="critical",
        sentence=f"No function satisfies {joined(names)} together: {percent(found.remaining)} of the root mean "
        f"square error of constants remains however many functions are tried. {sure}{because}".strip(),
        evidence={"contradiction": found.remaining, "contradiction_alone": found.alone}
        | {f"contradiction_share/{name}": part for name, part in found.parts.items()},
        confidence=clearly("contradiction", found.remaining),
        prescriptions=(Prescription(f"correct {joined(names, 'or')} so that they agree"),),
    )


def _corner(s: Statement) -> Finding | None:
    worst = None if s.homogeneous else next(iter(corners(s.problem, s.names)), None)
    if worst is None or not above("corner", worst.gap):
        return None
    one, other = worst.conditions
    place = ", ".join(f"{name} = {value:.4g}" for name, value in worst.place.items())
    return Finding(
        code="conflict",
        severity="warning",
        sentence=f"The conditions {one} and {other} disagree where they meet, at {place}: {one} asks for "
        f"{number(worst.values[0] + 0.0)}, {other} for {number(worst.values[1] + 0.0)}. No smooth "
        "function has both values, and errors beside that place stay large.",
        evidence={
            "corner_gap": worst.gap,
            f"corner_value/{one}": worst.values[0] + 0.0,
            f"corner_value/{other}": worst.values[1] + 0.0,
        },
        confidence=clearly("corner", worst.gap),
        prescriptions=(
            Prescription(f"let {one} and {other} agree at {place}, by a short ramp in one of them, or expect an error there"),
        ),
    )


def undetermined_coefficient(s: Statement) -> Finding | None:
    """A coefficient may have any value, and the fields make up for it."""
    names = tuple(list(s.problem.coefficients)[k] for k in s.coefficient_freedom.open)
    found = s.coefficient_freedom.seen
    if not names:
        return None
    return Finding(
        code="undetermined-coefficient",
        severity="critical",
        sentence=f"The conditions do not determine {joined(names)}: for every value there are fields that meet them as well.",
        evidence={} if found is None else _openness(found),
        confidence=0.9 if found is None else clearly("open-fall", found.fall),
        prescriptions=(Prescription(f"add measurements that depend on {joined(names)}, or give it as a number"),),
    )


# In the order of causes.
STATEMENT_RULES: Mapping[str, Callable[[Statement], Finding | None]] = MappingProxyType(
    {
        "independent-condition": independent_condition,
        "false-statement": false_statement,
        "missing-condition": missing_condition,
        "trivial-solution": homogeneous,
        "conflict": conflict,
        "undetermined-coefficient": undetermined_coefficient,
        "gauge": gauge,
    }
)
QUICK = ("independent-condition", "trivial-solution")  # a few evaluations of the operators


def _harmless(s: Statement, field: int) -> bool:
    """Whether a field is free by a constant only, and other fields are determined."""
    found = s.freedom.seen
    others = len(s.freedom.open) < len(s.problem.fields)
    return found is not None and others and not s.freedom.early and above("constant", float(found.flat[field]))


def _least_determined(s: Statement, field: int) -> tuple[Tensor, Tensor, Tensor, str]:
    """Points of the domain, posterior over prior deviation there, the freest function, and the face that is seen least."""
    found = s.freedom.seen
    assert found is not None
    space = s.linearizer.spaces[field]
    domain = s.problem.where.get(s.problem.fields[field], s.problem.domain)
    V = found.functions[field * space.size : (field + 1) * space.size]
    x = torch.as_tensor(domain.sample(_POINTS, "sobol", sampling.generator(0, "least determined")))

    def functions(points: Tensor) -> Tensor:
        return space.values(points) / space.deviations @ V

    deviation = functions(x).square().mean(1).sqrt()
    free = functions(x)[:, 0]
    free = free / free[free.abs().argmax()]
    faces = {place: float(functions(on_it).square().mean().sqrt()) for place, on_it in _places(domain, x).items()}
    place = max(faces, key=lambda face: faces[face])
    even = len(faces) > 1 and sorted(faces.values())[-2] > 0.7 * faces[place]
    return x, deviation / deviation.max(), free, "" if even else place


def _places(domain: Domain, x: Tensor) -> dict[str, Tensor]:
    """Points of every face of a box, those inside moved there; of other domains, of the parts of the boundary and the ends of
    time and parameters.
    """
    found = {}
    for axis, name in enumerate(domain.coordinates):
        for value in domain.bounds[axis] if domain.is_box or axis not in domain.shape_axes else ():
            found[f"{name} = {value:g}"] = x.clone()
            found[f"{name} = {value:g}"][:, axis] = value
    for name in [] if domain.is_box else dict.fromkeys(surface.name for surface in domain.surfaces):
        part = domain.boundary(name)
        if part.pieces:
            found[f"the part {name!r}"] = torch.as_tensor(
                part.sample(_POINTS, "sobol", sampling.generator(0, "least determined", name))
            )
    return found


def _openness(found: Open) -> dict[str, float]:
    evidence = {"least_response": found.response, "response_fall": found.fall}
    return evidence


def _one_sign(e: Tensor) -> bool:
    return float(e.mean().abs()) > _ONE_SIGN * float(e.abs().mean())


def _rms_at_zero(s: Statement, name: str) -> float:
    return float("nan") if s.views.zero is None else float(s.views.zero.start[s.views.zero.spans[name]].square().mean().sqrt())
