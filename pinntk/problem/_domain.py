"""Domains, their faces, and points on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import isfinite, prod
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from pinntk.problem import _sampling as sampling

TIME = "t"  # the coordinate of this name is time: it has no part in lap_u, grad_u or boundary()
_TOLERANCE = 1e-5  # of the extent: float32 points of a face count as on it


class Region(Protocol):
    """Where a condition holds: a `Box`, `Faces`, a `PeriodicPair`, `Measurements` or a `PointSet`."""

    @property
    def box(self) -> Box: ...

    @property
    def coordinates(self) -> tuple[str, ...]: ...

    @property
    def given(self) -> np.ndarray | None:
        """All rows (m, width) that there are; None where any number of points can be drawn."""
        ...

    def sample(self, n: int, method: str, rng: np.random.Generator) -> np.ndarray:
        """n points (n, width) on the region, or fewer for the method "grid"."""
        ...

    def distance(self, points: np.ndarray) -> np.ndarray:
        """How far (n, d) points lie from the region, (n,), relative to the extent of each coordinate; 0 on it."""
        ...

    def describe(self) -> str: ...


@dataclass(frozen=True, init=False)
class Box:
    """A product of intervals, one keyword a coordinate; their order is the order of columns in every (n, d) array.

    >>> domain = Box(t=(0, 1), x=(-1, 1))
    >>> domain.coordinates
    ('t', 'x')

    `domain.at(t=0)` is the face t = 0, `domain.ends("x")` the two faces x = -1 and x = 1, and `domain.boundary()` all
    faces of the coordinates other than `t`. Raises ValueError for an empty or infinite interval.
    """

    coordinates: tuple[str, ...]
    bounds: tuple[tuple[float, float], ...]

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

    @classmethod
    def cube(cls, dimension: int, interval: tuple[float, float] = (0, 1), name: str = "x") -> Box:
        """The cube interval^dimension with coordinates x1, x2, ...

        >>> Box.cube(3).coordinates
        ('x1', 'x2', 'x3')
        """
        if dimension < 1:
            raise ValueError(f"dimension={dimension}: a cube has at least one coordinate")
        return cls(**{f"{name}{i}": interval for i in range(1, dimension + 1)})

    @property
    def box(self) -> Box:
        """Itself: every region has the box that it is in."""
        return self

    @property
    def given(self) -> None:
        return None

    @property
    def dimension(self) -> int:
        return len(self.coordinates)

    @cached_property
    def low(self) -> np.ndarray:
        return np.array([low for low, _ in self.bounds])

    @cached_property
    def high(self) -> np.ndarray:
        return np.array([high for _, high in self.bounds])

    @property
    def space(self) -> tuple[int, ...]:
        """The axes of the coordinates that are not time."""
        return tuple(axis for axis, name in enumerate(self.coordinates) if name != TIME)

    def axis(self, name: str) -> int:
        if name not in self.coordinates:
            raise ValueError(f"coordinate {name!r} is unknown; the domain has {self.coordinates}")
        return self.coordinates.index(name)

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

    def boundary(self) -> Faces:
        """Both end faces of every coordinate but `t`."""
        return self.ends(*(self.coordinates[axis] for axis in self.space))

    def sample(self, n: int, method: str, rng: np.random.Generator) -> np.ndarray:
        return self.low + (self.high - self.low) * sampling.unit_cube(n, self.dimension, method, rng)

    def grid(self, counts: tuple[int, ...]) -> np.ndarray:
        """The product grid with ends, shape (prod(counts), d); the last coordinate varies fastest."""
        return self.low + (self.high - self.low) * sampling.grid(counts)

    def distance(self, points: np.ndarray) -> np.ndarray:
        """How far (n, d) points lie outside, relative to the extent of each coordinate; 0 inside. Shape (n,)."""
        outside = np.maximum(self.low - points, points - self.high) / (self.high - self.low)
        return np.maximum(outside.max(1), 0)

    def describe(self) -> str:
        return " x ".join(
            f"{name} in [{low:g}, {high:g}]" for name, (low, high) in zip(self.coordinates, self.bounds, strict=True)
        )


@dataclass(frozen=True)
class Faces:
    """A union of slices of a box; in each, some coordinates are fixed.

    pieces: for each slice, its (axis, value) pairs
    """

    box: Box
    pieces: tuple[tuple[tuple[int, float], ...], ...]

    def __or__(self, other: Faces) -> Faces:
        if not isinstance(other, Faces) or other.box != self.box:
            raise ValueError("only faces of the same domain can be joined with |")
        return Faces(self.box, self.pieces + other.pieces)

    @property
    def coordinates(self) -> tuple[str, ...]:
        return self.box.coordinates

    @property
    def dimension(self) -> int:
        return self.box.dimension

    @property
    def given(self) -> None:
        return None

    def _extent(self, piece: tuple[tuple[int, float], ...]) -> float:
        fixed = dict(piece)
        return prod(high - low for axis, (low, high) in enumerate(self.box.bounds) if axis not in fixed)

    def sample(self, n: int, method: str, rng: np.random.Generator) -> np.ndarray:
        """n points shared out over the slices by their extent (by count for "grid": at most n)."""
        extents = np.array([self._extent(piece) for piece in self.pieces])
        shares = n * extents / extents.sum()
        counts = np.floor(shares).astype(int)
        for i in np.argsort(counts - shares, kind="stable")[: n - counts.sum()]:
            counts[i] += 1
        parts = [self._piece(piece, m, method, rng) for piece, m in zip(self.pieces, counts, strict=True) if m]
        return np.concatenate(parts)

    def _piece(self, piece: tuple[tuple[int, float], ...], n: int, method: str, rng: np.random.Generator) -> np.ndarray:
        fixed = dict(piece)
        free = [axis for axis in range(self.dimension) if axis not in fixed]
        cube = sampling.unit_cube(n, len(free), method, rng)
        points = np.empty((len(cube), self.dimension))
        points[:, free] = self.box.low[free] + (self.box.high - self.box.low)[free] * cube
        points[:, list(fixed)] = list(fixed.values())
        return points

    def distance(self, points: np.ndarray) -> np.ndarray:
        """How far (n, d) points lie from the nearest slice, relative to the extent of each coordinate. Shape (n,)."""
        size = self.box.high - self.box.low
        gaps = [np.max([np.abs(points[:, axis] - value) / size[axis] for axis, value in piece], 0) for piece in self.pieces]
        return np.maximum(np.min(gaps, 0), self.box.distance(points))

    @property
    def has_normals(self) -> bool:
        """Whether every slice is a face of the box, of a coordinate other than t."""
        single = all(len(piece) == 1 for piece in self.pieces)
        return single and all(v in self.box.bounds[a] and a in self.box.space for ((a, v),) in self.pieces)

    def normals(self, points: Tensor) -> Tensor:
        """Outward unit normals (n, d) of (n, d) points, where there are any (`has_normals`); on an edge, that of the first
        slice that holds the point.
        """
        by_piece = points.new_zeros((len(self.pieces), self.dimension))
        gaps = []
        for row, piece in zip(by_piece, self.pieces, strict=True):
            ((axis, value),) = piece
            low, high = self.box.bounds[axis]
            row[axis] = -1.0 if value == low else 1.0
            gaps.append((points[:, axis] - value).abs() / (high - low))
        return by_piece[torch.stack(gaps).argmin(0)]

    def periodic_pair(self) -> PeriodicPair:
        """These two faces as a pair. Raises ValueError if they are not the two ends of one coordinate."""
        axes = {axis for piece in self.pieces for axis, _ in piece}
        values = sorted(value for piece in self.pieces for _, value in piece)
        if len(self.pieces) != 2 or len(axes) != 1 or tuple(values) != self.box.bounds[min(axes)]:
            raise ValueError("a periodic condition needs the two ends of one coordinate, as in domain.ends('x')")
        return PeriodicPair(self.box, axes.pop())

    def describe(self) -> str:
        names = self.box.coordinates
        return " or ".join(", ".join(f"{names[axis]} = {value:g}" for axis, value in piece) for piece in self.pieces)


@dataclass(frozen=True)
class PeriodicPair:
    """The lower face of a coordinate, whose every point has an opposite on the upper face."""

    box: Box
    axis: int

    @property
    def coordinates(self) -> tuple[str, ...]:
        return self.box.coordinates

    @property
    def given(self) -> None:
        return None

    @property
    def lower(self) -> Faces:
        return Faces(self.box, (((self.axis, self.box.bounds[self.axis][0]),),))

    def opposite(self, points: Tensor) -> Tensor:
        """(n, d) points of the lower face, moved to the upper face."""
        moved = points.clone()
        moved[:, self.axis] = self.box.bounds[self.axis][1]
        return moved

    def sample(self, n: int, method: str, rng: np.random.Generator) -> np.ndarray:
        return self.lower.sample(n, method, rng)

    def distance(self, points: np.ndarray) -> np.ndarray:
        return self.lower.distance(points)

    def describe(self) -> str:
        return f"{self.lower.describe()} (the lower of two periodic faces)"


@dataclass(frozen=True, eq=False)
class Measurements:
    """Measured rows: (m, d) coordinates, and columns of measured values that ride along with them."""

    box: Box
    points: np.ndarray
    columns: Mapping[str, np.ndarray]

    @property
    def coordinates(self) -> tuple[str, ...]:
        return self.box.coordinates

    @property
    def rows(self) -> np.ndarray:
        """(m, d + number of columns)."""
        return np.column_stack([self.points, *self.columns.values()])

    @property
    def given(self) -> np.ndarray:
        return self.rows

    def sample(self, n: int, method: str, rng: np.random.Generator) -> np.ndarray:
        """n of the rows, drawn without repetition."""
        return choose(self.rows, n, rng, "data points", "measured")

    def distance(self, points: np.ndarray) -> np.ndarray:
        return self.box.distance(points)

    def describe(self) -> str:
        return f"{len(self.points)} measured points in {self.box.describe()}"


def choose(rows: np.ndarray, n: int, rng: np.random.Generator, what: str, how: str) -> np.ndarray:
    """n of the rows in their order, drawn without repetition. Raises ValueError for more than there are."""
    if n == len(rows):
        return rows
    if n > len(rows):
        raise ValueError(f"{n} {what} asked for, but only {len(rows)} were {how}")
    return rows[np.sort(rng.choice(len(rows), n, replace=False))]


def as_rows(name: str, points: Any) -> Tensor:
    """A condition's points as a tensor: the tensor itself, or a copy of a numpy array or of lists; TypeError for others, and
    for complex numbers.
    """
    if not isinstance(points, Tensor):
        try:
            points = torch.as_tensor(np.array(points))  # a copy, since an array may run backwards or be read-only
        except (TypeError, ValueError) as error:
            raise TypeError(
                f"points[{name!r}] is a {type(points).__name__} that holds no numbers or rows of unequal length; give an "
                "(n, d) tensor or numpy array"
            ) from error
    check_real(f"points[{name!r}]", points, "coordinates")
    return points


def as_array(what: str, values: Any) -> np.ndarray:
    """A float64 copy of numbers. Raises TypeError, naming them, for complex ones."""
    check_real(what, values, "columns")
    return np.asarray(values.detach().cpu() if isinstance(values, Tensor) else values, dtype=float)


def check_real(what: str, values: Any, kind: str) -> None:
    """Raises TypeError, naming what they are, for complex numbers, which become real and wrong where they meet real ones."""
    if values.is_complex() if isinstance(values, Tensor) else np.iscomplexobj(values):
        raise TypeError(f"{what}: complex numbers, where real ones belong; make two {kind} of them, .real and .imag")


def check_points(name: str, points: np.ndarray, region: Region) -> None:
    """Raises ValueError, naming the condition and the first bad row, for NaN or for points outside the region."""
    bad = np.flatnonzero(~np.isfinite(points).all(1))
    if len(bad):
        raise ValueError(f"points[{name!r}] row {bad[0]} is {_row(points[bad[0]])}: NaN or infinite; remove such rows")
    far = np.flatnonzero(region.distance(points[:, : len(region.coordinates)]) > _TOLERANCE)
    if len(far):
        raise ValueError(
            f"points[{name!r}] row {far[0]} is {_row(points[far[0]])}, but this condition holds on {region.describe()} "
            f"({len(far)} of {len(points)} rows are off); columns are {region.coordinates} in this order"
        )


def _row(values: np.ndarray) -> str:
    return "(" + ", ".join(f"{value:.6g}" for value in values) + ")"


def finite_columns(name: str, arrays: Mapping[str, np.ndarray]) -> None:
    """Raises ValueError, naming the array and its first bad row, where measured data hold NaN or infinity."""
    for label, values in arrays.items():
        bad = np.flatnonzero(~np.isfinite(values).reshape(len(values), -1).all(1))
        if len(bad):
            raise ValueError(f"data condition {name!r}: {label} has NaN or infinity in row {bad[0]}; remove such rows")
