"""Domains: what a problem is solved on, what can be made of them, and what they know of their points."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from math import prod
from typing import Any

import numpy as np

from pinntk.geometry import _names as names_of
from pinntk.geometry._bounded import Bounded
from pinntk.geometry._drawing import distance, draw
from pinntk.geometry._faces import Faces
from pinntk.geometry._part import Part
from pinntk.geometry._pieces import Selected
from pinntk.geometry._region import Predicate
from pinntk.geometry._surface import Surface

_TRIES = 2**16  # points in which a domain must have some of its own
_ESTIMATED = 2**18  # points by which a volume is estimated

Member = Callable[[Any], np.ndarray]


class Domain(Bounded):
    """A bounded set of points: a `Box`, a shape, or what `-`, `|`, `&` and `*` make of them.

    coordinates: names of the columns of every (n, d) array
    bounds: (low, high) of every coordinate, of the smallest box around it that is known
    parameters: names of coordinates that are no places: they have no part in lap_u, grad_u, normals and `boundary()`, like t
    """

    @property
    def domain(self) -> Domain:
        """Itself: every region has the domain that it is in."""
        return self

    @property
    def given(self) -> None:
        return None

    def with_interval(self, name: str, low: float, high: float) -> Domain:
        """The same with another interval of a coordinate, which is not a shape's."""
        raise ValueError(f"{name} is a coordinate of {self.describe()}, which has no interval of it")

    # What it is made of.

    @property
    def shape(self) -> Domain:
        """Its part in space: itself, or the shape that is multiplied by intervals."""
        return self

    @property
    def shape_axes(self) -> tuple[int, ...]:
        """The axes of `shape` among the coordinates."""
        return tuple(range(self.dimension))

    @property
    @abstractmethod
    def members(self) -> tuple[Domain, ...]:
        """The shapes that it is combined of, each once."""

    @property
    @abstractmethod
    def surfaces(self) -> tuple[Surface, ...]:
        """The boundaries of all members."""

    @abstractmethod
    def holds(self, inside: Member) -> np.ndarray:
        """Whether points lie in it, where `inside(member)` says whether they lie in a member."""

    def contains(self, points: np.ndarray) -> np.ndarray:
        """Whether (n, d) points lie in it, (n,); on its boundary, to rounding, either answer may come."""
        return self.holds(lambda member: member.contains(points))

    @property
    def labels(self) -> Mapping[str, tuple[Selected, ...]]:
        """What `named` has named."""
        return {}

    # Points.

    def sample(self, n: int, method: str, rng: np.random.Generator) -> np.ndarray:
        """n points (n, d) in it, left over of those in the box around it; "grid" at most n."""
        return draw(self, n, method, rng, {})

    @cached_property
    def share(self) -> float:
        """The part that it fills of what `spread` fills."""
        return self.measure / self.around

    @cached_property
    def measure(self) -> float:
        """Its length, area or volume: exact for shapes, and in the plane for what is made of them, to 1e-12, or to what the
        rounding of its coordinates leaves of that far from the origin. In more dimensions by 2^18 Sobol points: to about 1e-4
        of the box around it; in four and more, of a ball, if it is made of what is in that.
        """
        if self.dimension == 2 and len(self.space) == 2:
            return self.boundary().flux_of_position() / 2
        return self.around * float(self.contains(self.candidates(_ESTIMATED)).mean())

    def distance(self, points: np.ndarray) -> np.ndarray:
        """How far (n, d) points lie outside, relative to the extent, (n,); 0 inside, half of 1e-5 nearer than that."""
        return distance(self, points)

    # Its boundary.

    def boundary(self, *names: str, without: str | Sequence[str] = ()) -> Any:
        """Its boundary in space, or the parts of these names: those of its surfaces, or given by `named`.

        without: names of parts to leave out

        Raises ValueError for a name that no part has.
        """
        without = (without,) if isinstance(without, str) else tuple(without)
        for name in (*names, *without):
            self.selected(name)
        return self._parts.setdefault((names, without), Part(self, names, without))

    @cached_property
    def _parts(self) -> dict[tuple, Part]:
        """Those asked for so far, each of which finds its pieces once."""
        return {}

    def selected(self, name: str) -> tuple[Selected, ...]:
        """The surfaces of a name, each with the predicate that its points have to meet. Raises ValueError for unknown ones."""
        found = names_of.selected(self.shape, name)
        if not found:
            raise ValueError(names_of.unknown(self.shape, name))
        return found

    def named(self, **parts: str | Predicate | Sequence[str | Predicate]) -> Domain:
        """The same domain with names for parts of its boundary.

        parts: under each name a name or several that there are, or a function of coordinates, numpy arrays (n,), that says
            which places of the boundary belong to it

        >>> from pinntk.geometry import Box, Disk
        >>> channel = Box(x=(0, 2), y=(0, 1)) - Disk(x=0.5, y=0.5, radius=0.1, name="cylinder")
        >>> channel = channel.named(inlet="x=0", walls=("y=0", "y=1"), top=lambda y: y > 0.9)
        >>> round(channel.boundary("inlet", "cylinder").measure, 3)
        1.628

        Raises ValueError for a function that selects nothing.
        """
        found = Combination("named", (self,), {})
        for name, given in parts.items():
            chosen: list[Selected] = []
            for one in [given] if isinstance(given, str) or callable(given) else list(given):
                chosen += self.selected(one) if isinstance(one, str) else [(surface, one) for surface in self.surfaces]
            found = Combination("named", (self,), {**found.labels, name: tuple(chosen)})
            if not found.boundary(name).measure > 0:
                raise ValueError(f"named({name}=...): selects no part of the boundary of {self.describe()}")
        return found

    def at(self, **fixed: float) -> Any:
        """The flat part of the boundary where a coordinate of space has a value, as `boundary("x=0")`."""
        if len(fixed) != 1:
            raise ValueError(f"at() takes one coordinate and its value, as in at(x=0); given were {sorted(fixed)}")
        ((name, value),) = fixed.items()
        return self.boundary(names_of.flat_name(self.coordinates[self.axis(name)], value))

    def ends(self, *names: str) -> Any:
        """The flat parts of the boundary at both ends of each named coordinate."""
        if not names:
            raise ValueError('ends() needs a coordinate, as in domain.ends("x"); domain.boundary() is the whole boundary')
        return self.boundary(*(names_of.flat_name(name, end) for name in names for end in self.bounds[self.axis(name)]))

    # What is made of it.

    def __sub__(self, other: Domain) -> Domain:
        return combined("-", self, other)

    def __or__(self, other: Domain) -> Domain:
        return combined("|", self, other)

    def __and__(self, other: Domain) -> Domain:
        return combined("&", self, other)

    def __mul__(self, other: Domain) -> Domain:
        return Product(self, other)


class Combination(Domain):
    """What a set operation makes of two domains, or a domain with names for parts of its boundary."""

    def __init__(self, operation: str, parts: tuple[Domain, ...], labels: Mapping[str, tuple[Selected, ...]]):
        self.operation, self.parts = operation, parts
        self.coordinates = parts[0].coordinates
        self._labels = labels
        lows, highs = np.array([part.low for part in parts]), np.array([part.high for part in parts])
        low, high = {
            "-": (lows[0], highs[0]),
            "named": (lows[0], highs[0]),
            "|": (lows.min(0), highs.max(0)),
            "&": (lows.max(0), highs.min(0)),
        }[operation]
        self.bounds = tuple((float(a), float(b)) for a, b in zip(low, high, strict=True))

    @property
    def members(self) -> tuple[Domain, ...]:
        return tuple({id(member): member for part in self.parts for member in part.members}.values())

    @cached_property
    def surfaces(self) -> tuple[Surface, ...]:
        return tuple(surface for member in self.members for surface in member.surfaces)

    @cached_property
    def labels(self) -> Mapping[str, tuple[Selected, ...]]:
        """What `named` has named; a name that both parts have is that of both."""
        given = [name for part in self.parts for name in part.labels]
        merged = {name: sum((names_of.selected(part, name) for part in self.parts), ()) for name in given}
        return {**merged, **self._labels}

    # Points. In many dimensions a ball fills little of the box around it.

    @property
    def _drawn_from(self) -> Domain | None:
        """The part from whose points its own are chosen."""
        first = self.parts[0]
        better = self.operation != "|" and self.dimension > 3 and first.cube_dimension != first.dimension
        return first if better or self.operation == "named" else None

    @property
    def filled(self) -> bool:  # type: ignore[override]
        return self.operation == "named" and self.parts[0].filled

    @property
    def cube_dimension(self) -> int:
        return super().cube_dimension if self._drawn_from is None else self._drawn_from.cube_dimension

    def spread(self, cube: np.ndarray) -> np.ndarray:
        return super().spread(cube) if self._drawn_from is None else self._drawn_from.spread(cube)

    @property
    def around(self) -> float:
        return super().around if self._drawn_from is None else self._drawn_from.around

    @cached_property
    def measure(self) -> float:
        return self.parts[0].measure if self.operation == "named" else super().measure

    def holds(self, inside: Member) -> np.ndarray:
        first, *rest = (part.holds(inside) for part in self.parts)
        for other in rest:
            first = first & ~other if self.operation == "-" else first | other if self.operation == "|" else first & other
        return first

    def describe(self) -> str:
        first, *rest = (part.describe() for part in self.parts)
        word = {"-": "without", "|": "or", "&": "and"}.get(self.operation, "")
        return f"({first} {word} {rest[0]})" if rest else first


def combined(operation: str, first: Domain, second: Domain) -> Domain:
    """The difference, union or intersection of two domains. Raises ValueError where it is empty, or they do not go together."""
    word = {"-": "a difference", "|": "a union", "&": "an intersection"}[operation]
    if not isinstance(second, Domain):
        raise TypeError(f"{word} needs two domains; the second is a {type(second).__name__}")
    times = [part for part in (first, second) if len(part.space) < part.dimension]
    if times:
        raise ValueError(
            f"{word} is one of shapes in space: {times[0].describe()} has time or parameters; multiply by those at the end, as "
            "in (Box(x=(0, 1), y=(0, 1)) - Disk(x=0.5, y=0.5, radius=0.2)) * Box(t=(0, 1))"
        )
    if first.coordinates != second.coordinates:
        raise ValueError(f"{word} needs the same coordinates; given were {first.coordinates} and {second.coordinates}")
    if first.dimension == 1:
        raise ValueError(f"{word} of intervals: on a line give each piece as a Box of its own")
    found = Combination(operation, (first, second), {})
    solid = all(low < high for low, high in found.bounds)
    if not solid or not found.contains(found.candidates(_TRIES)).any():
        raise ValueError(
            f"{word} is empty: {first.describe()} {operation} {second.describe()} has none of {_TRIES} points; "
            "check centers, sizes and the order"
        )
    return found


class Product(Domain):
    """A shape in space times intervals of time or of parameters."""

    def __init__(self, first: Domain, second: Domain):
        if not isinstance(second, Domain):
            raise TypeError(f"{first.describe()} * {second!r}: multiply by intervals, as in * Box(t=(0, 1))")
        twice = set(first.coordinates) & set(second.coordinates)
        if twice:
            raise ValueError(f"both factors have the coordinate {min(twice)!r}; a product needs different ones")
        boxes = [part for part in (first, second) if part.is_box]
        if not boxes or boxes[0].space:
            raise ValueError(
                f"({first.describe()}) * ({second.describe()}): a shape can be multiplied by time and parameters, as in "
                "* Box(t=(0, 1)), and not by places; a cylinder is a shape of its own"
            )
        shapes = [part for part in (first, second) if part is not boxes[0]]
        self._first, self._second, self._base = first, second, shapes[0]
        self.coordinates = first.coordinates + second.coordinates
        self.bounds = first.bounds + second.bounds
        self.parameters = first.parameters + second.parameters

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Product) and (self._first, self._second) == (other._first, other._second)

    def __hash__(self) -> int:
        return hash((self._first, self._second))

    @property
    def shape(self) -> Domain:
        return self._base.shape

    @property
    def intervals(self) -> dict[str, tuple[float, float]]:
        """The coordinates that are not the shape's, with their bounds."""
        own = self.shape.coordinates
        return {name: ends for name, ends in zip(self.coordinates, self.bounds, strict=True) if name not in own}

    @property
    def shape_axes(self) -> tuple[int, ...]:
        return tuple(map(self.coordinates.index, self.shape.coordinates))

    @property
    def members(self) -> tuple[Domain, ...]:
        return self.shape.members

    @property
    def surfaces(self) -> tuple[Surface, ...]:
        return self.shape.surfaces

    def holds(self, inside: Member) -> np.ndarray:
        return self.shape.holds(inside)

    def contains(self, points: np.ndarray) -> np.ndarray:
        rest = [self.coordinates.index(name) for name in self.intervals]
        within = ((points[:, rest] >= self.low[rest]) & (points[:, rest] <= self.high[rest])).all(1)
        return within & self.shape.contains(points[:, self.shape_axes])

    @cached_property
    def measure(self) -> float:
        return self.shape.measure * prod(high - low for low, high in self.intervals.values())

    def distance(self, points: np.ndarray) -> np.ndarray:
        rest = [self.coordinates.index(name) for name in self.intervals]
        outside = np.maximum(self.low[rest] - points[:, rest], points[:, rest] - self.high[rest])
        return np.maximum((outside / (self.high - self.low)[rest]).max(1), self.shape.distance(points[:, self.shape_axes]))

    def at(self, **fixed: float) -> Any:
        """A slice at a time or at values of parameters, `at(t=0)`; or the flat part of the boundary at a place, `at(x=0)`."""
        if not set(fixed) & set(self.intervals):
            return super().at(**fixed)
        for name, value in fixed.items():
            if name not in self.intervals:
                raise ValueError(f"at({name}={value}): fix time and parameters, {tuple(self.intervals)}, or a place, not both")
            low, high = self.intervals[name]
            if not low <= value <= high:
                raise ValueError(f"at({name}={value}): outside the domain, where {name} runs from {low:g} to {high:g}")
        return Faces(self, (tuple((self.axis(name), float(value)) for name, value in fixed.items()),))

    def named(self, **parts: Any) -> Domain:
        named = self._base.named(**parts)
        return Product(*(named if part is self._base else part for part in (self._first, self._second)))

    def ends(self, *names: str) -> Any:
        for name in names:
            if name in self.intervals:
                low, high = self.intervals[name]
                raise ValueError(f'ends("{name}"): {name} is no place; its ends are at({name}={low:g}) and at({name}={high:g})')
        return super().ends(*names)

    def with_interval(self, name: str, low: float, high: float) -> Domain:
        first, second = (
            part.with_interval(name, low, high) if name in part.coordinates else part for part in (self._first, self._second)
        )
        return Product(first, second)

    def describe(self) -> str:
        rest = (f"{name} in [{low:g}, {high:g}]" for name, (low, high) in self.intervals.items())
        return " x ".join([self.shape.describe(), *rest])
