"""The errors of conditions that share their points, from the fields' values and derivatives there."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pinntk.geometry import Faces, Part
from pinntk.problem import Condition, ForeignCondition, Integral, PeriodicPair, Problem
from pinntk.problem._arguments import ArgumentSpec
from pinntk.residuals._fields import AutogradFields, Fields, TaylorFields
from pinntk.residuals._foreign import foreign_errors
from pinntk.residuals._values import check_error


class OperatorError(ValueError):
    """A condition's operator raised an exception of its own."""


def taylor_errors(network: nn.Module, problem: Problem, names: list[str], rows: Tensor, tape: Any = None) -> dict[str, Tensor]:
    """Errors of conditions on shared points from one jet (two for a periodic pair of faces)."""
    basis = problem.basis(names)

    def coefficient(name: str, points: Tensor) -> Tensor:
        value = problem.coefficients[name]
        if tape is not None and value.requires_grad:
            return tape.per_point(value, len(points), 1, points)
        return value.to(points)

    return condition_errors(
        problem, names, rows, lambda points: TaylorFields(network, problem, points, basis, tape), coefficient
    )


def autograd_errors(network: nn.Module, problem: Problem, names: list[str], rows: Tensor) -> dict[str, Tensor]:
    """The same by nested reverse-mode autograd; errors of foreign conditions as their code computes them."""
    if isinstance(problem[names[0]], ForeignCondition):
        return foreign_errors(network, problem, names, rows)
    with torch.enable_grad():
        return condition_errors(
            problem,
            names,
            rows,
            lambda points: AutogradFields(network, problem, points),
            lambda name, points: problem.coefficients[name].to(points),
        )


def condition_errors(
    problem: Problem,
    names: list[str],
    rows: Tensor,
    fields: Callable[[Tensor], Fields],
    coefficient: Callable[[str, Tensor], Tensor],
) -> dict[str, Tensor]:
    """Errors of conditions on shared points, whatever computes the fields and holds the coefficients. For an integral, `fields`
    and `coefficient` are asked at the places of its quadrature, those of an error together.

    Raises TypeError for foreign ones, which have no operator to give fields to.
    """
    d = problem.domain.dimension
    region = problem[names[0]].region
    points, columns = region.spread(rows) if isinstance(region, Integral) else (rows[:, :d], rows[:, d:])

    def evaluate(points: Tensor) -> dict[str, Tensor]:
        values = fields(points)
        return {name: _error(problem, written(problem, name), values, points, columns, coefficient) for name in names}

    here = evaluate(points)
    if isinstance(region, Integral):
        return {name: region.total(values, rows) for name, values in here.items()}
    if not isinstance(region, PeriodicPair):
        return here
    there = evaluate(region.opposite(points))
    return {name: here[name] - there[name] for name in names}


def written(problem: Problem, name: str) -> Condition:
    """A condition with an operator. Raises TypeError for a foreign one."""
    condition = problem[name]
    if isinstance(condition, ForeignCondition):
        raise TypeError(
            f"condition {name!r} is foreign: its errors come from code that pinntk does not know, and this needs an operator "
            "in pinntk's language, such as @residual(domain) def pde(u_xx): ..."
        )
    return condition


def _error(
    problem: Problem, condition: Condition, fields: Fields, points: Tensor, columns: Tensor, coefficient: Callable
) -> Tensor:
    specs = problem.arguments[condition.name]
    arguments = {spec.argument: _argument(problem, condition, spec, fields, points, columns, coefficient) for spec in specs}
    try:  # on copies: an operator that works in place must not reach the points or the next condition
        error = condition.operator(**{name: value.clone() for name, value in arguments.items()})
    except Exception as failure:
        raise OperatorError(_blame(problem, condition, failure)) from failure
    check_error(condition.name, error, len(points))
    return error


def _blame(problem: Problem, condition: Condition, failure: Exception) -> str:
    """What failed, and on which line of the user's file."""
    code = getattr(condition.operator, "__code__", None)
    file = "" if code is None else code.co_filename
    lines = [frame.lineno for frame in traceback.extract_tb(failure.__traceback__) if file and frame.filename == file]
    place = f" ({Path(file).name}, line {lines[-1]})" if lines else ""
    head = f"condition {condition.name!r}{place}: {type(failure).__name__}: {str(failure).rstrip('.')}"
    if isinstance(failure, NameError):
        known = problem.vocabulary(condition).knows(failure.name or "")
        return f"{head}; give it to the operator as an argument: def {condition.name}({failure.name}, ...)" if known else head
    return f"{head}. Operators take and return torch tensors: use torch.sin, not math or numpy, and torch.where, not if"


def _argument(
    problem: Problem,
    condition: Condition,
    spec: ArgumentSpec,
    fields: Fields,
    points: Tensor,
    columns: Tensor,
    coefficient: Callable,
) -> Tensor:
    if spec.kind == "coordinate":
        return points[:, spec.axis]
    if spec.kind == "points":
        return points
    if spec.kind == "component":
        return _normals(condition, points)[:, spec.axis]
    if spec.kind == "column":
        return columns[:, spec.axis]
    if spec.kind == "coefficient":
        return coefficient(spec.argument, points)
    if spec.kind == "derivative":
        return fields.derivative(spec.field, spec.index)
    space = problem.domain.space
    if spec.kind == "laplacian":
        return fields.laplacian(spec.field, space)
    d = problem.domain.dimension
    slopes = [fields.derivative(spec.field, tuple(int(i == axis) for i in range(d))) for axis in space]
    gradient = torch.stack(slopes, 1)
    if spec.kind == "gradient":
        return gradient
    return (gradient * _normals(condition, points)[:, space]).sum(1)


def _normals(condition: Condition, points: Tensor) -> Tensor:
    assert isinstance(condition.region, (Faces, Part, Integral))  # the problem checks that there are normals
    return condition.region.normals(points.detach())
