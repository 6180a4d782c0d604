"""Time slabs: a problem on a part of its time, which begins as the part before it ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import replace
from inspect import Parameter, Signature
from itertools import pairwise
from math import isfinite
from operator import index
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pinntk._util.registry import WeakRegistry
from pinntk._util.warn import warn_user
from pinntk.geometry import Domain, Faces, Part, PeriodicPair, Region
from pinntk.problem._arguments import POINTS, ArgumentSpec
from pinntk.problem._conditions import Condition
from pinntk.problem._grid_solution import GridSolution
from pinntk.problem._integral import Integral
from pinntk.problem._measurements import Measurements
from pinntk.problem._problem import Points, Problem
from pinntk.problem._rows import as_rows
from pinntk.problem._time import time_axis

Values = Mapping[str, Callable[[Tensor], Tensor]]  # initial condition -> its errors (n,) at (n, d) points

_MOST = 10_000  # slabs, each a training and a folder of its own
_ROUNDING = 1e-9  # of the whole time: a reference's time at a slab's edge counts as in the slab
_warned = WeakRegistry()


def slab_edges(problem: Problem, slabs: int | Sequence[float]) -> tuple[float, ...]:
    """The times between which the slabs lie, from the problem's start to its end; falling where time runs backward.

    slabs: how many, of equal length; or the edges themselves

    Raises ValueError for edges that do not lead from start to end, and for a problem that time slabs cannot solve: without
    time, without initial conditions, with trained coefficients, or with conditions that reach back in time.

    >>> from pinntk import load
    >>> slab_edges(load("convection"), 4)
    (0.0, 0.25, 0.5, 0.75, 1.0)
    """
    axis, start, end = _time(problem)
    name = problem.coordinates[axis]
    wanted = f"a whole number, or the edges from {name} = {start:g} to {name} = {end:g} in this order"
    given: Any = slabs
    try:
        if isinstance(given, bool):
            raise TypeError
        edges = tuple(float(edge) for edge in given) if hasattr(given, "__len__") else index(given)
    except (TypeError, ValueError):
        raise ValueError(f"slabs={slabs!r}: {wanted}") from None
    if isinstance(edges, int):
        if not 1 <= edges <= _MOST:
            raise ValueError(f"slabs={edges}: at least 1 and at most {_MOST}, each of which is trained by itself")
        return (*(start + (end - start) * k / edges for k in range(edges)), end)
    sign = 1 if end > start else -1
    ordered = all(isfinite(b) and sign * (b - a) > 0 for a, b in pairwise(edges))
    if len(edges) < 2 or (edges[0], edges[-1]) != (start, end) or not ordered:
        raise ValueError(f"slabs={slabs!r}: {wanted}, each beyond the one before")
    return edges


def slab_name(number: int) -> str:
    """Of a slab, and of its run folder."""
    return f"slab_{number:02d}"


def slab_start(problem: Problem, number: int, edges: Sequence[float]) -> Problem:
    """The problem's initial conditions alone, as they are written, on the slice where a slab starts."""
    conditions = [c for c in _own(restricted(problem, number, edges)) if c.kind == "initial"]
    coefficients = _asked_for(problem, conditions)
    return Problem(_domain(problem, number, edges), conditions, problem.fields, coefficients=coefficients, name=problem.name)


def restricted(problem: Problem, number: int, edges: Sequence[float], before: Values | None = None) -> Problem:
    """The problem in one slab. `pinntk.slab` says what becomes of its conditions.

    before: the errors of the initial conditions that the network of the slab before has at this one's start, to be taken off;
        as the conditions are written if None
    """
    axis, start, _ = _time(problem)
    regions: dict[tuple, Region | None] = {}  # what conditions share stays shared
    conditions = []
    for condition in _own(problem):
        key = id(condition.region), condition.kind == "initial"
        if key not in regions:
            regions[key] = _region(condition, axis, number, edges)
        here, operator = regions[key], condition.operator
        if here is None:
            continue
        if condition.kind == "initial" and number:
            taken = None if before is None else before[condition.name]
            operator = Start(condition, problem.arguments[condition.name], axis, start, taken)
        conditions.append(Condition(condition.name, condition.kind, here, operator))
    return Problem(
        _domain(problem, number, edges),
        conditions,
        problem.fields,
        problem.exact,
        None if problem.exact is not None or problem.reference is None else _reference(problem, axis, number, edges),
        _asked_for(problem, conditions),
        f"{problem.name} {slab_name(number)}",
        problem.parameters,
        problem.source,
        {"number": number, "edges": tuple(edges), "previous": None, "sha256": None},
        problem.solution_accuracy,
        {name: _with_time(part, axis, *edges[number : number + 2]) for name, part in problem.where.items()},
    )


def points_within(problem: Problem, number: int, edges: Sequence[float], points: Points) -> dict[str, Tensor]:
    """Points of the whole problem, {condition: (n, d)}, in one slab: initial ones at its start, others where they lie in it.
    What conditions share stays shared; conditions that the slab has not are left out.

    Raises ValueError, naming it, for a condition that the slab has, but for data and integrals, and no points for it.
    """
    axis, *_ = _time(problem)
    here = restricted(problem, number, edges)
    found: dict[tuple, Tensor] = {}
    kept = {}
    for name, given in points.items():
        if name not in here.names:
            if name not in problem.names:
                kept[name] = given  # `Problem.check` says what is wrong
            continue
        initial = here[name].kind == "initial"
        key = id(given), initial
        if key not in found:
            rows = as_rows(name, given)
            if not initial:
                rows = rows[_inside(rows[:, axis].double(), number, edges)]
            elif number:
                rows = rows.clone()
                rows[:, axis] = edges[number]
            found[key] = rows
        if len(found[key]):
            kept[name] = found[key]
        elif here[name].kind not in ("data", "integral"):
            raise ValueError(
                f"points[{name!r}] has no rows in {slab_name(number)}, {here.domain.describe()}; give some, or give counts"
            )
    return kept


class Start:
    """An initial condition's operator where a later slab starts, less what `taken` gives there.

    It is called with the time of the problem's own start, the only time that it is written for: so that what it computes from
    the fields is the same in every slab.
    """

    def __init__(
        self,
        condition: Condition,
        specs: Sequence[ArgumentSpec],
        axis: int,
        start: float,
        taken: Callable[[Tensor], Tensor] | None,
    ):
        self.__name__ = condition.name
        self.operator, self.axis, self.start, self.taken = condition.operator, axis, start, taken
        self.times = [spec.argument for spec in specs if spec.kind == "coordinate" and spec.axis == axis]
        self.asks = [spec.argument for spec in specs]
        names = dict.fromkeys([*self.asks, POINTS])
        self.__signature__ = Signature([Parameter(name, Parameter.KEYWORD_ONLY) for name in names])
        if hasattr(condition.operator, "__code__"):
            self.__code__ = condition.operator.__code__  # by which an error in it is placed

    def as_written(self) -> Start:
        """Without anything taken off."""
        found = copy(self)
        found.taken = None
        return found

    def __call__(self, **values: Tensor) -> Tensor:
        points = values[POINTS]
        at_start = points.clone()
        at_start[:, self.axis] = self.start
        values |= {POINTS: at_start, **dict.fromkeys(self.times, at_start[:, self.axis])}
        error = self.operator(**{name: values[name] for name in self.asks})
        return error if self.taken is None else error - self.taken(points).to(error)


# What a problem must be.


def _time(problem: Problem) -> tuple[int, float, float]:
    """The axis of time, and where it starts and ends. Raises ValueError for what slabs cannot solve one after the other."""
    axis, backward = time_axis(problem)
    what = f"{problem.name} cannot be cut into time slabs"
    if problem.slab:
        raise ValueError(f"{what}: it is a slab itself; cut the whole problem, as in slabs=(0, 0.1, 0.5, 1)")
    conditions = _own(problem)
    if axis is None:
        raise ValueError(
            f"{what}: it has no time; leave slabs out, name a coordinate t, or give initial conditions on one slice"
        )
    if trained := [name for name, value in problem.coefficients.items() if value.requires_grad]:
        raise ValueError(
            f"{what}: its coefficient {trained[0]!r} is trained, in each anew; leave slabs out, or fix it by "
            "requires_grad_(False)"
        )
    start, end = problem.domain.bounds[axis][:: -1 if backward else 1]
    if not any(c.kind == "initial" for c in problem.conditions):
        raise ValueError(
            f"{what}: it has no initial condition that carries values over from slab to slab; write what holds at the start as "
            f"@initial(domain.at({problem.coordinates[axis]}={start:g})), not into the network or as another kind of condition"
        )
    for condition in conditions:
        if isinstance(condition.region, PeriodicPair) and condition.region.axis == axis:
            raise ValueError(f"{what}: condition {condition.name!r} is periodic in time")
        if isinstance(condition.region, Integral) and axis not in condition.region.kept:
            time = problem.coordinates[axis]
            raise ValueError(
                f"{what}: condition {condition.name!r} is an integral that belongs to no slab; take it at values of {time}, as "
                f"in integral(..., {time}=[...])"
            )
        for value in _fixed_times(condition, axis):
            if value != start:
                raise ValueError(
                    f"{what}: condition {condition.name!r} holds at {problem.coordinates[axis]} = {value:g}, later than the "
                    f"start {start:g}, and what is asked there reaches back into slabs that are solved before; train on all of "
                    "the time at once"
                )
        if condition.kind == "initial" and not all(axis in dict(piece) for piece in _pieces(condition)):
            raise ValueError(f"{what}: initial condition {condition.name!r} holds on no slice of one time")
    _warn_of_orders(problem, axis)
    return axis, start, end


def _own(problem: Problem) -> tuple[Condition, ...]:
    """Its conditions. Raises ValueError for foreign ones."""
    if problem.foreign:
        raise ValueError(
            f"{problem.name} cannot be cut into time slabs: condition {problem.foreign[0]!r} is foreign, and its code knows no "
            "slabs; train on all of the time at once, or write the problem in pinntk's operators"
        )
    return tuple(condition for condition in problem.conditions if isinstance(condition, Condition))


def _pieces(condition: Condition) -> tuple[tuple[tuple[int, float], ...], ...]:
    return condition.region.pieces if isinstance(condition.region, Faces) else ()


def _fixed_times(condition: Condition, axis: int) -> list[float]:
    return [value for piece in _pieces(condition) for where, value in piece if where == axis]


def _warn_of_orders(problem: Problem, axis: int) -> None:
    """Where the equation needs more at a start than the initial conditions carry over, as with a network that has the rest
    built in.
    """
    orders_of: dict[str, dict[int, set[int]]] = {"residual": {}, "initial": {}}  # by field
    for condition in problem.conditions:
        for spec in problem.arguments[condition.name] if condition.kind in orders_of else ():
            orders_of[condition.kind].setdefault(spec.field, set()).update(_time_orders(spec, axis, problem))
    carried = orders_of["initial"]
    for field, orders in orders_of["residual"].items():
        for order in range(max(orders, default=0)):
            name = problem.fields[field] + ("_" + problem.coordinates[axis] * order if order else "")
            if order not in carried.get(field, ()) and _warned.first(problem, name):
                warn_user(
                    f"{problem.name}: no initial condition gives {name}, so it is not carried over from slab to slab; add one, "
                    "unless other conditions determine it"
                )


def _time_orders(spec: ArgumentSpec, axis: int, problem: Problem) -> set[int]:
    """Orders of the derivatives in time that an argument is made of."""
    if spec.kind == "derivative":
        return {spec.index[axis]}
    highest = {"laplacian": 2, "gradient": 1, "normal": 1}.get(spec.kind)
    if highest is None:
        return set()
    return {0, highest} if axis in problem.domain.space else {0}


# The parts of a slab.


def _asked_for(problem: Problem, conditions: Sequence[Condition]) -> dict[str, nn.Parameter]:
    """The coefficients of some conditions."""
    asked = {spec.argument for condition in conditions for spec in problem.arguments[condition.name]}
    return {name: value for name, value in problem.coefficients.items() if name in asked}


def _domain(problem: Problem, number: int, edges: Sequence[float]) -> Domain:
    return _with_time(problem.domain, _time(problem)[0], edges[number], edges[number + 1])


def _with_time(domain: Domain, axis: int, one: float, other: float) -> Domain:
    return domain.with_interval(domain.coordinates[axis], min(one, other), max(one, other))


def _region(condition: Condition, axis: int, number: int, edges: Sequence[float]) -> Region | None:
    """Where a condition holds in a slab; None where that is nowhere."""
    region, (one, other) = condition.region, edges[number : number + 2]
    if condition.kind == "initial":
        pieces = tuple(tuple((a, one if a == axis else v) for a, v in piece) for piece in _pieces(condition))
        return Faces(_with_time(region.domain, axis, one, other), pieces)
    low, high = region.domain.bounds[axis]  # a condition may hold on a part of the domain
    low, high = max(low, min(one, other)), min(high, max(one, other))
    if low >= high:
        return None
    box = _with_time(region.domain, axis, low, high)
    if isinstance(region, PeriodicPair):
        return PeriodicPair(box, region.axis)
    if isinstance(region, Measurements):
        rows = _inside(torch.as_tensor(region.points[:, axis]), number, edges).numpy()
        columns = {name: values[rows] for name, values in region.columns.items()}
        return Measurements(box, region.points[rows], columns) if rows.any() else None
    if isinstance(region, Integral):
        rows = _inside(torch.as_tensor(region.rows[:, axis]), number, edges).numpy()
        over: Any = Faces(box, region.over.pieces) if isinstance(region.over, Faces) else box
        over = replace(region.over, domain=box) if isinstance(region.over, Part) else over
        return region.within(over, rows) if rows.any() else None
    if isinstance(region, Faces):
        pieces = tuple(piece for piece in region.pieces if not number or axis not in dict(piece))
        return Faces(box, pieces) if pieces else None
    if isinstance(region, Part):
        return replace(region, domain=box)
    return box


def _inside(times: Tensor, number: int, edges: Sequence[float]) -> Tensor:
    """Which of (n,) times belong to a slab: an edge to the slab that it ends, the start to the first."""
    sign = 1 if edges[-1] > edges[0] else -1
    after = sign * times > sign * edges[number] if number else torch.ones_like(times, dtype=torch.bool)
    last = number == len(edges) - 2
    return after if last else after & (sign * times <= sign * edges[number + 1])


def _reference(problem: Problem, axis: int, number: int, edges: Sequence[float]) -> Callable[[], GridSolution] | None:
    """The reference at its times in the slab; None where it has none there."""
    whole = problem.solution
    low, high = sorted(edges[number : number + 2])
    slack = _ROUNDING * abs(edges[-1] - edges[0])
    scattered = whole.axes[0].ndim == 2
    times = whole.axes[0][:, axis] if scattered else whole.axes[axis]
    here = (times >= low - slack) & (times <= high + slack)
    if not here.any():
        return None
    if scattered:
        part = GridSolution((whole.axes[0][here],), whole.values[here])
    else:
        axes = tuple(times[here] if a == axis else others for a, others in enumerate(whole.axes))
        part = GridSolution(axes, np.compress(here, whole.values, axis))
    return lambda: part
