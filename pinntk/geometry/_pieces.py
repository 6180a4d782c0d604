"""How far surfaces bound a shape."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from pinntk.geometry import _sampling as sampling
from pinntk.geometry._crossings import crossings
from pinntk.geometry._region import Predicate
from pinntk.geometry._surface import Surface

_SCAN = 4096  # places of a curve, at least, at which a predicate is asked; between two of them, once
_AREA, _SMALL_AREA = 2**14, 2**18  # places of a surface by which its area on the boundary is estimated
_FEW = 256  # of them on it, below which it is a small one
_SAME = 1e-13  # of the extent: surfaces nearer than that are the same place
_PARALLEL = 1 - 1e-6  # the cosine between normals of surfaces that are the same there
_NARROW = 1e-12  # of a curve: ends of its arcs that are nearer to each other are one

Selected = tuple[Surface, Predicate | None]
Alive = Callable[[np.ndarray], np.ndarray]


class Piece(NamedTuple):
    """A surface, as far as it bounds the domain.

    outward: 1 where its normals point out of the domain, -1 where they point into it
    arcs: (k, 2) intervals of a curve's parameter; None for surfaces of more parameters
    measure: the length or area that bounds the domain
    """

    surface: Surface
    outward: int
    arcs: np.ndarray | None
    measure: float

    def stretches(self) -> list[list[float]]:
        """Of each arc of a curve: its ends, and between them where the curve is not smooth, rising."""
        assert self.arcs is not None
        breaks = self.surface.breaks
        return [[start, *(b for b in breaks if start < b < end), end] for start, end in self.arcs.tolist()]


def rounding(shape: Any) -> float:
    """How far apart places of a shape may lie that are the same to rounding."""
    return float(_SAME * shape.extent + 32 * np.finfo(float).eps * max(np.abs(shape.low).max(), np.abs(shape.high).max()))


@dataclass(frozen=True, eq=False)
class Bounding:
    """Which places of surfaces bound a shape and are asked for.

    selected: the surfaces, with the predicates that their places have to meet; a place on several counts on the first
    without: the same of places to leave out
    meets: of places (n, d) and the normals (n, d) there out of the shape, whether they are asked for; None for all
    touched: surfaces at which that can change
    """

    shape: Any
    selected: Sequence[Selected]
    without: Sequence[Selected]
    meets: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None
    touched: Sequence[Surface] = ()

    def pieces(self) -> tuple[Piece, ...]:
        """The surfaces that have such places. Raises ValueError where one of them has the domain on either side."""
        found: list[Piece] = []
        for surface in self._surfaces:
            own = self._arcs(surface) if self.shape.dimension == 2 else self._estimated(surface)
            if len(own) > 1:
                raise ValueError(
                    f"the surface {surface.name!r} bounds {self.shape.describe()} from either side, so that its normal is not "
                    "one; build the shape of different pieces"
                )
            found += own
        return tuple(found)

    @property
    def _surfaces(self) -> list[Surface]:
        return list(dict.fromkeys(surface for surface, _ in self.selected))

    def alive(self, surface: Surface, points: np.ndarray) -> np.ndarray:
        """Of places (n, d) on a surface: 1 and -1 where the normal points out of the domain and into it, 0 elsewhere."""
        shape = self.shape
        normals = surface.normals_of(points)
        (owner,) = (member for member in shape.members if any(one is surface for one in member.surfaces))
        inside: dict[int, dict[int, np.ndarray]] = {-1: {}, 1: {}}  # a little to this side, by member
        for member in shape.members:
            for side, known in inside.items():
                known[id(member)] = np.full(len(points), side < 0)
            if member is not owner:
                within, facing = self._beside(member, points, normals)
                for side, known in inside.items():
                    known[id(member)] = np.where(np.isnan(facing), within, side * facing < 0)
        before, behind = (shape.holds(lambda member, at=known: at[id(member)]) for known in inside.values())
        found = before.astype(int) - behind
        for other in self._surfaces:
            if other is surface:
                break
            same = self._same(other, points, normals)
            if same.any():
                found[same] = np.where(self._asked(other, points[same], normals[same]), 0, found[same])
        found *= self._asked(surface, points, normals)
        return found if self.meets is None else found * self.meets(points, found[:, None] * normals)

    def _beside(self, member: Any, points: np.ndarray, normals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Whether places lie in a member; where its own boundary passes through them, what counts is the second: the cosine
        between the normals, NaN elsewhere.
        """
        facing = np.full(len(points), np.nan)
        distances = np.array([surface.distance_of(points) for surface in member.surfaces])
        nearest = distances.argmin(0)
        upon = distances.min(0) < rounding(self.shape)
        for number, surface in enumerate(member.surfaces):
            here = upon & (nearest == number)
            if here.any():
                facing[here] = (surface.normals_of(points[here]) * normals[here]).sum(1)
        return member.contains(points), facing

    def _same(self, other: Surface, points: np.ndarray, normals: np.ndarray) -> np.ndarray:
        """Whether another surface is the same at places."""
        found = other.distance_of(points) < rounding(self.shape)
        found[found] = np.abs((other.normals_of(points[found]) * normals[found]).sum(1)) > _PARALLEL
        return found

    def _asked(self, surface: Surface, points: np.ndarray, normals: np.ndarray) -> np.ndarray:
        """Whether places of a surface are of the selected ones, and not of those to leave out, which may lie on others too."""
        found = np.zeros(len(points), bool)
        for one, predicate in self.selected:
            if one is surface:
                found |= self._where(predicate, points)
        for one, predicate in self.without:
            here = np.ones(len(points), bool) if one is surface else self._same(one, points, normals)
            if here.any():
                here[here] = self._where(predicate, points[here])
            found &= ~here
        return found

    def _where(self, predicate: Predicate | None, points: np.ndarray) -> np.ndarray:
        if predicate is None:
            return np.ones(len(points), bool)
        coordinates, names = self.shape.coordinates, list(inspect.signature(predicate).parameters)
        for name in names:
            if name not in coordinates:
                raise ValueError(
                    f"a function that names a part of the boundary asks for {name!r}; coordinates are {coordinates}"
                )
        said = predicate(*(points[:, coordinates.index(name)] for name in names))
        return np.broadcast_to(np.asarray(said, bool), len(points))

    def _arcs(self, surface: Surface) -> list[Piece]:
        """The intervals of a curve's parameter that bound the domain; one piece for each orientation.

        They can end where the curve meets others, and where a predicate changes, which is found by bisection.
        """

        def at(u: np.ndarray) -> np.ndarray:
            return self.alive(surface, surface.at(u[:, None]))

        meetings, blurred = self._meetings(surface)
        searched = self.meets is not None or any(where is not None for _, where in (*self.selected, *self.without))
        scan = (np.arange(count := max(_SCAN, 16 * len(surface.breaks)) if searched else _SCAN) + 0.5) / count
        beside = np.searchsorted(meetings, scan)
        scan = scan[np.minimum(scan - meetings[beside - 1], meetings[beside] - scan) > blurred]
        middles = (meetings[:-1] + meetings[1:])[np.diff(meetings) > _NARROW] / 2
        places = np.union1d(scan, middles)
        values = at(places)
        change = np.flatnonzero(np.diff(values))
        low, high = places[change], places[change + 1]
        first, last = np.searchsorted(meetings, low), np.searchsorted(meetings, high) - 1
        met = last >= first  # the curve meets others once between low and high
        ends = np.where(met, meetings[np.minimum(first, len(meetings) - 1)], np.nan)
        if searched or not met.all():
            bisected = _bisected(at, low, high, values[change])
            ends = np.where(np.abs(ends - bisected) < blurred if searched else met, ends, bisected)
        ends = np.concatenate([[0.0], ends, [1.0]])
        signs = np.concatenate([values[:1], values[change + 1]])
        found = []
        for outward in (1, -1):
            arcs = np.stack([ends[:-1], ends[1:]], 1)[signs == outward]
            if len(arcs):
                found.append(Piece(surface, outward, arcs, surface.measure * float(np.diff(arcs).sum())))
        return found

    def _meetings(self, surface: Surface) -> tuple[np.ndarray, float]:
        """The parameters where a curve may meet those of other members, with both ends, and how near to them nothing can be
        seen: where curves touch, they are the same to rounding on the square root of it.
        """
        near, extent = rounding(self.shape), self.shape.extent
        members = [m for m in self.shape.members if all(one is not surface for one in m.surfaces)]
        others = [*(other for member in members for other in member.surfaces), *self.touched]
        places = [crossings(surface, other, near) for other in others if other is not surface]
        found = np.concatenate([np.empty((0, 2)), *places])
        found = found[surface.distance_of(found) < 1e-6 * extent] if len(found) else found
        own = surface.place(found) if len(found) else np.empty(0)
        return np.unique(np.concatenate([[0.0, 1.0], own])), 4 * (near * extent) ** 0.5 / surface.measure

    def _estimated(self, surface: Surface) -> list[Piece]:
        """A surface with the area of it that bounds the domain, by Sobol points; one piece for each orientation."""
        for count in (_AREA, _SMALL_AREA):
            cube = sampling.unit_cube(count, surface.parameters, "sobol", np.random.default_rng(0))
            values = self.alive(surface, surface.at(cube))
            counted = {outward: int((values == outward).sum()) for outward in (1, -1)}
            if not any(0 < many < _FEW for many in counted.values()):
                break
        return [Piece(surface, outward, None, many / count * surface.measure) for outward, many in counted.items() if many]


def _bisected(at: Alive, low: np.ndarray, high: np.ndarray, before: np.ndarray) -> np.ndarray:
    """Where values change, each once between low and high."""
    for _ in range(52):
        middle = (low + high) / 2
        same = at(middle) == before
        low, high = np.where(same, middle, low), np.where(same, high, middle)
    return (low + high) / 2
