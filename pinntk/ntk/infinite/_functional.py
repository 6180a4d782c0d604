"""Errors as linear functionals of the field: e_i = sum_s w[s, i] u_s(x_i) + what does not depend on u."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pinntk.problem import Points, Problem
from pinntk.residuals import AutogradFields, Fields, TaylorFields
from pinntk.residuals._conditions import condition_errors
from pinntk.taylor import Basis, Jet, UnsupportedOperationError

Function = nn.Module | Callable[[Tensor, Basis], Tensor]  # a network; or what gives Taylor coefficients [S, n, fields] itself

_PROBE = 0.7  # any other field than zero tells whether an operator is linear


class NotLinearError(ValueError):
    """A condition's operator is not linear in the fields, and no function was given at which to linearize it."""

    def __init__(self, condition: str):
        super().__init__(
            f"condition {condition!r} is not linear in the fields, so its kernel depends on the function at which it is "
            "linearized; give at=, a network or 'exact' for the problem's exact solution"
        )
        self.condition = condition


@dataclass(frozen=True, eq=False)
class Functional:
    """One condition's errors, linear in the Taylor coefficients of the fields.

    basis: which coefficients
    terms: (points (n, d), weights [S, n, fields]), two of them for a periodic pair of faces; n q points for an integral by q
        places, those of an error together
    coefficients: (n, q) derivatives by the problem's coefficients
    start: (n,) the errors at the function at which it is linearized
    """

    basis: Basis
    terms: tuple[tuple[Tensor, Tensor], ...]
    coefficients: Tensor
    start: Tensor


class _Given:
    """Fields that are given by their Taylor coefficients, as leaves of the autograd graph."""

    def __init__(self, jet: Jet):
        self.jet = jet

    def derivative(self, field: int, index: tuple[int, ...]) -> Tensor:
        return self.jet.derivative(index)[:, field]

    def laplacian(self, field: int, axes: tuple[int, ...]) -> Tensor:
        return self.jet.laplacian(axes)[:, field]


class Exact(nn.Module):
    """The problem's exact solution, as a network without parameters."""

    def __init__(self, problem: Problem):
        super().__init__()
        self.problem = problem

    def forward(self, x: Tensor) -> Tensor:
        if isinstance(x, Jet):  # formulas may do what jets do not know
            raise UnsupportedOperationError("the exact solution")
        return self.problem.exact_values(x)


def functionals(problem: Problem, points: Points, at: Function | None = None) -> dict[str, Functional]:
    """{condition: Functional} at checked float64 points.

    at: the function at which a nonlinear operator is linearized; None for u = 0, which only linear operators allow

    Raises NotLinearError for a nonlinear operator without `at`.
    """
    if isinstance(at, nn.Module) and next(at.parameters(), None) is not None:
        at = deepcopy(at).double()
    return {name: _functional_of(problem, name, rows, at) for name, rows in points.items()}


def _functional_of(problem: Problem, name: str, rows: Tensor, at: Function | None) -> Functional:
    basis = problem.basis([name])
    start, terms, coefficients = _linearize(problem, name, rows, basis, at, 0.0)
    if at is None:
        _, probed, _ = _linearize(problem, name, rows, basis, None, _PROBE)
        for (_, here), (_, there) in zip(terms, probed, strict=True):
            if (here - there).abs().max() > 1e-12 * here.abs().max():
                raise NotLinearError(name)
    return Functional(basis, terms, coefficients, start)


def _linearize(
    problem: Problem, name: str, rows: Tensor, basis: Basis, at: Function | None, constant: float
) -> tuple[Tensor, tuple[tuple[Tensor, Tensor], ...], Tensor]:
    leaves: list[tuple[Tensor, Tensor]] = []
    unknown: dict[str, Tensor] = {}

    def fields(points: Tensor) -> _Given:
        if at is None:
            data = torch.full((basis.size, len(points), len(problem.fields)), constant).to(points)
        elif isinstance(at, nn.Module):
            data = _taylor_coefficients(at, problem, points, basis)
        else:
            data = at(points, basis).detach()
        leaves.append((points, data.requires_grad_()))
        with torch.enable_grad():
            return _Given(Jet(basis, leaves[-1][1]))

    def coefficient(key: str, points: Tensor) -> Tensor:
        if key not in unknown:
            unknown[key] = problem.coefficients[key].detach().to(points).expand(len(points)).clone().requires_grad_()
        return unknown[key]

    with torch.enable_grad():
        e = condition_errors(problem, [name], rows, fields, coefficient)[name]
        inputs = [leaf for _, leaf in leaves] + list(unknown.values())
        found = torch.autograd.grad(e.sum(), inputs, allow_unused=True) if e.requires_grad else [None] * len(inputs)
    slopes = [torch.zeros_like(leaf) if slope is None else slope for leaf, slope in zip(inputs, found, strict=True)]
    terms = tuple((points, slope) for (points, _), slope in zip(leaves, slopes, strict=False))
    sums = [slope.view(len(rows), -1).sum(1) for slope in slopes[len(leaves) :]]
    by_coefficient = dict(zip(unknown, sums, strict=True))
    columns = [by_coefficient.get(key, torch.zeros(len(rows)).to(rows)) for key in problem.coefficients]
    stacked = torch.stack(columns, 1) if columns else rows.new_zeros(len(rows), 0)
    return e.detach(), terms, stacked


def _taylor_coefficients(function: nn.Module, problem: Problem, points: Tensor, basis: Basis) -> Tensor:
    """[S, n, fields] of a network at points, detached."""
    try:
        fields: Fields = TaylorFields(function, problem, points, basis)
    except UnsupportedOperationError:
        fields = AutogradFields(function, problem, points)
    columns = range(len(problem.fields))
    parts = []
    for index in basis.indices:
        ((_, factor),) = basis.derivative_terms(index)
        parts.append(torch.stack([fields.derivative(field, index) / factor for field in columns], 1))
    if basis.laplacian_axes:
        parts.append(torch.stack([fields.laplacian(field, basis.laplacian_axes) for field in columns], 1))
    return torch.stack(parts).detach()
