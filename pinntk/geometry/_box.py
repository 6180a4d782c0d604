"""Boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import isfinite, prod
from typing import Any

import numpy as np

from pinntk.geometry import _sampling as sampling
from pinntk.geometry._domain import Domain, Member
from pinntk.geometry._faces import Faces
from pinntk.geometry._names import flat_name
from pinntk.geometry._surface import Face, Surface


@dataclass(frozen=True, init=False)
class Box(Domain):
    """A product of intervals, one keyword a coordinate; their order is the order of columns in every (n, d) array.

    >>> domain = Box(t=(0, 1), x=(-1, 1))
    >>> domain.coordinates
    ('t', 'x')

    `domain.at(t=0)` is the face t = 0, `domain.ends("x")` the two faces x = -1 and x = 1, and `domain.boundary()` all
    faces of the coordinates other than `t`. Raises ValueError for an empty or infinite interval.
    """

    coordinates: tuple[str, ...]
    bounds: tuple[tuple[float, float], ...]
    parameters: tuple[str, ...] = field(default=(), repr=False)

    def __init__(self, **intervals: tuple[float, float]):
        if not intervals:
            raise ValueError("Box needs at least one coordinate: Box(x=(0, 1))")
        for name, interval in intervals.items():
            try:
                low, high = map(float, interval)
            except (TypeError, ValueError):
                raise ValueError(f"Box({name}={interval!r}): an interval is a pair of numbers, as in {name}=(0, 1)") from None
            if not (isfinite(low) and isfinite(high) and low < high):
                raise ValueError(f"Box({name}={interval!r}): an interval needs finite ends, the lower one first")
        object.__setattr__(self, "coordinates", tuple(intervals))
        object.__setattr__(self, "bounds", tuple((float(low), float(high)) for low, high in intervals.values()))
        object.__setattr__(self, "parameters", ())

    @classmethod
    def cube(cls, dimension: int, interval: tuple[float, float] = (0, 1), name: str = "x") -> Box:
        """The cube interval^dimension with coordinates x1, x2, ...

        >>> Box.cube(3).coordinates
        ('x1', 'x2', 'x3')
        """
        if dimension < 1:
            raise ValueError(f"dimension={dimension}: a cube has at least one coordinate")
        return cls(**{f"{name}{i}": interval for i in range(1, dimension + 1)})

    @classmethod
    def of_parameters(cls, **intervals: tuple[float, float]) -> Box:
        """Intervals of a PDE's parameters: coordinates that have no part in lap_u, grad_u, normals and `boundary()`.

        >>> domain = Box(x=(0, 1)) * Box.of_parameters(nu=(0.01, 0.1))
        >>> domain.coordinates, domain.space
        (('x', 'nu'), (0,))
        """
        found = cls(**intervals)
        object.__setattr__(found, "parameters", tuple(intervals))
        return found

    is_box = True

    @property
    def members(self) -> tuple[Domain, ...]:
        return (self,)

    @cached_property
    def surfaces(self) -> tuple[Surface, ...]:
        return tuple(
            Face(flat_name(self.coordinates[axis], self.bounds[axis][end]), self.low, self.high, axis, end)
            for axis in self.space
            for end in (0, 1)
        )

    def holds(self, inside: Member) -> np.ndarray:
        return inside(self)

    def contains(self, points: np.ndarray) -> np.ndarray:
        return np.all((points >= self.low) & (points <= self.high), axis=1)

    @cached_property
    def measure(self) -> float:
        return prod(high - low for low, high in self.bounds)

    def named(self, **parts: Any) -> Domain:
        """As `Domain.named`, of the boundary in space. Raises ValueError where time lies between two places."""
        if len(self.space) in (0, self.dimension):
            return super().named(**parts)
        first, last = self.space[0], self.space[-1] + 1
        if self.space != tuple(range(first, last)):
            raise ValueError(f"named(): put time and parameters before or behind the places, which are {self.coordinates} now")
        place, before, after = (self._only(axes) for axes in (range(first, last), range(first), range(last, self.dimension)))
        assert place is not None
        found = place.named(**parts)
        found = found if before is None else before * found
        return found if after is None else found * after

    def _only(self, axes: Sequence[int]) -> Box | None:
        """The box of some coordinates; None of none."""
        if not axes:
            return None
        found = Box(**{self.coordinates[axis]: self.bounds[axis] for axis in axes})
        object.__setattr__(found, "parameters", tuple(name for name in self.parameters if name in found.coordinates))
        return found

    def with_interval(self, name: str, low: float, high: float) -> Box:
        bounds = dict(zip(self.coordinates, self.bounds, strict=True))
        found = Box(**{**bounds, self.coordinates[self.axis(name)]: (low, high)})
        object.__setattr__(found, "parameters", self.parameters)
        return found

    def __mul__(self, other: Domain) -> Domain:
        """Intervals times intervals are a box; a shape times intervals is a domain of its own."""
        if not isinstance(other, Box) or set(self.coordinates) & set(other.coordinates):
            return super().__mul__(other)
        found = Box(**dict(zip(self.coordinates + other.coordinates, self.bounds + other.bounds, strict=True)))
        object.__setattr__(found, "parameters", self.parameters + other.parameters)
        return found

    def at(self, **fixed: float) -> Faces:
        """The slice where the given coordinates have the given values, such as `domain.at(t=0)`."""
        if not fixed:
            raise ValueError("at() needs a coordinate and its value, as in domain.at(t=0)")
        for name, value in fixed.items():
            low, high = self.bounds[self.axis(name)]
            if not low <= value <= high:
                raise ValueError(f"at({name}={value}): outside the domain, where {name} runs from {low:g} to {high:g}")
        return Faces(self, (tuple((self.axis(name), float(value)) for name, value in fixed.items()),))

    def ends(self, *names: str) -> Faces:
        """Both end faces of each named coordinate."""
        if not names:
            raise ValueError('ends() needs a coordinate, as in domain.ends("x"); domain.boundary() is every spatial face')
        return Faces(self, tuple(((self.axis(name), end),) for name in names for end in self.bounds[self.axis(name)]))

    def boundary(self, *names: str, without: str | Sequence[str] = ()) -> Any:
        """Both end faces of every coordinate that is a place; or those named so, as `boundary("x=0")`."""
        if names or without:
            return super().boundary(*names, without=without)
        return self.ends(*(self.coordinates[axis] for axis in self.space))

    def sample(self, n: int, method: str, rng: np.random.Generator) -> np.ndarray:
        return self.low + (self.high - self.low) * sampling.unit_cube(n, self.dimension, method, rng)

    def distance(self, points: np.ndarray) -> np.ndarray:
        """How far (n, d) points lie outside, relative to the extent of each coordinate; 0 inside. Shape (n,)."""
        outside = np.maximum(self.low - points, points - self.high) / (self.high - self.low)
        return np.maximum(outside.max(1), 0)
