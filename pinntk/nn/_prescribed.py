"""What a condition prescribes: a field's value on a face or on a shape's boundary, or its slope across a face."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pinntk.geometry import Domain, Part
from pinntk.geometry._drawing import NEAR
from pinntk.nn._smoothness import smoothness_fault
from pinntk.problem import Condition, Faces, Integral, Measurements
from pinntk.problem._arguments import ArgumentSpec
from pinntk.taylor import Jet

MOST_LEVELS = 100  # smooth pieces of a part of a boundary, each with a function in every pass of the network
MOST_TERMS = 1000  # evaluations of an operator in one pass of a network
AGREE = 1e-10  # of their size: two numbers of float64 data that are to be one
_PROBES, _PLACES = 512, 257  # random points of a face, places along an axis
_LARGE = 2.0**20  # a value at which an operator that is linear must still be
_LINEAR, _EQUAL = 1e-9, 1e-13  # relative: deviations from a linear function, and of one number from another, by rounding
_SMALLEST = 1e-3  # of the largest factor of the value: below, the operator is close to not asking for it


Device = torch.device | str | None


class UnmetError(ValueError):
    """Why a condition cannot be met by construction.

    conflict: whether it is because two conditions ask for different things
    """

    def __init__(self, reason: str, conflict: bool = False):
        super().__init__(reason)
        self.conflict = conflict


def call_operator(condition: Condition, specs: Sequence[ArgumentSpec], value: Tensor, columns: Sequence[Tensor]) -> Any:
    """The error (n,) where each argument that is not a coordinate is `value` (n,), at points given by their columns (n,)."""

    def argument(spec: ArgumentSpec) -> Tensor:
        if spec.kind == "points":
            return torch.stack(list(columns), 1)
        return (columns[spec.axis] if spec.kind == "coordinate" else value).clone()  # an operator may work in place

    return condition.operator(**{spec.argument: argument(spec) for spec in specs})


@dataclass(frozen=True, eq=False)
class Prescribed:
    """A field's value on a face, or its slope across it, or its value on a part of a shape's boundary, by a condition whose
    error is e(v) = c (v - g) in that number v.

    g = -e(0) / c comes from the condition's operator itself, so that whatever flows through it has its derivatives.

    field: its number
    axis, end: the face; end 0 is the lower one, 1 the upper; axis -1 for a part of a shape's boundary
    slope: whether v is the derivative along `axis`, and not the value
    part: of a shape's boundary; None for a face
    order: the highest derivative of the field in space that the problem takes
    c: where it is the same at all points; None where it has to be computed
    scale: the largest |g| that was seen on the face
    """

    condition: Condition
    specs: tuple[ArgumentSpec, ...]
    domain: Domain
    field: int
    axis: int
    end: int
    slope: bool
    part: Part | None = None
    order: int = 0
    c: float | None = None
    scale: float = 0.0

    @property
    def name(self) -> str:
        return self.condition.name

    @property
    def place(self) -> dict[int, float]:
        """The face: {axis: value}; {} for a part of a shape's boundary, from which g continues as its operator says."""
        return {} if self.part is not None else {self.axis: self.domain.bounds[self.axis][self.end]}

    @property
    def takes(self) -> frozenset[int]:
        """The coordinates that its operator asks for."""
        if any(spec.kind == "points" for spec in self.specs):
            return frozenset(range(self.domain.dimension))
        return frozenset(spec.axis for spec in self.specs if spec.kind == "coordinate")

    def value(self, x: Tensor, fixed: Mapping[int, float]) -> Tensor:
        """g (n,) at (n, d) points moved to where some coordinates, those of the face among them, have the `fixed` values."""
        columns = columns_of(x, fixed)
        at_zero = call_operator(self.condition, self.specs, torch.zeros_like(columns[0]), columns)
        if self.c is not None:
            return at_zero if self.c == -1 else at_zero / -self.c
        at_one = call_operator(self.condition, self.specs, torch.ones_like(columns[0]), columns)
        return at_zero / (at_zero - at_one)

    def values(self, x: Tensor, places: Sequence[Mapping[int, float]]) -> list[Tensor]:
        """`value` at several places, by one call of the operator."""
        if len(places) == 1:
            return [self.value(x, places[0])]
        n, m = len(x), len(places)
        if not isinstance(x, Jet):
            moved = torch.cat([torch.stack(columns_of(x, fixed), 1) for fixed in places])
            return list(self.value(moved, {}).split(n))
        data = x.components.unsqueeze(1).repeat(1, m, 1, 1)  # [S, m, n, d]
        for row, fixed in zip(data.unbind(1), places, strict=True):
            for axis, number in fixed.items():
                row[:, :, axis] = 0
                row[0, :, axis] = number
        found = self.value(x.like(data.flatten(1, 2)), {})  # a point at several places is several points
        return [found.like(part) for part in found.components.split(n, 1)] if isinstance(found, Jet) else list(found.split(n))

    def sample(self, n: int, device: Device) -> Tensor:
        """(n, d) points of the face or the part, in float64, the same at each call."""
        if self.part is None:
            return torch.stack(columns_of(random_points(self.domain, n, device), self.place), 1)
        found = self.part.sample(n, "uniform", np.random.default_rng(0))
        return torch.as_tensor(found, dtype=torch.float64, device=device)

    def number(self, fixed: Mapping[int, float], device: Device) -> float | None:
        """g, where nothing that the operator takes is left to vary; None otherwise."""
        if not self.takes <= fixed.keys():
            return None
        corner = torch.zeros(1, self.domain.dimension, dtype=torch.float64, device=device)
        with torch.no_grad():
            return float(self.value(corner, fixed))

    def derivatives(self, x: Tensor, fixed: Mapping[int, float], axis: int, order: int) -> list[Tensor]:
        """g and its derivatives along a coordinate up to `order`, (n,) each, by nested autograd, at points moved as above."""
        with torch.enable_grad():
            moved = list(x.detach().unbind(1))
            moved[axis] = moved[axis].clone().requires_grad_()
            found = [self.value(torch.stack(moved, 1), fixed)]
            for _ in range(order):
                slope = None
                if found[-1].requires_grad:
                    (slope,) = torch.autograd.grad(found[-1].sum(), moved[axis], create_graph=True, allow_unused=True)
                found.append(torch.zeros_like(found[-1]) if slope is None else slope)
        return [values.detach() for values in found]


def columns_of(x: Tensor, fixed: Mapping[int, float]) -> list[Tensor]:
    """The columns (n,) of (n, d) points, some of them at fixed values: constants, which need no derivatives."""
    columns = (torch.full_like(x[:, 0], fixed[axis]) if axis in fixed else x[:, axis] for axis in range(x.shape[1]))
    return list(columns)


def random_points(domain: Domain, n: int, device: Device) -> Tensor:
    """(n, d) points in float64, the same at each call."""
    return torch.as_tensor(domain.sample(n, "uniform", np.random.default_rng(0)), dtype=torch.float64, device=device)


def prescriptions(
    condition: Condition,
    specs: tuple[ArgumentSpec, ...],
    domain: Domain,
    orders: Callable[[int, int], int],
    device: Device,
) -> list[Prescribed]:
    """What a condition prescribes on each of its faces, or on its part of a boundary. Raises `UnmetError` where that is not the
    value of one field, or its slope across the face, as a function of the point that is as smooth as the problem needs it.

    orders: the highest derivative of a field along an axis that the problem takes
    """
    if isinstance(condition.region, Part):
        return [_on_part(condition, condition.region, specs, domain, orders, device)]
    faces = _faces(condition, domain)
    field, index = _asked(specs, domain)
    found = []
    for axis, end in faces:
        slope = any(index)
        if slope and index != tuple(int(i == axis) for i in range(domain.dimension)):
            raise UnmetError("it asks for a derivative along a face, not across it")
        found.append(Prescribed(condition, specs, domain, field, axis, end, slope))
    varying = Counter(part.axis for part in found if part.takes - {part.axis})
    check_terms(prod(1 + count for count in varying.values()) - 1, MOST_TERMS)
    return [_examined(part, partial(orders, field), device) for part in found]


def _on_part(
    condition: Condition,
    part: Part,
    specs: tuple[ArgumentSpec, ...],
    domain: Domain,
    orders: Callable[[int, int], int],
    device: Device,
) -> Prescribed:
    """What a condition prescribes on a part of a shape's boundary."""
    if part.domain != domain or part.beyond is not None:
        raise UnmetError(f"it holds on {part.describe()}, not on the boundary of the problem's domain")
    field, index = _asked(specs, domain)
    if any(index):
        raise UnmetError("it asks for a derivative, and on the boundary of a shape values alone are met")
    order = max(orders(field, axis) for axis in domain.shape_axes)
    return _examined(Prescribed(condition, specs, domain, field, -1, 0, False, part, order), partial(orders, field), device)


def check_terms(count: int, most: int, hint: str = "") -> None:
    """Raises `UnmetError` for more evaluations of operators in a pass than `most`."""
    if count > most:
        shown = count if count < 1e6 else f"{count:.1g}"
        raise UnmetError(f"its values would be evaluated {shown} times in every pass of the network, at most {most}{hint}")


def _faces(condition: Condition, domain: Domain) -> list[tuple[int, int]]:
    region = condition.region
    if isinstance(region, Domain):
        raise UnmetError("it holds in the whole domain")
    if isinstance(region, Measurements):
        raise UnmetError("it holds at measured points")
    if isinstance(region, Integral):
        raise UnmetError("it is an integral, which no factor of the network meets")
    if not isinstance(region, Faces) or region.domain.bounds != domain.bounds:
        raise UnmetError(f"it holds on {region.describe()}, not on faces of the problem's domain")
    found = []
    for piece in region.pieces:
        axis, value = piece[0]
        if len(piece) > 1 or value not in domain.bounds[axis]:
            raise UnmetError(f"it holds on {Faces(domain, (piece,)).describe()}, which is no face of the domain")
        found.append((axis, domain.bounds[axis].index(value)))
    return list(dict.fromkeys(found))


def _asked(specs: Sequence[ArgumentSpec], domain: Domain) -> tuple[int, tuple[int, ...]]:
    """The field and the derivative of it, of order 0 or 1, that alone an operator takes beside coordinates."""
    of_fields = [spec for spec in specs if spec.kind not in ("coordinate", "points")]
    for spec in of_fields:
        if spec.kind == "coefficient":
            raise UnmetError(f"it depends on the coefficient {spec.argument!r}")
    if len(of_fields) != 1 or of_fields[0].kind != "derivative" or sum(of_fields[0].index) > 1:
        names = ", ".join(spec.argument for spec in of_fields) or "no field"
        raise UnmetError(f"it takes {names}, and not the value of one field alone, or its first derivative across a face")
    return of_fields[0].field, of_fields[0].index


def _examined(part: Prescribed, orders: Callable[[int], int], device: Device) -> Prescribed:
    """With c and scale, found on points of the face. Raises `UnmetError` for an operator that is not e(v) = c (v - g), or a g
    that does not continue into the domain.
    """
    points = _probes(part, device)
    columns = columns_of(points, part.place)
    try:
        with torch.no_grad():
            c = linear_factor(partial(call_operator, part.condition, part.specs, columns=columns), points)
            part = replace(part, c=c)
            g = part.value(points, part.place)
            part = replace(part, scale=float(g.abs().max()))
            _check_independence(part, points, g)
        varying = {axis: orders(axis) for axis in sorted(part.takes - {part.axis})}
        fault = smoothness_fault(
            lambda x, axis, order: part.derivatives(x, part.place, axis, order), part.domain, varying, device
        )
    except UnmetError:
        raise
    except Exception as error:  # whatever a user's operator does with what it is not used to
        raise UnmetError(f"its operator failed when it was tried: {type(error).__name__}: {error}") from error
    if fault is not None:
        raise UnmetError(fault)
    return part


def _probes(part: Prescribed, device: Device) -> Tensor:
    """Random points, (n, d), and from end to end along each axis that the operator takes."""
    found = [random_points(part.domain, _PROBES, device)]
    if part.part is not None:
        found.append(part.sample(_PROBES, device))
    for axis in sorted(part.takes - {part.axis}):
        line = found[0][:_PLACES].clone()
        line[:, axis] = torch.linspace(*part.domain.bounds[axis], _PLACES, dtype=line.dtype, device=device)
        found.append(line)
    points = torch.cat(found)
    if part.domain.is_box:
        return points
    within = part.domain.distance(points.cpu().numpy()) < NEAR
    return points[torch.as_tensor(within, device=device)]


def _check_independence(part: Prescribed, points: Tensor, g: Tensor) -> None:
    """Raises `UnmetError` where the value at a point is another when half of the others leave the batch."""
    half = part.value(points[::2], part.place)
    if float((half - g[::2]).abs().max()) > AGREE * part.scale:
        raise UnmetError("what it prescribes at a point depends on the other points of the batch")


def linear_factor(error: Callable[..., Any], points: Tensor) -> float | None:
    """c of an error e(v) = e(0) + c v, v a number at each of (n, d) points: one number, or None where it differs from point to
    point. Raises `UnmetError` for any other error.

    error: e by its keyword `value`, (n,) to (n,)
    """
    n, like = len(points), points[:, 0]
    numbers = torch.as_tensor(np.random.default_rng(1).standard_normal(n)).to(like)

    def at(value: Tensor | float) -> Tensor:
        e = error(value=value if isinstance(value, Tensor) else torch.full_like(like, value))
        if not isinstance(e, Tensor) or e.shape != (n,) or not e.is_floating_point() or not e.isfinite().all():
            raise UnmetError("its error is not one finite number a point")
        return e.to(like.dtype)

    zero = at(0.0)
    c = (at(_LARGE) - at(-_LARGE)) / (2 * _LARGE)
    for value in (1.0, -2.0, 1e-3, -1e3, _LARGE, numbers, 10 * numbers, 0.0):
        off = (at(value) - zero - c * value).abs()
        if bool((off > _LINEAR * (zero.abs() + c.abs() * (1 + torch.as_tensor(value).abs()))).any()):
            raise UnmetError("its error is not linear in what it takes of the field, point by point")
    least, most = float(c.abs().min()), float(c.abs().max())
    if most <= _EQUAL * float(zero.abs().max()) or most == 0:
        raise UnmetError("its error does not depend on what it takes of the field")
    if least < _SMALLEST * most or float(c.min()) * float(c.max()) < 0:
        raise UnmetError(f"the factor of the field in its error comes close to 0: from {most:.2g} to {least:.2g} in size")
    if float(c.max() - c.min()) > _EQUAL * most:
        return None
    mean = float(c.mean())
    return float(round(mean)) if abs(mean - round(mean)) <= _EQUAL * most else mean
