"""A coarse solution of a problem, in a few polynomials, for the sizes of what is in it. No network has part in it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import hypot, inf, isfinite, sqrt

import torch
from torch import Tensor

from pinntk.geometry import _sampling as sampling
from pinntk.problem import Points, Problem
from pinntk.residuals._legendre import Legendre
from pinntk.residuals._linear import Key, Linear, linearize

Unknown = int | str  # a field by its number, a coefficient by its name

# How a field's numbers fall with the degree: in what continues prescribed values, at the domain's lengths, in the solution.
_FLAT, _SMOOTH, _ROUGH = 1 / 10, 1 / 3, 1 / 1.5
_RIDGE = 1e-4  # of an unknown's size: what the conditions leave open stays where it was at the start
_STEPS, _HALVINGS = 8, 6  # of Gauss-Newton; of each, the lengths that are tried
_SETTLED = 1e-3  # relative change of the solution, or its misfit
_INSIDE = 512  # points of a domain that is no box
_ZERO = 1e-4  # of its expected size: a field that small is zero, as far as a coarse solution can tell


@dataclass(frozen=True, eq=False)
class State:
    """Fields, (fields, m) numbers in the basis, and coefficients by name."""

    fields: Tensor
    coefficients: Mapping[str, float]


class _Fields:
    """The fields of a state, from functions that are computed at a condition's points once."""

    def __init__(self, system: System, state: State, points: Tensor, place: tuple[str, int]):
        self._system, self._state, self._points, self._place = system, state, points, place

    def derivative(self, field: int, index: tuple[int, ...]) -> Tensor:
        return self._system.design((field, index, ()), self._points, self._place) @ self._state.fields[field]

    def laplacian(self, field: int, axes: tuple[int, ...]) -> Tensor:
        return self._system.design((field, (), axes), self._points, self._place) @ self._state.fields[field]


@dataclass(eq=False)
class System:
    """A problem's conditions on a few points each, for fields in the basis.

    data: {condition: rms error at zero}, 0 where that is rounding
    """

    problem: Problem
    points: Points
    basis: Legendre
    data: Mapping[str, float]
    _designs: dict[tuple, Tensor] = field(default_factory=dict)

    def design(self, key: Key, points: Tensor, place: tuple[str, int]) -> Tensor:
        """(n, m): what a term takes of every function at a condition's points; at those of the other face, place 1."""
        _, index, axes = key
        if (place, index, axes) not in self._designs:
            found = self.basis.laplacian(points, axes) if axes else self.basis.derivative(points, index)
            self._designs[place, index, axes] = found
        return self._designs[place, index, axes]

    def zero(self) -> State:
        like = next(iter(self.points.values()))
        start = {name: float(value.detach()) for name, value in self.problem.coefficients.items()}
        return State(like.new_zeros(len(self.problem.fields), len(self.basis)), start)

    def linear(self, name: str, state: State) -> Linear:
        """A condition about a state."""
        places = iter(((name, 0), (name, 1)))
        return linearize(
            self.problem,
            name,
            self.points[name],
            lambda points: _Fields(self, state, points, next(places)),
            state.coefficients,
        )

    def columns(self, name: str, linear: Linear) -> dict[Unknown, Tensor]:
        """{unknown: (n, m), of a coefficient (n, 1)}: the condition's errors by the unknown's numbers."""
        found: dict[Unknown, Tensor] = {}
        for term in linear.terms:
            part = term.slope[:, None] * self.design(term.key, term.points, (name, term.place))
            part = part.unflatten(0, (len(linear.errors), -1)).sum(1)
            found[term.key[0]] = found[term.key[0]] + part if term.key[0] in found else part
        return found | {key: slope[:, None] for key, slope in linear.coefficients.items()}

    def spread(self, unknown: Unknown, fall: float) -> Tensor:
        """How large an unknown's numbers are, (m,), falling by this factor a degree; the sum of squares is 1."""
        if isinstance(unknown, str):
            return torch.ones(1, dtype=torch.float64, device=self.basis.degrees.device)
        found = fall ** self.basis.degrees.sum(1).double()
        return found / found.norm()

    def numbers(self, state: State, unknown: Unknown) -> Tensor:
        """An unknown's numbers, (m,); a coefficient's distance from where it starts, (1,)."""
        if isinstance(unknown, int):
            return state.fields[unknown]
        return state.fields.new_tensor([state.coefficients[unknown] - self.zero().coefficients[unknown]])

    def size(self, state: State, unknown: Unknown) -> float:
        """Root mean square of a field over the domain; a coefficient's distance from where it starts."""
        if isinstance(unknown, str) or self.problem.domain.is_box:
            return float(self.numbers(state, unknown).norm())
        return hypot(*self.moments(state.fields[unknown]))

    def moments(self, numbers: Tensor) -> tuple[float, float]:
        """Mean and standard deviation of a field with these numbers over the domain."""
        if self.problem.domain.is_box:
            return float(numbers[0]), float(numbers[1:].norm())
        values = self._inside @ numbers
        return float(values.mean()), float(values.std())

    @cached_property
    def _inside(self) -> Tensor:
        """The functions at points of a domain that is no box: outside of it they may be large."""
        domain, like = self.problem.domain, next(iter(self.points.values()))
        rows = domain.sample(_INSIDE, "sobol", sampling.generator(0, "coarse", "inside"))
        return self.basis.derivative(torch.as_tensor(rows).to(like), (0,) * domain.dimension)


def rms(values: Tensor) -> float:
    return float(values.square().mean().sqrt())


def balanced(
    response: Mapping[str, Mapping[Unknown, float]], data: Mapping[str, float], known: Mapping[Unknown, float]
) -> dict[Unknown, float]:
    """Sizes of unknowns with which data meet their match; none of an unknown that no data reach.

    response: {condition: {unknown: error that it makes at size 1}}; data: {condition: error at zero}; known: sizes that stay

    Conditions that lack the fewest sizes come first: one with data and a single unknown gives that unknown's size (of several,
    the largest counts), and those with known sizes pass them on.
    """
    sizes = dict(known)
    while True:
        found: dict[Unknown, float] = {}
        fewest = inf
        for name, gains in response.items():
            asked = {key: gain for key, gain in gains.items() if gain > 0}
            missing = [key for key in asked if key not in sizes]
            size = max([data[name], *(asked[key] * sizes[key] for key in asked if key in sizes)])
            if not missing or not size > 0 or len(missing) > fewest:
                continue
            if len(missing) < fewest:
                fewest, found = len(missing), {}
            for key in missing:
                found[key] = max(found.get(key, 0.0), size / asked[key])
        if not found:
            return sizes
        sizes |= found


@dataclass(frozen=True, eq=False)
class Solution:
    """A state and the conditions about it.

    columns: {condition: {unknown: errors by its numbers}}; response: {condition: {unknown: error that it makes at size 1}}
    sizes: of unknowns, as far as data reach them; data: {condition: error at zero}
    """

    state: State
    linear: Mapping[str, Linear]
    columns: Mapping[str, Mapping[Unknown, Tensor]]
    response: Mapping[str, Mapping[Unknown, float]]
    sizes: Mapping[Unknown, float]
    data: Mapping[str, float]

    @cached_property
    def conditions(self) -> dict[str, float]:
        """{condition: rms of the errors that the unknowns make at their sizes, and of the data}."""
        return self.conditions_at(self.sizes)

    def conditions_at(self, sizes: Mapping[Unknown, float]) -> dict[str, float]:
        """The same at other sizes; an unknown without one counts for nothing."""
        made = {name: [gain * sizes.get(key, 0.0) for key, gain in gains.items()] for name, gains in self.response.items()}
        return {name: hypot(*errors, self.data[name]) for name, errors in made.items()}

    @cached_property
    def misfit(self) -> dict[str, float]:
        """{condition: its error over its size}."""
        return {name: rms(self.linear[name].errors) / size for name, size in self.conditions.items() if size > 0}


def about(system: System, state: State, known: Mapping[Unknown, float]) -> Solution | None:
    """The conditions about a state; None where they are no numbers. Sizes are those of the state where it has any, then those
    known before, then what balances the data.
    """
    linear = {name: system.linear(name, state) for name in system.points}
    for part in linear.values():
        values = [part.errors, *(term.slope for term in part.terms), *part.coefficients.values()]
        if not all(bool(value.isfinite().all()) for value in values):
            return None
    columns = {name: system.columns(name, part) for name, part in linear.items()}
    response = {
        name: {key: float((part * system.spread(key, _SMOOTH)).square().sum(1).mean().sqrt()) for key, part in parts.items()}
        for name, parts in columns.items()
    }
    sizes = balanced(response, system.data, known)
    has = {key: system.size(state, key) for key in sizes}
    sizes = {key: has[key] if has[key] > _ZERO * size else size for key, size in sizes.items()}
    return Solution(state, linear, columns, response, sizes, system.data)


def solve(system: System) -> tuple[Solution, Solution] | None:
    """The coarse solution, and the fit of the conditions on values alone that it starts from; None where errors at zero are no
    numbers.
    """
    zero = about(system, system.zero(), {})
    if zero is None:
        return None
    fit = about(system, _target(system, zero, _prescribing(system, zero), _FLAT), {}) or zero
    solution = fit
    for _ in range(_STEPS):
        after = _search(system, solution, _target(system, solution, system.points, _ROUGH))
        if after is None:
            break
        moved, solution = _apart(solution.state, after.state), after
        if moved < _SETTLED or max(solution.misfit.values(), default=0.0) < _SETTLED:
            break
    return solution, fit


def _prescribing(system: System, zero: Solution) -> list[str]:
    """Conditions on values alone, of fields of which one at least has data."""
    asked = {name: set(zero.columns[name]) for name, part in zero.linear.items() if part.of_values}
    given = set().union(*(fields for name, fields in asked.items() if system.data[name] > 0))
    return [name for name, fields in asked.items() if fields & given]


def _target(system: System, solution: Solution, names: Collection[str], fall: float) -> State:
    """Where the linearized errors of these conditions are least, in the sizes of conditions and unknowns; close to zero, and
    smooth, where they leave it open.
    """
    spread = _spread(system, solution, fall)
    A, b = _equations(system, solution, names, spread)
    z, fault = torch.linalg.solve_ex(_normal(A), A.T @ b)
    if fault or not z.isfinite().all():
        return solution.state
    start = system.zero()
    fields, coefficients = torch.zeros_like(solution.state.fields), dict(start.coefficients)
    for (key, size), part in zip(spread.items(), z.split([len(size) for size in spread.values()]), strict=True):
        if isinstance(key, int):
            fields[key] = part * size
        else:
            coefficients[key] += float(part * size)
    return State(fields, coefficients)


def _spread(system: System, solution: Solution, fall: float) -> dict[Unknown, Tensor]:
    """How large the numbers of each unknown are that data reach."""
    return {key: size * system.spread(key, fall) for key, size in solution.sizes.items()}


def _equations(
    system: System, solution: Solution, names: Collection[str], spread: Mapping[Unknown, Tensor]
) -> tuple[Tensor, Tensor]:
    """A (n, p), b (n,) of A z = b for numbers z without units, each condition in its own size, with one vote."""
    zero = solution.state.fields.new_zeros
    rows, right = [zero(0, sum(map(len, spread.values())))], [zero(0)]
    for name in names:
        if solution.conditions[name] > 0:
            e, columns = solution.linear[name].errors, solution.columns[name]
            parts = [columns[key] if key in columns else zero(len(e), len(size)) for key, size in spread.items()]
            here = sum((part @ system.numbers(solution.state, key) for part, key in zip(parts, spread, strict=True)), 0 * e)
            weight = 1 / (solution.conditions[name] * sqrt(len(e)))
            rows.append(weight * torch.cat([part * size for part, size in zip(parts, spread.values(), strict=True)], 1))
            right.append(weight * (here - e))
    return torch.cat(rows), torch.cat(right)


def _normal(A: Tensor) -> Tensor:
    """A^T A + ridge^2."""
    K = A.T @ A
    K.diagonal().add_(_RIDGE**2)
    return K


def freedom(system: System, solution: Solution) -> dict[str, float]:
    """Which share of its size the conditions leave each coefficient to move in, 0 to 1; 1 where no data reach it."""
    spread = _spread(system, solution, _ROUGH)
    A, _ = _equations(system, solution, system.points, spread)
    left = _RIDGE * torch.linalg.inv(_normal(A)).diagonal().clamp(min=0).sqrt()
    parts = dict(zip(spread, left.split([len(size) for size in spread.values()]), strict=True))
    return {key: float(parts[key]) if key in parts else 1.0 for key in system.problem.coefficients}


def _search(system: System, solution: Solution, target: State) -> Solution | None:
    """The first state on the way to the target, halving it, whose errors are smaller; None where none is."""

    def merit(other: Solution) -> float:
        sizes = solution.conditions.items()
        value = sum((rms(other.linear[name].errors) / size) ** 2 for name, size in sizes if size > 0)
        return value if isfinite(value) else inf

    a, b = solution.state, target
    for halving in range(_HALVINGS):
        share = 0.5**halving
        coefficients = {key: value + share * (b.coefficients[key] - value) for key, value in a.coefficients.items()}
        trial = about(system, State(torch.lerp(a.fields, b.fields, share), coefficients), solution.sizes)
        if trial is not None and merit(trial) < merit(solution):
            return trial
    return None


def _apart(a: State, b: State) -> float:
    """The largest relative change of a field or a coefficient."""
    fields = [float((x - y).norm() / y.norm()) for x, y in zip(a.fields, b.fields, strict=True) if y.norm() > 0]
    numbers = [abs(a.coefficients[key] - value) / abs(value) for key, value in b.coefficients.items() if value]
    return max([*fields, *numbers], default=0.0)
