"""Shapes: disks, balls, ellipses, polygons and cylinders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from math import cos, gamma, isfinite, pi, sin
from typing import Any

import numpy as np
import shapely
from shapely.geometry import polygon as shapely_polygon

from pinntk.geometry._curves import EllipseCurve, Polyline
from pinntk.geometry._domain import Domain, Member
from pinntk.geometry._names import flat_name
from pinntk.geometry._surface import Cap, Sphere, Surface, Tube

_SMALLEST = 1e-9  # of its distance from the origin: how narrow a shape may be


class Shape(Domain):
    """A domain that is made of no others."""

    @property
    def members(self) -> tuple[Domain, ...]:
        return (self,)

    def holds(self, inside: Member) -> np.ndarray:
        return inside(self)


class Ball(Shape):
    """A ball in any number of dimensions, one keyword a coordinate with that of its center.

    radius: a positive number
    name: of its boundary, to ask for it by

    >>> ball = Ball(x=0, y=0, z=0, radius=0.5)
    >>> ball.coordinates, round(ball.measure, 4), ball.boundary("ball").describe()
    (('x', 'y', 'z'), 0.5236, "'ball' of the ball of radius 0.5 around (0, 0, 0)")
    """

    def __init__(self, *, radius: float, name: str = "ball", **center: float):
        self.coordinates, self.center = _centered(type(self).__name__, center)
        self.radius, self.name = _positive(type(self).__name__, "radius", radius), name
        if len(center) < 2:
            raise ValueError(f"{type(self).__name__}: a center has two coordinates or more; an interval is a Box")
        self.bounds = tuple((float(c) - self.radius, float(c) + self.radius) for c in self.center)
        _check_rounding(self)

    filled = True

    @property
    def cube_dimension(self) -> int:
        return self.dimension if self.dimension <= 3 else self.dimension + 1

    @property
    def around(self) -> float:
        return self.measure

    @cached_property
    def surfaces(self) -> tuple[Surface, ...]:
        return (Sphere(self.name, self.center, self.radius),)

    def contains(self, points: np.ndarray) -> np.ndarray:
        return ((points - self.center) ** 2).sum(1) <= self.radius**2

    def spread(self, cube: np.ndarray) -> np.ndarray:
        sphere = self.surfaces[0]
        assert isinstance(sphere, Sphere)
        return self.center + self.radius * cube[:, :1] ** (1 / self.dimension) * sphere.directions(cube[:, 1:])

    def filling(self, cube: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        sphere = self.surfaces[0]
        if self.dimension != 3 or not isinstance(sphere, Sphere):
            return None
        places = self.center + self.radius * cube[:, :1] * sphere.directions(cube[:, 1:])
        return places, sphere.measure * self.radius * cube[:, 0] ** 2

    @cached_property
    def measure(self) -> float:
        return pi ** (self.dimension / 2) / gamma(self.dimension / 2 + 1) * self.radius**self.dimension

    def describe(self) -> str:
        what = "disk" if self.dimension == 2 else "ball"
        return f"the {what} of radius {self.radius:g} around ({', '.join(f'{c:g}' for c in self.center)})"


class Disk(Ball):
    """A disk, `Disk(x=0.5, y=0.5, radius=0.2)`; the keywords name its two coordinates.

    >>> plate = Disk(x=0, y=0, radius=1) - Disk(x=0.2, y=0, radius=0.5, name="hole")
    >>> round(plate.measure / 3.141592653589793, 12), round(plate.boundary("hole").measure, 6)
    (0.75, 3.141593)
    """

    def __init__(self, *, radius: float, name: str = "disk", **center: float):
        super().__init__(radius=radius, name=name, **center)
        if len(center) != 2:
            raise ValueError(f"Disk: a center has two coordinates, not {len(center)}; a Ball has more")


class Ellipse(Shape):
    """An ellipse: `Ellipse(x=0, y=0, radii=(2, 1), angle=0.3)`.

    radii: along its own two axes, positive
    angle: by which it is turned, counterclockwise, in radians
    """

    def __init__(self, *, radii: tuple[float, float], angle: float = 0.0, name: str = "ellipse", **center: float):
        self.coordinates, self.center = _centered("Ellipse", center)
        if len(center) != 2:
            raise ValueError(f"Ellipse: a center has two coordinates, not {len(center)}")
        if not isinstance(radii, (tuple, list, np.ndarray)) or len(radii) != 2:
            raise ValueError(f"Ellipse(radii={radii!r}): two numbers, along its own two axes")
        if not (isinstance(angle, (int, float, np.number)) and isfinite(angle)):
            raise ValueError(f"Ellipse(angle={angle!r}): a number, in radians")
        self.radii = np.array([_positive("Ellipse", "radii", radius) for radius in radii])
        self.turn = np.array([[cos(angle), -sin(angle)], [sin(angle), cos(angle)]])
        self.name = name
        half = np.sqrt(((self.turn * self.radii) ** 2).sum(1))
        self.bounds = tuple((float(c - h), float(c + h)) for c, h in zip(self.center, half, strict=True))
        _check_rounding(self)

    @cached_property
    def surfaces(self) -> tuple[Surface, ...]:
        return (EllipseCurve(self.name, self.center, self.radii, self.turn),)

    def contains(self, points: np.ndarray) -> np.ndarray:
        return (((points - self.center) @ self.turn / self.radii) ** 2).sum(1) <= 1

    @cached_property
    def measure(self) -> float:
        return float(pi * self.radii.prod())

    def describe(self) -> str:
        a, b = self.radii
        return f"the ellipse of radii {a:g} and {b:g} around ({self.center[0]:g}, {self.center[1]:g})"


class Polygon(Shape):
    """A polygon, with holes if there are any.

    vertices: (m, 2) corners in turn, either way round; or a `shapely.Polygon`
    holes: corners of each hole
    edges: names of edges by the number of their first corner, such as {0: "inlet", 3: "wall"}; the other edges are "outer" and
        "hole"
    coordinates: names of the two

    Raises ValueError for edges that cross, holes that are not inside, and other polygons that are none.

    >>> corner = Polygon([(0, 0), (2, 0), (2, 1), (1, 1), (1, 2), (0, 2)], edges={0: "floor"})
    >>> corner.measure, corner.boundary("floor").measure, corner.boundary(without="floor").measure
    (3.0, 2.0, 6.0)
    """

    def __init__(
        self,
        vertices: Any,
        holes: Sequence[Any] = (),
        *,
        edges: Mapping[int, str] | None = None,
        coordinates: tuple[str, str] = ("x", "y"),
    ):
        if isinstance(vertices, shapely.Geometry) and not isinstance(vertices, shapely.Polygon):
            raise TypeError(f"Polygon: a shapely.{vertices.geom_type} is none; give each polygon by itself, joined by |")
        if isinstance(vertices, shapely.Polygon):
            vertices = shapely.remove_repeated_points(vertices)
            vertices, holes = vertices.exterior.coords, [*holes, *(ring.coords for ring in vertices.interiors)]
        shell = _corners("vertices", vertices)
        inner = [_corners(f"hole {number}", hole) for number, hole in enumerate(holes)]
        found = shapely.Polygon(shell, inner)
        if not found.is_valid:
            raise ValueError(f"Polygon: {shapely.is_valid_reason(found)}; edges must not cross, and holes must lie inside")
        if edges and not set(edges) <= set(range(len(shell))):
            raise ValueError(f"Polygon(edges={dict(edges)}): there are corners 0 to {len(shell) - 1}")
        if len(coordinates) != 2 or len(set(coordinates)) != 2:
            raise ValueError(f"Polygon(coordinates={coordinates!r}): names of two coordinates, such as ('x', 'y')")
        self.coordinates = tuple(coordinates)
        self.polygon = shapely_polygon.orient(found)
        shapely.prepare(self.polygon)
        x_low, y_low, x_high, y_high = self.polygon.bounds
        self.bounds = ((x_low, x_high), (y_low, y_high))
        _check_rounding(self)
        self._shell, self._holes = shell, [np.array(ring.coords) for ring in self.polygon.interiors]
        self._edges = dict(edges or {})

    @cached_property
    def surfaces(self) -> tuple[Surface, ...]:
        ring = np.concatenate([self._shell, self._shell[:1]])
        backward = not shapely.LinearRing(self._shell).is_ccw
        found: list[Surface] = []
        first = 0
        for corner in range(1, len(self._shell) + 1):  # edges of one name in a row are one surface
            name = self._edges.get(first, "outer")
            if corner == len(self._shell) or self._edges.get(corner, "outer") != name:
                run = ring[first : corner + 1]
                found.append(Polyline(name, run[::-1].copy() if backward else run))
                first = corner
        return (*found, *(Polyline("hole", hole) for hole in self._holes))

    def contains(self, points: np.ndarray) -> np.ndarray:
        return shapely.contains_xy(self.polygon, points[:, 0], points[:, 1])

    @cached_property
    def measure(self) -> float:
        return float(self.polygon.area)

    def describe(self) -> str:
        many = len(self._holes)
        holes = f" and {many} hole{'s' if many > 1 else ''}" if many else ""
        return f"the polygon of {len(self._shell)} corners{holes} from ({self._shell[0][0]:g}, {self._shell[0][1]:g})"


class Cylinder(Shape):
    """A cylinder along a coordinate, whose keyword has an interval: `Cylinder(x=0, y=0, z=(0, 1), radius=0.5)`.

    Its boundary has the parts "side", "z=0" and "z=1".
    """

    def __init__(self, *, radius: float, **places: float | tuple[float, float]):
        self.coordinates = tuple(places)
        long = [name for name, place in places.items() if not isinstance(place, (int, float, np.number))]
        if len(places) != 3 or len(long) != 1:
            raise ValueError(f"Cylinder({', '.join(places)}): two numbers and one interval, as in x=0, y=0, z=(0, 1)")
        self.long, self.radius = self.coordinates.index(long[0]), _positive("Cylinder", "radius", radius)
        try:
            low, high = map(float, places[long[0]])  # type: ignore[arg-type]
        except (TypeError, ValueError):
            raise ValueError(f"Cylinder({long[0]}={places[long[0]]!r}): an interval is a pair of numbers") from None
        if not (isfinite(low) and isfinite(high) and low < high):
            raise ValueError(f"Cylinder({long[0]}={places[long[0]]}): an interval needs finite ends, the lower end first")
        _, self.center = _centered("Cylinder", {name: c for name, c in places.items() if name not in long})
        self.across = [axis for axis in range(3) if axis != self.long]
        bounds = [(float(c) - self.radius, float(c) + self.radius) for c in self.center]
        bounds.insert(self.long, (low, high))
        self.bounds = tuple(bounds)
        _check_rounding(self)

    @cached_property
    def surfaces(self) -> tuple[Surface, ...]:
        name, ends = self.coordinates[self.long], self.bounds[self.long]
        caps = [Cap(flat_name(name, ends[i]), self.center, self.radius, self.long, ends[i], (-1.0, 1.0)[i]) for i in (0, 1)]
        return (Tube("side", self.center, self.radius, self.long, ends), *caps)

    def contains(self, points: np.ndarray) -> np.ndarray:
        low, high = self.bounds[self.long]
        along = points[:, self.long]
        return (((points[:, self.across] - self.center) ** 2).sum(1) <= self.radius**2) & (low <= along) & (along <= high)

    def filling(self, cube: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        angle, (low, high) = 2 * pi * cube[:, 1], self.bounds[self.long]
        places = np.empty((len(cube), 3))
        places[:, self.across] = self.center + self.radius * cube[:, :1] * np.stack([np.cos(angle), np.sin(angle)], 1)
        places[:, self.long] = low + (high - low) * cube[:, 2]
        return places, 2 * self.measure * cube[:, 0]

    @cached_property
    def measure(self) -> float:
        low, high = self.bounds[self.long]
        return pi * self.radius**2 * (high - low)

    def describe(self) -> str:
        low, high = self.bounds[self.long]
        return f"the cylinder of radius {self.radius:g} along {self.coordinates[self.long]} from {low:g} to {high:g}"


def _check_rounding(shape: Domain) -> None:
    """Raises ValueError for a shape whose places float64 does not tell apart."""
    size, away = float((shape.high - shape.low).min()), float(np.abs([shape.low, shape.high]).max())
    if size < _SMALLEST * away:
        raise ValueError(
            f"{shape.describe()} is {size:.1g} wide, {away:.1g} from the origin, where float64 tells few of its places apart; "
            "move the origin of the coordinates into the domain"
        )


def _positive(shape: str, name: str, value: float) -> float:
    if not (isinstance(value, (int, float, np.number)) and isfinite(value) and value > 0):
        raise ValueError(f"{shape}({name}={value!r}): a positive number")
    return float(value)


def _centered(shape: str, center: Mapping[str, Any]) -> tuple[tuple[str, ...], np.ndarray]:
    for name, value in center.items():
        if not (isinstance(value, (int, float, np.number)) and isfinite(value)):
            raise ValueError(f"{shape}({name}={value!r}): the center's coordinate is a number, as in {name}=0.5")
    return tuple(center), np.array([float(value) for value in center.values()])


def _corners(what: str, vertices: Any) -> np.ndarray:
    found = np.array(vertices, dtype=float)
    if found.ndim != 2 or found.shape[1] != 2 or not np.isfinite(found).all():
        raise ValueError(f"Polygon: {what} have shape {found.shape}; corners are (m, 2) finite numbers")
    found = found[:-1] if len(found) > 1 and (found[0] == found[-1]).all() else found
    again = np.flatnonzero((found == np.roll(found, 1, axis=0)).all(1))
    if len(again):
        raise ValueError(f"Polygon: {what} have the corner ({found[again[0]][0]:g}, {found[again[0]][1]:g}) twice in a row")
    if len(found) < 3:
        raise ValueError(f"Polygon: {what} are {len(found)} corners; a polygon has three or more")
    return found
