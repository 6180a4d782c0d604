"""Planes through a domain, and maps in them that end where the domain does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import scipy
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.tri import Triangulation

from pinntk.geometry import Domain
from pinntk.geometry._bounded import TIME
from pinntk.problem import GridSolution

_GRID, _SMALL_GRID = 81, 51  # places of a map along each of its two coordinates; of one of several
_TIMES = (0.0, 0.25, 0.5, 0.75, 1.0)  # shares of the time that are drawn
_HALVINGS = 40  # of the way between a place inside and one outside, to the edge
_CURVE = 200  # places of a boundary's curve
_ENDS = (0.0, 0.5, 1.0)  # shares of a parameter
_PLACES = (0.5, 0.25, 0.75, 0.125, 0.875)  # where a third coordinate of space is fixed, the first that meets the domain
_LONGEST = 8.0  # of the longer side over the shorter one, up to which both have the same scale
_FLATTEST, _HIGHEST = 0.35, 1.3  # of a map's height over its width
_LEAST = 30  # places of a known solution that make a map
_NEAR = 0.05  # of a coordinate's extent: places that are drawn as if they had its value, where few or none have
_DOT = 9  # size of one of scattered points
_EDGE = "#3c4043"


@dataclass(frozen=True)
class Plane:
    """Two coordinates of a domain, at values of the others.

    axes: the two, horizontal and vertical
    fixed: {axis: value} of the others
    """

    domain: Domain
    axes: tuple[int, int]
    fixed: Mapping[int, float] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """What is fixed, as "t = 0.5"; "" in the plane."""
        return ", ".join(f"{self.domain.coordinates[axis]} = {value:.3g}" for axis, value in sorted(self.fixed.items()))

    @property
    def size(self) -> tuple[float, float]:
        """The sides of the box around it."""
        (low, high), (bottom, top) = (self.domain.bounds[axis] for axis in self.axes)
        return high - low, top - bottom

    @property
    def to_scale(self) -> bool:
        """Whether a length is as long in both coordinates: both are places, no side above 8 times the other."""
        return set(self.axes) <= set(self.domain.space) and max(self.size) <= _LONGEST * min(self.size)

    def height(self, width: float) -> float:
        """Inches of a map that is so wide, without what stands around it: to scale within limits, or as letters need it."""
        wide, high = self.size
        return min(max(width * high / wide, _FLATTEST * width), _HIGHEST * width) if self.to_scale else 0.75 * width

    def place(self, pairs: np.ndarray) -> np.ndarray:
        """(n, 2) values of its coordinates as (n, d) points."""
        points = np.empty((len(pairs), self.domain.dimension))
        points[:, self.axes] = pairs
        for axis, value in self.fixed.items():
            points[:, axis] = value
        return points

    def inside(self, pairs: np.ndarray) -> np.ndarray:
        return self.domain.contains(self.place(pairs))

    def points(self, *, ends: bool = True, count: int = _GRID) -> np.ndarray:
        """A grid of the domain in the plane (n, d), and on other domains than boxes places of its edge.

        ends: whether the grid of a box has its ends, or the middles of cells
        """
        steps = np.linspace(0, 1, count) if ends or not self.domain.is_box else (np.arange(count) + 0.5) / count
        (low, high), (bottom, top) = (self.domain.bounds[axis] for axis in self.axes)
        pairs = np.stack(np.meshgrid(low + (high - low) * steps, bottom + (top - bottom) * steps, indexing="ij"), -1)
        if self.domain.is_box:
            return self.place(pairs.reshape(-1, 2))
        inside = self.inside(pairs.reshape(-1, 2)).reshape(count, count)
        return self.place(np.concatenate([pairs[inside], *(self.outline() or [self._edge(pairs, inside)])]))

    def _edge(self, pairs: np.ndarray, inside: np.ndarray) -> np.ndarray:
        """Where the domain ends between neighbors of a grid (n, n, 2), (m, 2), on the inner side."""
        found = []
        for one, other in ((np.s_[:-1], np.s_[1:]), (np.s_[:, :-1], np.s_[:, 1:])):
            differ = inside[one] != inside[other]
            first = inside[one][differ][:, None]
            kept = np.where(first, pairs[one][differ], pairs[other][differ])
            out = np.where(first, pairs[other][differ], pairs[one][differ])
            for _ in range(_HALVINGS if len(kept) else 0):
                middle = (kept + out) / 2
                within = self.inside(middle)[:, None]
                kept, out = np.where(within, middle, kept), np.where(within, out, middle)
            found.append(kept)
        return np.concatenate(found)

    def near(self, points: np.ndarray) -> np.ndarray:
        """(n,) booleans, whether points (n, d) lie in the plane or beside it, within a twentieth of each fixed coordinate."""
        beside = np.ones(len(points), bool)
        for axis, value in self.fixed.items():
            low, high = self.domain.bounds[axis]
            beside &= np.abs(points[:, axis] - value) <= _NEAR * (high - low)
        return beside

    def outline(self) -> list[np.ndarray]:
        """The curves (k, 2) that bound a shape in the plane; none where it is a box, or no shape of this plane."""
        shape = self.domain.shape
        if shape.is_box or tuple(self.domain.shape_axes) != tuple(self.axes):
            return []
        try:
            return [curve for curves in curves_of(shape.boundary()).values() for curve in curves]
        except ValueError:  # a surface that bounds it from either side
            return []

    def frame(self, ax: Axes, label: Callable[[str], str] = str) -> None:
        """Names, limits and scales of the axes, and the outline of the domain; label: a name with its unit."""
        names = [label(name) for name in self.domain.coordinates]
        ax.set(xlabel=names[self.axes[0]], ylabel=names[self.axes[1]])
        curves = self.outline()
        for curve in curves:
            ax.plot(*curve.T, color=_EDGE, lw=1.0, zorder=3)
        if curves or not self.domain.is_box:
            ax.spines[:].set_visible(False)
        share = 0.02 if curves else 0.0
        (left, right), (bottom, top) = (self.domain.bounds[axis] for axis in self.axes)
        x, y = (share * length for length in self.size)
        ax.set(xlim=(left - x, right + x), ylim=(bottom - y, top + y))
        if self.to_scale:
            ax.set_aspect("equal")

    def known(self, solution: GridSolution) -> tuple[Plane, np.ndarray] | None:
        """Which rows of a solution's points lie in the plane, or in the next one that has some, and that plane; None if few do.

        Where points are scattered in a fixed coordinate, those within a twentieth of its extent count.
        """
        rows = solution.points
        kept, fixed = np.ones(len(rows), bool), {}
        for axis, value in self.fixed.items():
            away = np.where(kept, np.abs(rows[:, axis] - value), np.inf)
            nearest = float(rows[away.argmin(), axis])
            here = kept & (rows[:, axis] == nearest)
            fixed[axis] = nearest
            if here.sum() < _LEAST:
                low, high = self.domain.bounds[axis]
                here, fixed[axis] = away <= _NEAR * (high - low), value
            kept = here
        return (Plane(self.domain, self.axes, fixed), np.flatnonzero(kept)) if kept.sum() >= _LEAST else None


@dataclass(frozen=True, eq=False)
class Section:
    """Points (n, d) of a plane, between which values are drawn too.

    axes: where the points are all those of a grid, last coordinate fastest, the values of both coordinates
    like: a section of the same places in the plane, whose triangles are these too
    """

    plane: Plane
    points: np.ndarray
    axes: tuple[np.ndarray, ...] = ()
    like: Section | None = None

    @cached_property
    def corners(self) -> np.ndarray:
        """(m, 3) triangles between the points, those whose middles lie in the domain; none of points on a line."""
        if self.like is not None:
            return self.like.corners
        pairs, size = self.points[:, self.plane.axes], self.plane.size
        try:
            found: np.ndarray = scipy.spatial.Delaunay(pairs / (max(size) if self.plane.to_scale else size)).simplices
        except (scipy.spatial.QhullError, ValueError):  # fewer than three, or all on a line
            return np.empty((0, 3), int)
        return found[self.plane.inside(pairs[found].mean(1))]

    @property
    def even(self) -> bool:
        """Whether the points are a grid with even steps, which is drawn as pixels."""
        return bool(self.axes) and all(len(one) > 1 and np.allclose(np.diff(one), one[1] - one[0]) for one in self.axes)

    def draw(self, ax: Axes, values: np.ndarray, label: Callable[[str], str] = str, **style: Any) -> ScalarMappable:
        """Values (n,) as a map in the frame of the plane; gaps where they are not finite. label: as of `Plane.frame`."""
        image: ScalarMappable
        if self.even:
            (left, right), (bottom, top) = (
                (one[0] - (one[1] - one[0]) / 2, one[-1] + (one[1] - one[0]) / 2) for one in self.axes
            )
            settings: dict[str, Any] = {"extent": (left, right, bottom, top), "origin": "lower", "aspect": "auto"}
            image = ax.imshow(self.pixels(values), interpolation="bilinear", **settings, **style)
        elif self.axes:
            image = ax.pcolormesh(*self.axes, self.pixels(values), shading="auto", rasterized=True, **style)
        else:
            image = self._triangles(ax, values, **style)
        self.plane.frame(ax, label)
        return image

    def pixels(self, values: np.ndarray) -> np.ndarray:
        """Values (n,) of a grid as rows from below."""
        return values.reshape([*map(len, self.axes)]).T

    def _triangles(self, ax: Axes, values: np.ndarray, **style: Any) -> ScalarMappable:
        pairs = self.points[:, self.plane.axes]
        kept = self.corners[np.isfinite(values[self.corners]).all(1)]
        if not len(kept):
            return ax.scatter(pairs[:, 0], pairs[:, 1], c=values, s=_DOT, rasterized=True, **style)
        triangles = Triangulation(pairs[:, 0], pairs[:, 1], kept)
        return ax.tripcolor(triangles, np.nan_to_num(values), shading="gouraud", rasterized=True, **style)


def sections_of(drawn: Sequence[Plane], *, ends: bool = True, count: int | None = None) -> list[Section]:
    """Planes with the points that maps of them are drawn by: `Plane.points`.

    count: places along each coordinate; by default fewer where there are several planes
    """
    count = count or (_GRID if len(drawn) == 1 else _SMALL_GRID)
    found: list[Section] = []
    for plane in drawn:
        points = plane.points(ends=ends, count=count)
        axes = (points[::count, plane.axes[0]], points[:count, plane.axes[1]]) if plane.domain.is_box else ()
        like = found[0] if found and np.array_equal(found[0].points[:, plane.axes], points[:, plane.axes]) else None
        found.append(Section(plane, points, axes, like))
    return found


def planes(domain: Domain) -> list[Plane]:
    """What is drawn of a domain as maps: in two dimensions all of it; of space and time, space at five times; of space and
    parameters, space at three values of one; of three coordinates of space the first two, at three places of the third. None on
    a line and in higher dimensions.

    >>> from pinntk.geometry import Box, Disk
    >>> [plane.label for plane in planes(Disk(x=0, y=0, radius=1) * Box(t=(0, 2)))]
    ['t = 0', 't = 0.5', 't = 1', 't = 1.5', 't = 2']
    """
    d, space = domain.dimension, domain.space
    if d < 2:
        return []
    if d == 2:
        return [Plane(domain, (0, 1))]
    others = [axis for axis in range(d) if axis not in space]
    if len(space) == 1 and d == 3:
        axes = (0, 1) if others[1] == 2 else (0, 2)
        return _at(domain, axes, others[1], {})
    if len(space) not in (2, 3):
        return []
    first, second, *third = space
    middle = {axis: float(domain.low[axis] + domain.high[axis]) / 2 for axis in others}
    if not others:
        return _at(domain, (first, second), third[0], {}, (0.25, 0.5, 0.75))
    running = domain.axis(TIME) if TIME in domain.coordinates else others[0]
    for share in _PLACES:
        fixed = {axis: float(domain.low[axis] + share * (domain.high - domain.low)[axis]) for axis in third}
        others_fixed = {**fixed, **{a: v for a, v in middle.items() if a != running}}
        found = _at(domain, (first, second), running, others_fixed, _TIMES if TIME in domain.coordinates else _ENDS)
        if found:
            return found
    return []


def _at(
    domain: Domain, axes: tuple[int, int], running: int, fixed: Mapping[int, float], shares: tuple[float, ...] = _ENDS
) -> list[Plane]:
    """Planes at some values of one coordinate, those that meet the domain."""
    length = float(domain.high[running] - domain.low[running])
    found = [Plane(domain, axes, {running: float(domain.low[running] + share * length), **fixed}) for share in shares]
    return [plane for plane in found if domain.is_box or len(plane.points(count=21)) >= _LEAST]


def curves_of(part: Any) -> dict[str, list[np.ndarray]]:
    """The curves (k, 2) of a part of a boundary in the plane, by the names of its surfaces."""
    found: dict[str, list[np.ndarray]] = {}
    for piece in part.pieces:
        for start, *inner, end in piece.stretches():
            u = np.union1d(np.linspace(start, end, max(2, round(_CURVE * (end - start)))), inner)
            found.setdefault(piece.surface.name, []).append(piece.surface.at(u[:, None]))
    return found
