"""Rules about sizes: fields and coefficients that lie far from 1, in the user's units."""

from __future__ import annotations

from typing import Any

from pinntk._util.numbers import number
from pinntk.diagnostics._examination import Examination
from pinntk.diagnostics._finding import Finding, Prescription
from pinntk.diagnostics._judgment import failing, severity
from pinntk.diagnostics._prescriptions import by_ntk, gauss_newton, sets_loss_weights, solved
from pinntk.diagnostics._thresholds import above, below, clearly
from pinntk.nn._embedded import EmbeddedNetwork
from pinntk.nn._scaled import ScaledNetwork
from pinntk.ntk import traces
from pinntk.problem import field_problem


def unscaled_output(x: Examination) -> Finding | None:
    """A field is far from size 1, and the network has to stretch to it."""
    far = unscaled_fields(x)
    if not far or not _is_ill(x):
        return None
    sizes = {name: x.scales.size(name) for name in far}
    said = " and ".join(f"{name} is about {_about(*x.scales.fields[name])}" for name in far)
    return Finding(
        code="unscaled-output",
        severity=severity(x),
        sentence=f"By the conditions, {said}, and the network gives it without a scale: fresh weights make outputs of about 1, "
        "and small steps do not take them there.",
        evidence={f"field_size/{name}": size for name, size in sizes.items()}
        | {f"field_shift/{name}": x.scales.fields[name][0] for name in far}
        | {f"field_scale/{name}": x.scales.fields[name][1] for name in far},
        arrays={},
        confidence=max(clearly(*_beyond(size)) for size in sizes.values()),
        prescriptions=_scaled(x, far),
    )


def unscaled_fields(x: Examination) -> dict[str, tuple[float, float]]:
    """{field: (shift, scale)} of those whose size is far from 1, and that the network gives without a scale of its own."""
    far = x.scales.far
    if not far:
        return {}
    if isinstance(x.network, ScaledNetwork):
        met = x.network.constraint if isinstance(x.network, EmbeddedNetwork) else None
        brought = () if met is None else met.prescribed(x.problem)
        far = {name: (0.0 if name in brought else shift, scale) for name, (shift, scale) in far.items()}
        return {name: pair for name, pair in far.items() if name not in x.network.output_scales and _is_far(*pair)}
    return {name: pair for name, pair in far.items() if not _reaches(x, name)}


def _is_far(shift: float, scale: float) -> bool:
    return above("field-large", max(abs(shift), scale)) or below("field-small", max(abs(shift), scale))


def _reaches(x: Examination, field: str) -> bool:
    """Whether a network of the user's own has outputs of a field's size within a change of its parameters of about 1."""
    values = field_problem(x.problem)
    name = values.names[x.problem.fields.index(field)]
    like = next(iter(x.points.values()))
    rows = values.sample({name: 50}, method="sobol", dtype=like.dtype, device=like.device)[name]
    change = (traces(x.network, values, {name: rows})[name] / len(rows)) ** 0.5
    ratio = x.scales.size(field) / change if change else float("inf")
    return not (above("stretch", ratio) or below("shrink", ratio))


def _is_ill(x: Examination) -> bool:
    """Whether the run is failing, by its own estimate or by the known solution."""
    return failing(x) or (x.relative_error is not None and not below("error", x.relative_error))


def _beyond(size: float) -> tuple[str, float]:
    return ("field-large", size) if above("field-large", size) else ("field-small", size)


def _about(shift: float, scale: float) -> str:
    return number(scale) if abs(shift) < scale else f"{number(shift)} with a spread of {number(scale)}"


def _scaled(x: Examination, far: dict[str, tuple[float, float]]) -> tuple[Prescription, ...]:
    by_hand = ", ".join(f"{name} = {number(shift)} + {number(scale)} N_{name}" for name, (shift, scale) in far.items())
    if not isinstance(x.network, ScaledNetwork):
        return (Prescription(f"let the network return {by_hand}, or use other units, in which the field is about 1"),)
    kept = {**x.network.output_scales, **{name: list(pair) for name, pair in far.items()}}
    changes: dict[str, Any] = {"network.arguments.output_scales": kept}
    what = f"let the network give {by_hand}"
    scale = x.input_scale
    raw = scale is not None and (
        above("input-offset", scale.offset) or above("input-spread", scale.largest) or below("input-narrow", scale.smallest)
    )
    if raw and not x.network.config["normalize"]:
        changes["network.arguments.normalize"] = True
        what += ", and map every coordinate to mean 0 and standard deviation 1"
    if x.run is None:
        return (Prescription(what, changes),)
    if coefficients := _unscaled_coefficients(x):
        changes["training.coefficient_scales"] = coefficients
        what += f", and move {' and '.join(coefficients)} in steps of its own size"
    solver = Prescription(f"{what}, and train by Gauss-Newton", changes | gauss_newton(x.run))
    if solved(x.run):
        return (Prescription(what, changes), solver)
    balanced = sets_loss_weights(x.run.config["weighting"])  # or else conditions keep the weights of their units
    by_kernel = Prescription(f"{what}, and weigh conditions by NTK", changes | by_ntk(x.run))
    first = Prescription(what, changes) if balanced else by_kernel
    return (solver, first)  # one answer for all units, and where both were tried the better one


def unscaled_coefficient(x: Examination) -> Finding | None:
    """An unknown coefficient is far from where it stands, and its steps are those of a number of size 1."""
    values = {name: float(value.detach()) for name, value in x.problem.coefficients.items()}
    now = {name: abs(value) for name, value in values.items()}
    found = {
        name: size
        for name, size in _unscaled_coefficients(x).items()
        if not (now[name] and below("coefficient", max(size / now[name], now[name] / size)))
    }
    if not found:
        return None
    worst = max(found, key=lambda name: found[name] / (now[name] or 1.0))
    ratio = max(found[worst], now[worst]) / (min(found[worst], now[worst]) or 1e-300)
    return Finding(
        code="unscaled-coefficient",
        severity="critical" if x.trained else "warning",
        sentence=f"By the conditions, the size of the coefficient {worst} is about {number(found[worst])}, and it stands at "
        f"{number(values[worst])}: a step moves it by a learning rate, whatever its size.",
        evidence={f"coefficient_size/{name}": size for name, size in found.items()}
        | {f"coefficient_value/{name}": values[name] for name in found},
        arrays={},
        confidence=clearly("coefficient", ratio),
        prescriptions=_scaled_coefficients(x, found),
    )


def _unscaled_coefficients(x: Examination) -> dict[str, float]:
    """Those far from size 1 that the training does not move in sizes of their own, as it does by default."""
    given = {} if x.run is None else x.run.config["training"].get("coefficient_scales", {})
    return {name: size for name, size in x.scales.far_coefficients.items() if given is not None and name not in given}


def _scaled_coefficients(x: Examination, found: dict[str, float]) -> tuple[Prescription, ...]:
    said = " and ".join(f"{name} as {number(size)} times a coefficient of size 1" for name, size in found.items())
    changes = {"training.coefficient_scales": found}
    if x.run is None:
        return (Prescription(f"train {said}", changes),)
    solver = Prescription(f"train {said}, by Gauss-Newton", changes | gauss_newton(x.run))
    return (Prescription(f"train {said}", changes), *(() if solved(x.run) else (solver,)))
