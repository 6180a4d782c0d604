"""The known solution: its values, the points at which networks are compared with it, and which fields count there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pinntk.geometry import Domain
from pinntk.geometry import _sampling as sampling
from pinntk.problem._arguments import ArgumentSpec, call_by_coordinates
from pinntk.problem._foreign import AnyCondition
from pinntk.problem._gauge import Gauge, without
from pinntk.problem._grid_solution import GridSolution
from pinntk.problem._integral import Integral
from pinntk.problem._rows import check_real

_GRID_COUNTS = {1: (1000,), 2: (200, 200), 3: (40, 40, 40)}
_HIGH_DIMENSION_POINTS = 10_000
_TRIED = 64  # places of a condition at which the fields that it asks for have to live
_NEAR = 1e-4  # of the extent: places that near to a field's part of the domain count as in it


def exact_values(exact: Callable[..., Any], coordinates: tuple[str, ...], fields: tuple[str, ...], points: Tensor) -> Tensor:
    """A formula's values at (n, d) points: (n, fields), differentiable. Raises ValueError for another shape."""
    columns = dict(zip(coordinates, points.unbind(1), strict=True))
    values = call_by_coordinates(exact, coordinates, columns, points)
    values = values if isinstance(values, (tuple, list)) else (values,)
    if len(values) != len(fields):
        raise ValueError(f"exact returned {len(values)} fields; for {fields} return a tuple of {len(fields)} tensors")
    for name, value in zip(fields, values, strict=True):
        check_real(f"exact for field {name!r}", value, "fields")
        shape = tuple(getattr(value, "shape", ()))
        if not isinstance(value, (Tensor, np.ndarray, Real)) or shape not in ((), (1,), (len(points),)):
            found = f"shape {shape}" if isinstance(value, (Tensor, np.ndarray)) else type(value).__name__
            raise ValueError(f"exact for field {name!r} returned {found}; expected one value per point, ({len(points)},)")
    return torch.stack([torch.as_tensor(v).to(points).expand(len(points)) for v in values], 1)


def known_solution(
    domain: Domain,
    fields: int,
    exact: Callable[[np.ndarray], np.ndarray] | None,
    reference: Callable[[], GridSolution] | None,
) -> GridSolution:
    """As `Problem.solution`.

    exact: (n, d) points -> (n, fields)
    """
    d = domain.dimension
    if exact is None:
        assert reference is not None
        given = reference()
        check_real("the values of the reference", given.values, "fields")
        counts = tuple(map(len, given.axes))
        found = GridSolution(given.axes, given.values.reshape(*counts, fields))
        return found if domain.is_box else found.inside(domain)
    if d not in _GRID_COUNTS:
        points = domain.sample(_HIGH_DIMENSION_POINTS, "sobol", sampling.generator(0, "solution"))
        return GridSolution((points,), exact(points))
    counts = _GRID_COUNTS[d]
    points = domain.grid(counts)
    if not domain.is_box:
        points = points[domain.contains(points)]
        return GridSolution((points,), exact(points))
    axes = tuple(np.linspace(low, high, m) for (low, high), m in zip(domain.bounds, counts, strict=True))
    return GridSolution(axes, exact(points).reshape(*counts, -1))


def counted(
    gauge: Mapping[str, Gauge], fields: Sequence[str], values: np.ndarray, points: np.ndarray, lives: np.ndarray | None
) -> np.ndarray:
    """Values (m, fields) at points (m, d), those of free fields without their means, 0 where a field does not live.

    lives: (m, fields), None for everywhere
    """
    if lives is None and not gauge:
        return values
    found = values.copy() if lives is None else np.where(lives, values, 0.0)
    for name, free in gauge.items():
        k = fields.index(name)
        here = slice(None) if lives is None else lives[:, k]
        found[here, k] = without(free, torch.as_tensor(values[here, k]), torch.as_tensor(points[here])).numpy()
    return found


def subdomains(
    domain: Domain,
    fields: Sequence[str],
    where: Mapping[str, Domain],
    conditions: Sequence[AnyCondition],
    arguments: Mapping[str, Sequence[ArgumentSpec]],
) -> None:
    """Raises ValueError for parts of a domain that are none, and for conditions that ask for a field where it does not live."""
    for name, part in where.items():
        if name not in fields:
            raise ValueError(f"where has a field {name!r}; the problem's fields are {tuple(fields)}")
        if not isinstance(part, Domain) or part.coordinates != domain.coordinates:
            raise ValueError(f"where[{name!r}]: a domain with coordinates {domain.coordinates}, as one side of an interface")
    for condition in conditions if where else ():
        asked = {fields[spec.field] for spec in arguments[condition.name] if spec.field >= 0} & where.keys()
        if asked:
            rng = sampling.generator(0, "where", condition.name)
            places = _places(condition, rng, domain.dimension)
        for name in sorted(asked):
            if (where[name].distance(places) > _NEAR).any():
                raise ValueError(
                    f"condition {condition.name!r} asks for {name}, which lives on {where[name].describe()} only, and holds on "
                    f"{condition.region.describe()}; state it where {name} lives"
                )


def _places(condition: AnyCondition, rng: np.random.Generator, d: int) -> np.ndarray:
    region = condition.region
    if isinstance(region, Integral):
        return region.spread(torch.as_tensor(region.rows[:1]))[0].numpy()
    given = region.given
    return (region.sample(_TRIED, "sobol", rng) if given is None else given)[:, :d]
