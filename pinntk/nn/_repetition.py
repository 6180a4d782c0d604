"""Coordinates in which a network's inputs can repeat, so that periodic conditions hold by construction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import inf

import torch
from torch import Tensor

from pinntk.nn._prescribed import (
    AGREE,
    Device,
    Prescribed,
    UnmetError,
    call_operator,
    columns_of,
    linear_factor,
    random_points,
)
from pinntk.problem import Condition, PeriodicPair, Problem

_PROBES = 32
_HIGHEST = 4  # derivatives of prescribed values that are compared at both ends, where all are to repeat


@dataclass(frozen=True)
class Repetition:
    """What repeats in a coordinate by construction.

    level: the value and so many derivatives; inf for all of them
    met: names of the periodic conditions that hold so
    broken: {name: how} of other conditions, whose prescribed values do not repeat
    """

    level: float
    met: tuple[str, ...]
    broken: dict[str, str]


def repetition(
    problem: Problem,
    axis: int,
    wanted: Callable[[str], bool],
    prescribed: Sequence[Prescribed],
    *,
    given: bool,
    device: Device,
) -> Repetition:
    """How a network's inputs have to repeat along a coordinate for the wanted ones of its periodic conditions to hold.

    As smoothly as they ask for, and as the prescribed values do. Everything that enters the network repeats, so that all
    fields do: each needs a condition that asks it of the value.

    wanted: whether a condition of that name is to be met
    prescribed: what the problem prescribes on faces
    given: whether the network repeats anyway, with all derivatives

    Raises UnmetError where the conditions do not ask for that.
    """
    coordinate = problem.coordinates[axis]
    written = [c for c in problem.conditions if isinstance(c, Condition)]
    pairs = [c for c in written if isinstance(c.region, PeriodicPair) and c.region.axis == axis]
    found = {condition.name: _order(problem, condition, axis) for condition in pairs}
    if not given and None in found.values():
        name = next(name for name, order in found.items() if order is None)
        raise UnmetError(f"{name!r} takes {coordinate}, which differs between the two faces")
    orders = {name: order for name, order in found.items() if order is not None}
    if given:
        least = level = inf
    else:
        fields = {_repeated_field(problem, c, device) for c in pairs if wanted(c.name) and orders[c.name] == 0}
        if missing := [name for number, name in enumerate(problem.fields) if number not in fields]:
            raise UnmetError(
                f"the network's inputs would repeat in {coordinate}, for all fields alike, and no condition asks that of the "
                f"value of {missing[0]!r}"
            )
        least = max(order for name, order in orders.items() if wanted(name))
        level = min((order - 1 for order in orders.values() if order > least), default=inf)
    broken = {}
    for part in prescribed:
        jump = _first_jump(part, axis, _HIGHEST if given else int(least) + 2, device)
        if jump is None:
            continue
        order, what = jump
        if order <= least:
            asked = f"periodic={coordinate!r} asks for" if given else f"{_asking(orders, wanted, order)!r} asks for"
            broken[part.name] = f"what it prescribes does not repeat in {coordinate} as {asked}: {what}"
        else:
            level = min(level, order - 1)
    return Repetition(level, tuple(name for name, order in orders.items() if order <= level), broken)


def _order(problem: Problem, condition: Condition, axis: int) -> int | None:
    """The highest derivative across the two faces that a periodic condition takes; None where it takes the coordinate itself,
    which is another one on the other face.
    """
    highest = 0
    for spec in problem.arguments[condition.name]:
        if spec.kind == "points" or (spec.kind == "coordinate" and spec.axis == axis):
            return None
        highest = max(highest, spec.order(axis, problem.domain.space))
    return highest


def _repeated_field(problem: Problem, condition: Condition, device: Device) -> int | None:
    """The field whose value a periodic condition asks to repeat; None if it asks for something else."""
    specs = problem.arguments[condition.name]
    of_fields = [spec for spec in specs if spec.kind not in ("coordinate", "points")]
    if len(of_fields) != 1 or of_fields[0].kind != "derivative" or any(of_fields[0].index):
        return None
    assert isinstance(condition.region, PeriodicPair)
    points = random_points(problem.domain, _PROBES, device)
    columns = columns_of(points, dict(condition.region.lower.pieces[0]))
    try:
        with torch.no_grad():
            linear_factor(partial(call_operator, condition, specs, columns=columns), points)
    except Exception:  # whatever a user's operator does with what it is not used to
        return None
    return of_fields[0].field


def _asking(orders: dict[str, int], wanted: Callable[[str], bool], order: int) -> str:
    """The first condition that asks for so many continuous derivatives."""
    return next(name for name, own in orders.items() if wanted(name) and own >= order)


def _first_jump(part: Prescribed, axis: int, highest: int, device: Device) -> tuple[int, str] | None:
    """The first derivative along a coordinate, of at most `highest`, that differs between the two ends of what is prescribed,
    and how; None if there is none.
    """
    if axis == part.axis or axis not in part.takes:
        return None
    inside = random_points(part.domain, _PROBES, device)
    low, high = part.domain.bounds[axis]
    ends: list[Tensor] = []
    for end in (low, high):
        ends.append(inside.clone())
        ends[-1][:, axis] = end
    at_ends = [part.derivatives(points, part.place, axis, highest) for points in ends]
    within = part.derivatives(inside, part.place, axis, highest)
    for order, (first, last, middle) in enumerate(zip(*at_ends, within, strict=True)):
        size = max(float(values.abs().max()) for values in (first, last, middle))
        apart = (first - last).abs()
        if float(apart.max()) > AGREE * size:
            worst = int(apart.argmax())
            what = "the value" if order == 0 else f"the derivative of order {order}"
            name = part.domain.coordinates[axis]
            return order, f"{what} is {first[worst]:.4g} at {name} = {low:g} and {last[worst]:.4g} at {name} = {high:g}"
    return None
