"""Errors of a problem's conditions on points: the Taylor engine, or nested reverse-mode autograd where it has no rule."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor, nn

from pinntk._util.precision import empty_like, without_autocast
from pinntk._util.warn import warn_user
from pinntk.problem import Condition, PeriodicPair, Points, Problem
from pinntk.problem._arguments import ArgumentSpec
from pinntk.problem._coordinates import check_coordinates
from pinntk.problem._domain import as_rows
from pinntk.residuals._fields import AutogradFields, Fields, TaylorFields
from pinntk.residuals._values import check_error
from pinntk.taylor import DependentPointsError, UnsupportedOperationError

# Networks known to need nested autograd for their derivatives, or for their kernels alone; each is warned of once.
_without_rule: WeakSet[nn.Module] = WeakSet()
_without_factors: WeakSet[nn.Module] = WeakSet()


class OperatorError(ValueError):
    """A condition's operator raised an exception of its own."""


@without_autocast
def errors(network: nn.Module, problem: Problem, points: Points, method: str = "auto") -> dict[str, Tensor]:
    """The error vector e of every condition in `points`: {name: (n,)}, differentiable in the network's parameters.

    points: {condition name: (n, d)}, tensors or numpy arrays; moved to the network's dtype and device
    method: "taylor" (one forward pass of jets), "autograd" (nested reverse mode), or "auto": taylor, and autograd with
        a warning, once for each network, where an operation has no Taylor rule

    Raises ValueError for a wrong shape of the network's or an operator's result, TypeError for points that are no numbers,
    DependentPointsError for a network that mixes points.

    >>> import pinntk
    >>> problem = pinntk.load("poisson1d")
    >>> network = pinntk.nn.MLP(problem, width=8, depth=1)
    >>> points = problem.sample(residual=5, boundary=2, seed=0)
    >>> {name: tuple(e.shape) for name, e in pinntk.errors(network, problem, points).items()}
    {'poisson': (5,), 'ends': (2,)}
    """
    if method not in ("auto", "taylor", "autograd"):
        raise ValueError(f"method={method!r}; use 'auto', 'taylor' or 'autograd'")
    given, points = points, to_network(network, points)
    for name, rows in points.items():
        check_coordinates(problem.domain, name, given[name], rows.dtype)
    result: dict[str, Tensor] = {}
    for names in groups(problem, points):
        rows = points[names[0]]
        if method == "autograd" or (method == "auto" and network in _without_rule):
            result |= autograd_group(network, problem, names, rows)
            continue
        try:
            result |= taylor_group(network, problem, names, rows)
        except (UnsupportedOperationError, DependentPointsError) as error:
            if method == "taylor":
                raise
            warn_fallback(network, without_mixing(network, problem, names, rows, error))
            result |= autograd_group(network, problem, names, rows)
    return {name: result[name] for name in points}


def without_mixing(
    network: nn.Module,
    problem: Problem,
    names: list[str],
    rows: Tensor,
    error: UnsupportedOperationError | DependentPointsError,
) -> UnsupportedOperationError:
    """What a network needs that jets cannot follow. Jets count points along dimension 0 and suspect what works along it: nested
    autograd of a few points together and by themselves decides whether points depend on each other; `error` is raised if so."""
    if isinstance(error, UnsupportedOperationError):
        return error
    few = rows[: min(5, len(rows))]
    together = autograd_group(network, problem, names, few)
    for i in range(len(few)):
        for name, alone in autograd_group(network, problem, names, few[i : i + 1]).items():
            scale = together[name].detach().abs().max() + alone.detach().abs().max() + 1
            if not (together[name][i] - alone[0]).abs() <= torch.finfo(alone.dtype).eps ** 0.5 * scale:
                raise error
    return UnsupportedOperationError("an operation along dimension 0", f"has no Taylor rule ({error}; but points stay apart)")


def has_factors(network: nn.Module) -> bool:
    """False once a network was found whose Jacobian does not factor."""
    return network not in _without_factors and network not in _without_rule


def warn_fallback(network: nn.Module, error: UnsupportedOperationError) -> None:
    """Remembers that the network needs nested autograd, and says so the first time."""
    _warn_once(
        network,
        _without_rule,
        f"{error}; derivatives of {type(network).__name__} now come from nested reverse-mode autograd, which is as exact, but "
        "each order of differentiation costs 2 to 3 times the one before, and kernels are read from its graph",
    )


def warn_no_factors(network: nn.Module, error: UnsupportedOperationError) -> None:
    """Remembers that the network's kernels come from the autograd graph of its errors, and says so the first time."""
    _warn_once(
        network,
        _without_factors,
        f"{error}; kernels of {type(network).__name__} are now read from the graph of nested reverse-mode autograd, as exact, "
        "but slower",
    )


def _warn_once(network: nn.Module, known: WeakSet[nn.Module], message: str) -> None:
    if network not in known:
        known.add(network)
        warn_user(message)


def to_network(network: nn.Module, points: Points) -> dict[str, Tensor]:
    """Points in the network's dtype and on its device; a tensor shared by conditions stays shared."""
    like = empty_like(network)
    moved: dict[int, Tensor] = {}
    for name, rows in points.items():
        if id(rows) not in moved:
            given = as_rows(name, rows)
            moved[id(rows)] = given if like is None else given.to(like.device, like.dtype)
    return {name: moved[id(rows)] for name, rows in points.items()}


def groups(problem: Problem, points: Points) -> list[list[str]]:
    """Names of conditions that share one tensor of points, and so one pass of the network."""
    by_tensor: dict[tuple, list[str]] = {}
    for name, rows in points.items():
        region = problem[name].region  # a pair of faces moves its points; those of another pair move elsewhere
        by_tensor.setdefault((id(rows), region if isinstance(region, PeriodicPair) else None), []).append(name)
    return list(by_tensor.values())


def taylor_group(network: nn.Module, problem: Problem, names: list[str], rows: Tensor, tape: Any = None) -> dict[str, Tensor]:
    """Errors of conditions on shared points from one jet (two for a periodic pair of faces)."""
    basis = problem.basis(names)

    def coefficient(name: str, points: Tensor) -> Tensor:
        value = problem.coefficients[name]
        if tape is not None and value.requires_grad:
            return tape.per_point(value, len(points), 1, points)
        return value.to(points)

    return group_errors(problem, names, rows, lambda points: TaylorFields(network, problem, points, basis, tape), coefficient)


def autograd_group(network: nn.Module, problem: Problem, names: list[str], rows: Tensor) -> dict[str, Tensor]:
    """The same by nested reverse-mode autograd."""
    with torch.enable_grad():
        return group_errors(
            problem,
            names,
            rows,
            lambda points: AutogradFields(network, problem, points),
            lambda name, points: problem.coefficients[name].to(points),
        )


def group_errors(
    problem: Problem,
    names: list[str],
    rows: Tensor,
    fields: Callable[[Tensor], Fields],
    coefficient: Callable[[str, Tensor], Tensor],
) -> dict[str, Tensor]:
    """Errors of conditions on shared points, whatever computes the fields and holds the coefficients."""
    d = problem.domain.dimension
    points, columns = rows[:, :d], rows[:, d:]

    def evaluate(points: Tensor) -> dict[str, Tensor]:
        values = fields(points)
        return {name: _error(problem, problem[name], values, points, columns, coefficient) for name in names}

    here = evaluate(points)
    region = problem[names[0]].region
    if not isinstance(region, PeriodicPair):
        return here
    there = evaluate(region.opposite(points))
    return {name: here[name] - there[name] for name in names}


def _error(
    problem: Problem, condition: Condition, fields: Fields, points: Tensor, columns: Tensor, coefficient: Callable
) -> Tensor:
    specs = problem.arguments[condition.name]
    arguments = {spec.argument: _argument(problem, condition, spec, fields, points, columns, coefficient) for spec in specs}
    try:  # on copies: an operator that works in place must not reach the points or the next condition
        error = condition.operator(**{name: value.clone() for name, value in arguments.items()})
    except Exception as failure:
        raise OperatorError(_blame(condition, failure)) from failure
    check_error(condition.name, error, len(points))
    return error


def _blame(condition: Condition, failure: Exception) -> str:
    """What failed, and on which line of the user's file."""
    code = getattr(condition.operator, "__code__", None)
    lines = [
        frame.lineno for frame in traceback.extract_tb(failure.__traceback__) if code and frame.filename == code.co_filename
    ]
    place = f" ({Path(code.co_filename).name}, line {lines[-1]})" if lines else ""
    return (
        f"condition {condition.name!r}{place}: {type(failure).__name__}: {failure}. Operators take and return torch tensors: "
        "use torch.sin, not math or numpy, and torch.where, not if"
    )


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
    return (gradient * condition.region.normals(points)[:, space]).sum(1)
