"""Characteristic sizes of fields, conditions and coefficients, from the problem alone."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from math import hypot, isfinite
from weakref import WeakKeyDictionary

import torch

from pinntk._util.randomness import fork
from pinntk.problem import Measurements, Points, Problem
from pinntk.residuals._coarse import Solution, System, freedom, rms, solve
from pinntk.residuals._evaluate import errors
from pinntk.residuals._fields import Zero
from pinntk.residuals._legendre import Legendre

LARGE = 10.0  # a network of fresh weights has outputs of about 1, and Adam at 1e-3 takes 10^4 steps to move a bias by 10
SMALL = 1e-3  # a fresh network is then a thousand times too large; at 0.01 (Kovasznay's v at Re 400) all is well
ROUGH = 0.5  # misfit up to which a coarse solution gives the order of magnitude; beyond, the values alone do
RESOLVED = 0.05  # misfit up to which a small size is believed: a solution that grows from small data shows in its misfit
_POINTS = {"residual": 200, "data": 200}  # of a condition; of the others:
_FACE_POINTS = 64
_ROUNDING = 0.1  # relative change of data from float64 to float32 by which they are rounding, as sin(2 pi x) is at x = 1
_FREE = 0.1  # of a coefficient's size: left to move in that, its value comes from where it starts
_NONE = 0.01  # of the size with which its term matches the others: what a coarse solution tells from no such term
_LEAST_SCALE = 0.01  # of a field's shift: what a coarse solution tells from a constant

_known: WeakKeyDictionary[Problem, tuple[tuple, Scales]] = WeakKeyDictionary()


@dataclass(frozen=True)
class Scales:
    """Sizes of what is in a problem, in its own units, whatever network is to solve it.

    fields: {field: (shift, scale)}: over the domain it has about this mean and this standard deviation; two digits
    conditions: {condition: rms of what its terms and its data are at these sizes}
    coefficients: {coefficient: size}
    open: fields and coefficients whose size the conditions leave open, as far as can be seen: 1, or where a coefficient starts
    misfit: the largest error of the coarse solution that this comes from, over its condition's size; above 0.5 the conditions
        on values alone were asked

    >>> Scales({"T": (310.0, 12.0)}, {}, {}, (), 0.0).far
    {'T': (310.0, 12.0)}
    """

    fields: Mapping[str, tuple[float, float]]
    conditions: Mapping[str, float]
    coefficients: Mapping[str, float]
    open: tuple[str, ...]
    misfit: float

    def size(self, field: str) -> float:
        """rms of a field over the domain."""
        return hypot(*self.fields[field])

    @property
    def far(self) -> dict[str, tuple[float, float]]:
        """{field: (shift, scale)} of those whose size is far from 1: above 10, or below 0.001 where the coarse solution meets
        the conditions well.
        """
        return {name: self.fields[name] for name in self.fields if name not in self.open and self._is_far(self.size(name))}

    @property
    def far_coefficients(self) -> dict[str, float]:
        """{coefficient: size}, likewise."""
        return {name: size for name, size in self.coefficients.items() if name not in self.open and self._is_far(size)}

    def _is_far(self, size: float) -> bool:
        return size > LARGE or (size < SMALL and self.misfit <= RESOLVED)


def scales(problem: Problem, points: Points | None = None, *, device: torch.device | str | None = None) -> Scales:
    """Characteristic sizes of a problem's fields, conditions and coefficients, from its conditions alone.

    A coarse solution in at most 130 Legendre polynomials a field (Gauss-Newton, about a hundredth of a second) that meets the
    conditions, each in its own size, as well as it can: sizes follow the units, so that u in other units is as large in them.
    Where it meets them badly, the values that conditions prescribe give sizes.

    points: {condition: (n, d)} to ask the conditions at; some 200 Sobol points of each residual and 64 of the others if None
    device: where operators are evaluated, in float64

    What the conditions leave open, and what an operator that fails would have said, has size 1 and is named in `open`: so has
    all of a problem with foreign conditions, which say nothing of sizes. Raises ValueError for points that do not fit.

    >>> from pinntk import Box, Problem, boundary, residual
    >>> wall = Box(x=(0, 0.2))
    >>> @residual(wall)
    ... def conduction(T_xx):
    ...     return 0.8 * T_xx
    >>> @boundary(wall.at(x=0))
    ... def inside(T):
    ...     return T - 295
    >>> @boundary(wall.at(x=0.2))
    ... def outside(T_x):
    ...     return 0.8 * T_x + 100
    >>> scales(Problem(wall, [conduction, inside, outside], fields=("T",))).fields
    {'T': (280.0, 7.2)}
    """
    start = {name: float(value.detach()) for name, value in problem.coefficients.items()}
    if problem.foreign:
        return _open(problem, start)
    if points is not None:
        return _measure(problem, {n: rows.to(device, torch.float64) for n, rows in problem.check(points).items()}, start)
    state = (tuple(start.items()), str(device))
    if problem not in _known or _known[problem][0] != state:
        _known[problem] = state, _measure(problem, _sampled(problem, device), start)
    return _known[problem][1]


def _sampled(problem: Problem, device: torch.device | str | None) -> dict[str, torch.Tensor]:
    device = None if device is not None and torch.device(device).type == "mps" else device  # which has no float64
    counts = {c.name: _POINTS.get(c.kind, _FACE_POINTS) for c in problem.conditions}
    for condition in problem.conditions:
        if condition.region.given is not None:
            counts[condition.name] = min(counts[condition.name], len(condition.region.given))
    return problem.sample(counts, method="sobol", dtype=torch.float64, device=device)


def _measure(problem: Problem, points: Points, start: Mapping[str, float]) -> Scales:
    device = next(iter(points.values())).device
    try:
        with torch.inference_mode(False), warnings.catch_warnings(), fork(device):
            warnings.simplefilter("ignore")
            system = System(problem, points, Legendre(problem.domain, device), _data(problem, points))
            found = solve(system)
            free = freedom(system, found[0]) if found is not None and start else {}
    except (
        ValueError,
        RuntimeError,
        TypeError,
    ):  # whatever a user's operator does with what it is not used to: a training will say it
        found = None
    return _open(problem, start) if found is None else _sizes(system, found, free, start)


def _data(problem: Problem, points: Points) -> dict[str, float]:
    """{condition: rms error at zero}, 0 where it is rounding."""
    zero = Zero(len(problem.fields))
    with torch.enable_grad():
        fine = {name: e.detach() for name, e in errors(zero, problem, points).items()}
        coarse = errors(zero, problem, {name: rows.float() for name, rows in points.items()})
    apart = {name: rms(coarse[name].detach().double() - e) for name, e in fine.items()}
    return {name: rms(e) if apart[name] <= _ROUNDING * rms(e) or not isfinite(apart[name]) else 0.0 for name, e in fine.items()}


def _worst(problem: Problem, solution: Solution) -> float:
    """The largest misfit; measurements, which have noise, do not count."""
    asked = {name: value for name, value in solution.misfit.items() if not isinstance(problem[name].region, Measurements)}
    return max((asked or solution.misfit).values(), default=0.0)


def _sizes(system: System, found: tuple[Solution, Solution], free: Mapping[str, float], start: Mapping[str, float]) -> Scales:
    problem = system.problem
    misfit = _worst(problem, found[0])
    solution = found[0] if misfit <= ROUGH else found[1]
    fields, sizes, left = {}, dict(solution.sizes), []
    for number, name in enumerate(problem.fields):
        shift, deviation = system.moments(solution.state.fields[number])
        if misfit <= ROUGH and hypot(shift, deviation) < 0.5 * sizes.get(number, 0.0):
            shift, deviation = 0.0, sizes[number]  # it is zero, as far as a coarse solution can tell
        if hypot(shift, deviation) == 0:
            deviation = 1.0
            left.append(name)
        fields[name] = (_digits(shift), _digits(max(deviation, _LEAST_SCALE * abs(shift))))
        sizes[number] = hypot(*fields[name])
    coefficients = {}
    for name, value in solution.state.coefficients.items():
        coefficients[name] = abs(start[name]) or 1.0
        if free[name] > _FREE:
            left.append(name)
        else:
            most = _matching(solution, name)  # a value far below is a zero that was found, and no small size
            coefficients[name] = _digits(abs(value) if abs(value) > _NONE * most else most)
        sizes[name] = coefficients[name]
    return Scales(fields, solution.conditions_at(sizes), coefficients, tuple(left), misfit)


def _matching(solution: Solution, coefficient: str) -> float:
    """The size with which a coefficient's term is as large as the rest of its condition; of several, the largest."""
    rest = solution.conditions_at({key: size for key, size in solution.sizes.items() if key != coefficient})
    gains = {name: gains[coefficient] for name, gains in solution.response.items() if gains.get(coefficient, 0.0) > 0}
    return max((rest[name] / gain for name, gain in gains.items()), default=0.0)


def _open(problem: Problem, start: Mapping[str, float]) -> Scales:
    coefficients = {name: abs(value) or 1.0 for name, value in start.items()}
    names = (*problem.fields, *coefficients)
    return Scales(dict.fromkeys(problem.fields, (0.0, 1.0)), dict.fromkeys(problem.names, 1.0), coefficients, names, 0.0)


def _digits(value: float) -> float:
    """Two significant digits: the same on every machine."""
    return float(f"{value:.1e}")
