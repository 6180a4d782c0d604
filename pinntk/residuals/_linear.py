"""A condition's errors and how they depend, point by point, on each thing that its operator takes of the fields."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from pinntk.problem import Problem
from pinntk.residuals._conditions import condition_errors
from pinntk.residuals._fields import Fields

Key = tuple[int, tuple[int, ...], tuple[int, ...]]  # a field, its derivative's multi-index, the axes of a Laplacian


@dataclass(frozen=True, eq=False)
class Term:
    """One derivative of one field in an error: de / d(D u) beside D u itself, at the points where it is taken.

    key: (field, multi-index, ()), or (field, (), axes) for a Laplacian
    place: 0, or 1 on the other face of a periodic condition
    points (n, d), value (n,), slope (n,); of an integral (n q, d), (n q,) and (n q,), the q places of an error together
    """

    key: Key
    place: int
    points: Tensor
    value: Tensor
    slope: Tensor


@dataclass(frozen=True, eq=False)
class Linear:
    """errors (n,); terms of the fields; slopes (n,) by coefficient, of those that the operator takes."""

    errors: Tensor
    terms: tuple[Term, ...]
    coefficients: Mapping[str, Tensor]

    @property
    def of_values(self) -> bool:
        """Whether the operator takes nothing but values of fields."""
        return not self.coefficients and all(term.key[1] and not any(term.key[1]) for term in self.terms)


class _Leaves:
    """Fields whose values and derivatives are leaves of the autograd graph, one for each that is asked for."""

    def __init__(self, fields: Fields, points: Tensor):
        self.points, self._fields = points, fields
        self.known: dict[Key, Tensor] = {}

    def derivative(self, field: int, index: tuple[int, ...]) -> Tensor:
        return self._leaf((field, index, ()), lambda: self._fields.derivative(field, index))

    def laplacian(self, field: int, axes: tuple[int, ...]) -> Tensor:
        return self._leaf((field, (), axes), lambda: self._fields.laplacian(field, axes))

    def _leaf(self, key: Key, value: Callable[[], Tensor]) -> Tensor:
        if key not in self.known:
            self.known[key] = value().detach().clone().requires_grad_()
        return self.known[key]


def linearize(
    problem: Problem, name: str, rows: Tensor, fields: Callable[[Tensor], Fields], coefficients: Mapping[str, float]
) -> Linear:
    """The errors of one condition on its points (n, columns), and their slopes by what the operator takes.

    fields: gives the fields at points, about which it is linearized; coefficients: likewise, by name

    An operator acts point by point, so one backward pass of the sum of errors has all slopes.
    """
    leaves: list[_Leaves] = []
    unknown: dict[str, Tensor] = {}

    def here(points: Tensor) -> _Leaves:
        leaves.append(_Leaves(fields(points), points))
        return leaves[-1]

    def coefficient(key: str, points: Tensor) -> Tensor:
        if key not in unknown:
            unknown[key] = points.new_full((len(points),), coefficients[key]).requires_grad_()
        return unknown[key]

    with torch.enable_grad():
        e = condition_errors(problem, [name], rows, here, coefficient)[name]
        taken = [(key, place, part.points, leaf) for place, part in enumerate(leaves) for key, leaf in part.known.items()]
        inputs = [*(leaf for *_, leaf in taken), *unknown.values()]
        found = torch.autograd.grad(e.sum(), inputs, allow_unused=True) if e.requires_grad else [None] * len(inputs)
    slopes = [torch.zeros_like(leaf) if slope is None else slope for leaf, slope in zip(inputs, found, strict=True)]
    terms = tuple(
        Term(key, place, points, leaf.detach(), slope) for (key, place, points, leaf), slope in zip(taken, slopes, strict=False)
    )
    by_coefficient = [slope.view(len(e), -1).sum(1) for slope in slopes[len(taken) :]]
    return Linear(e.detach(), terms, dict(zip(unknown, by_coefficient, strict=True)))
