"""Whether prescriptions agree where they meet, and whether what is built in meets them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from pinntk.geometry._drawing import NEAR
from pinntk.geometry._levels import levels
from pinntk.nn._prescribed import AGREE, MOST_LEVELS, Device, Prescribed, UnmetError, call_operator, columns_of, random_points
from pinntk.problem import Problem

Conditions = Callable[[Tensor, Tensor], Tensor]  # u from N at (n, d) points, both (n, fields)

_PROBES = 512


def check_agreement(problem: Problem, first: Prescribed, second: Prescribed, device: Device) -> None:
    """Raises `UnmetError` where two prescriptions of one field differ on points that both hold on."""
    if first.slope and not second.slope:
        first, second = second, first
    if first.part is not None or second.part is not None:
        _check_on_shape(problem, first, second, device)
        return
    if first.axis == second.axis and (first.end != second.end or first.slope is not second.slope):
        return
    fixed = first.place | second.place
    count = 1 if (first.takes | second.takes) <= fixed.keys() else _PROBES
    x = torch.stack(columns_of(random_points(problem.domain, count, device), fixed), 1)
    size = max(first.scale, second.scale)
    if second.slope and not first.slope:
        low, high = problem.domain.bounds[second.axis]
        one = first.derivatives(x, first.place, second.axis, 1)[1]
        size = max(second.scale, float(one.abs().max()), first.scale / (high - low))
    else:
        with torch.no_grad():
            one = first.value(x, fixed)
    with torch.no_grad():
        other = second.value(x, fixed)
    _check_equal(problem, first, second, one, other, size, x)


def _check_on_shape(problem: Problem, first: Prescribed, second: Prescribed, device: Device) -> None:
    """The same where at least one of the two holds on a part of a shape's boundary."""
    on_part, other = (first, second) if first.part is not None else (second, first)
    assert on_part.part is not None
    x = on_part.sample(_PROBES, device)
    if other.part is not None:
        corners = np.concatenate([level.places for level in levels(on_part.part, MOST_LEVELS)])
        places = x[torch.arange(len(corners), device=device) % len(x)].clone()
        places[:, list(problem.domain.shape_axes)] = torch.as_tensor(corners).to(x)
        x = torch.cat([x, places])
        x = x[torch.as_tensor(other.part.distance(x.cpu().numpy()) <= NEAR, device=device)]
        if not len(x):
            return
    x = torch.stack(columns_of(x, other.place), 1)
    if other.slope:
        one = on_part.derivatives(x, other.place, other.axis, 1)[1]
        if other.axis in on_part.takes:
            raise UnmetError(
                f"{on_part.name!r} prescribes values that change in {problem.coordinates[other.axis]}, where a slope is met, "
                "and on the boundary of a shape both do not go together"
            )
    else:
        with torch.no_grad():
            one = on_part.value(x, other.place)
    with torch.no_grad():
        two = other.value(x, other.place)
    _check_equal(problem, on_part, other, one, two, max(first.scale, second.scale), x)


def _check_equal(
    problem: Problem, first: Prescribed, second: Prescribed, one: Tensor, other: Tensor, size: float, x: Tensor
) -> None:
    apart = (one - other).abs()
    if float(apart.max()) > AGREE * size:
        worst = int(apart.argmax())
        place = ", ".join(f"{name} = {v:.4g}" for name, v in zip(problem.coordinates, x[worst].tolist(), strict=True))
        what = problem.fields[second.field] + (f"_{problem.coordinates[second.axis]}" if second.slope else "")
        raise UnmetError(
            f"{first.name!r} and {second.name!r} ask for different things where they meet: {what} = {one[worst] + 0.0:.4g} and "
            f"{other[worst] + 0.0:.4g} at {place}",
            conflict=True,
        )


def largest_error(conditions: Conditions, fields: int, part: Prescribed, device: Device) -> float:
    """Of a prescription, relative to that of the field's size in the domain."""
    inside = random_points(part.domain, _PROBES, device)
    x = part.sample(_PROBES, device).requires_grad_()
    d = x.shape[1]
    waves = torch.arange(1, d * fields + 1, dtype=x.dtype, device=device).reshape(d, fields)
    with torch.enable_grad():
        size = float(conditions(inside, torch.cos(inside @ waves + 1))[:, part.field].detach().abs().max())
        v = conditions(x, torch.cos(x @ waves + 1))[:, part.field]
        if part.slope:
            v = torch.autograd.grad(v.sum(), x)[0][:, part.axis]
    with torch.no_grad():
        columns = columns_of(x.detach(), part.place)
        v = v.detach()
        if part.slope:
            low, high = part.domain.bounds[part.axis]
            size = size / (high - low)
        size = max(part.scale, size)
        e, zero, full = (call_operator(part.condition, part.specs, values, columns) for values in (v, 0 * v, 0 * v + size))
        return float(e.abs().max() / (full - zero).abs().max())
