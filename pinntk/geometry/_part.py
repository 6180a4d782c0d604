"""Parts of a domain's boundary."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.polynomial.legendre import leggauss
from torch import Tensor

from pinntk.geometry import _sampling as sampling
from pinntk.geometry._region import Predicate
from pinntk.geometry._surface import Surface

_SCAN = 4096  # places of a curve, at least, at which it is asked whether it bounds the domain; between two of them, once
_FRACTION = 2**14  # places of a surface by which its area on the boundary is estimated
_SAME = 1e-13  # of the extent: surfaces nearer than that are the same place
_STEP = 1e-7  # of the extent: how far to its two sides is looked there
_NODES = 32  # of Gauss, on a smooth piece of a curve

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


@dataclass(frozen=True)
class Part:
    """A part of a domain's boundary in space, at all times.

    names: those of its parts; the whole boundary if there are none
    without: names of parts that are left out
    beyond: the domain that lies on the other side; None for anything
    """

    domain: Any
    names: tuple[str, ...]
    without: tuple[str, ...] = ()
    beyond: Any = None

    has_normals = True

    @property
    def coordinates(self) -> tuple[str, ...]:
        return self.domain.coordinates

    @property
    def dimension(self) -> int:
        return self.domain.dimension

    @property
    def given(self) -> None:
        return None

    @cached_property
    def pieces(self) -> tuple[Piece, ...]:
        """The surfaces that have places on it. Raises ValueError where one of them has the domain on either side."""
        found: list[Piece] = []
        shape = self.domain.shape
        surfaces = list(dict.fromkeys(surface for surface, _ in self._selected))
        for number, surface in enumerate(surfaces):
            alive = self._alive(surface, surfaces[:number])
            own = [*_arcs(surface, alive)] if shape.dimension == 2 else [*_estimated(surface, alive)]
            if len(own) > 1:
                raise ValueError(
                    f"the surface {surface.name!r} bounds {shape.describe()} from either side, so that its normal is not one; "
                    "build the shape of different pieces"
                )
            found += own
        return tuple(found)

    @cached_property
    def _selected(self) -> list[tuple[Surface, Predicate | None]]:
        if not self.names:
            return [(surface, None) for surface in self.domain.shape.surfaces]
        return [one for name in self.names for one in self.domain.selected(name)]

    def _alive(self, surface: Surface, before: Sequence[Surface]) -> Alive:
        """Of places on a surface: 1 and -1 where they are of this part and the normal points out of the domain and into it.
        Where it lies upon one `before`, that one counts.
        """
        shape = self.domain.shape
        (owner,) = (member for member in shape.members if any(one is surface for one in member.surfaces))
        others = [member for member in shape.members if member is not owner]

        def alive(points: np.ndarray) -> np.ndarray:
            normals = surface.normals(torch.as_tensor(points)).numpy()
            sides = {}
            for side in (-1, 1):
                known = {id(owner): np.full(len(points), side < 0)}
                for other in others:
                    known[id(other)] = _beside(other, points, side * _STEP * shape.extent * normals, shape.extent)
                sides[side] = shape.holds(lambda member, known=known: known[id(member)])
            found = sides[-1].astype(int) - sides[1]
            for other in before:
                same = other.distance_of(points) < _SAME * shape.extent
                if same.any():
                    facing = (other.normals(torch.as_tensor(points[same])).numpy() * normals[same]).sum(1)
                    found[np.flatnonzero(same)[np.abs(facing) > 1 - 1e-6]] = 0
            found *= self._belong(surface, points)
            return found if self.beyond is None else found * self._meets(points, found[:, None] * normals)

        return alive

    def _meets(self, points: np.ndarray, outward: np.ndarray) -> np.ndarray:
        """Whether places of the boundary have the other domain on their outer side, and on that only."""
        full = np.tile((self.domain.low + self.domain.high) / 2, (len(points), 1))
        sides = []
        for side in (1, -1):
            full[:, self.domain.shape_axes] = points + side * _STEP * self.domain.shape.extent * outward
            sides.append(self.beyond.contains(full))
        return sides[0] & ~sides[1]

    def _belong(self, surface: Surface, points: np.ndarray) -> np.ndarray:
        """Whether places of a surface are asked for by the part's names."""
        shape = self.domain.shape

        def meet(selected: Sequence[tuple[Surface, Predicate | None]]) -> np.ndarray:
            found = np.zeros(len(points), bool)
            for one, predicate in selected:
                if one is surface:
                    found |= True if predicate is None else _where(predicate, shape.coordinates, points)
            return found

        return meet(self._selected) & ~meet([one for name in self.without for one in self.domain.selected(name)])

    @cached_property
    def measure(self) -> float:
        """Its length or area, times the lengths of the intervals of time and parameters. In the plane to 1e-12."""
        return float(sum(piece.measure for piece in self.pieces) * prod(self._rest[1] - self._rest[0]))

    @cached_property
    def _rest(self) -> tuple[np.ndarray, np.ndarray]:
        """The bounds of coordinates that are no places of the shape."""
        axes = self._rest_axes
        return self.domain.low[axes], self.domain.high[axes]

    @property
    def _rest_axes(self) -> list[int]:
        return [axis for axis in range(self.dimension) if axis not in self.domain.shape_axes]

    def sample(self, n: int, method: str, rng: np.random.Generator) -> np.ndarray:
        """n points shared out over its surfaces by their measure ("grid": at most n, at the middles of cells)."""
        if not self.pieces:
            raise ValueError(f"{self.describe()} has no places: nothing of it bounds the domain")
        counts = sampling.shares(n, np.array([piece.measure for piece in self.pieces]))
        return np.concatenate([self.draw(piece, m, method, rng) for piece, m in zip(self.pieces, counts, strict=True) if m])

    def draw(self, piece: Piece, n: int, method: str, rng: np.random.Generator) -> np.ndarray:
        """n points on one of its surfaces."""
        own, rest = piece.surface.parameters, len(self._rest_axes)
        found: list[np.ndarray] = []
        missing = n
        alive = self._alive(piece.surface, [p.surface for p in self.pieces[: self.pieces.index(piece)]])
        share = 1.0 if piece.arcs is not None else piece.measure / piece.surface.measure
        while missing > 0:
            asked = missing if share == 1 else int(1.1 * missing / share) + 16
            cube = sampling.cells(asked, own + rest) if method == "grid" else sampling.unit_cube(asked, own + rest, method, rng)
            if piece.arcs is not None:
                cube[:, 0] = _along(piece.arcs, cube[:, 0])
            places = piece.surface.at(cube[:, :own])
            kept = slice(None) if share == 1 else alive(places) != 0
            points = np.empty((len(cube), self.dimension))
            points[:, self.domain.shape_axes] = places
            points[:, self._rest_axes] = self._rest[0] + (self._rest[1] - self._rest[0]) * cube[:, own:]
            found.append(points[kept])
            missing = 0 if method == "grid" else missing - len(found[-1])
        return np.concatenate(found)[:n]

    def distance(self, points: np.ndarray) -> np.ndarray:
        """How far (n, d) points lie from it, relative to the extent; not above 1e-5 on it. Shape (n,)."""
        places = np.ascontiguousarray(points[:, self.domain.shape_axes])
        away = np.array([piece.surface.distance_of(places) for piece in self.pieces]).min(0) / self.domain.shape.extent
        return np.maximum(away, self.domain.distance(points))

    def normals(self, points: Tensor) -> Tensor:
        """Outward unit normals (n, d) of (n, d) points, 0 along time and parameters; at a corner, that of one side."""
        axes = list(self.domain.shape_axes)
        places = points[:, axes]
        nearest = torch.stack([piece.surface.distance(places) for piece in self.pieces]).argmin(0)
        found = torch.zeros_like(points)
        for number, piece in enumerate(self.pieces):
            here = (nearest == number).nonzero()[:, 0]
            own = torch.zeros(len(here), points.shape[1], dtype=points.dtype, device=points.device)
            own[:, axes] = piece.outward * piece.surface.normals(places[here])
            found[here] = own
        return found

    def flux_of_position(self) -> float:
        """The integral of x . n over a boundary in the plane: twice the area, by Gauss's theorem."""
        total = 0.0
        for piece in self.pieces:
            for start, end in piece.arcs if piece.arcs is not None else ():
                inner = [b for b in piece.surface.breaks if start < b < end]
                nodes, weights = gauss([start, *inner, end])
                points = piece.surface.at(nodes[:, None])
                normals = piece.outward * piece.surface.normals(torch.as_tensor(points)).numpy()
                total += piece.surface.measure * float(weights @ (points * normals).sum(1))
        return total

    def describe(self) -> str:
        what = " and ".join(map(repr, self.names)) or "the boundary"
        if self.beyond is not None:
            return f"the interface of {self.domain.describe()} with {self.beyond.describe()}"
        less = f" without {' and '.join(map(repr, self.without))}" if self.without else ""
        return f"{what}{less} of {self.domain.describe()}"


def interface(left: Any, right: Any) -> Part:
    """What the boundaries of two domains have in common, with normals out of the left one.

    left, right: domains of the same coordinates side by side

    >>> from pinntk.geometry import Box, Disk
    >>> core = Disk(x=0, y=0, radius=0.5)
    >>> shell = Disk(x=0, y=0, radius=1) - core
    >>> round(interface(core, shell).measure, 12) == round(core.boundary().measure, 12)
    True

    Raises ValueError where they have nothing in common: they overlap, or are apart by more than 1e-7 of their extent.
    """
    for domain in (left, right):
        if not hasattr(domain, "surfaces"):
            raise TypeError(f"interface({domain!r}): needs two domains, such as a Disk and what lies around it")
    if left.coordinates != right.coordinates:
        raise ValueError(f"interface: domains of the same coordinates; given were {left.coordinates} and {right.coordinates}")
    found = Part(left, (), beyond=right)
    if not found.measure > 0:
        raise ValueError(
            f"interface: the boundaries of {left.describe()} and {right.describe()} have nothing in common; they overlap, or "
            "are apart by more than 1e-7 of their extent"
        )
    return found


def _beside(member: Any, points: np.ndarray, step: np.ndarray, extent: float) -> np.ndarray:
    """Whether places lie in a member; where its own boundary passes through them, a step away from them."""
    found = member.contains(points)
    upon = np.array([surface.distance_of(points) for surface in member.surfaces]).min(0) < _SAME * extent
    found[upon] = member.contains(points[upon] + step[upon])
    return found


def _where(predicate: Predicate, coordinates: tuple[str, ...], points: np.ndarray) -> np.ndarray:
    names = list(inspect.signature(predicate).parameters)
    for name in names:
        if name not in coordinates:
            raise ValueError(f"a function that names a part of the boundary asks for {name!r}; coordinates are {coordinates}")
    return np.broadcast_to(np.asarray(predicate(*(points[:, coordinates.index(name)] for name in names)), bool), len(points))


def _arcs(surface: Surface, alive: Alive) -> list[Piece]:
    """The intervals of a curve's parameter that bound the domain, their ends by bisection; one piece for each orientation."""

    def at(u: np.ndarray) -> np.ndarray:
        return alive(surface.at(u[:, None]))

    count = max(_SCAN, 16 * len(surface.breaks))
    middles = (np.arange(count) + 0.5) / count
    values = at(middles)
    change = np.flatnonzero(np.diff(values))
    low, high, before = middles[change], middles[change + 1], values[change]
    for _ in range(52 if len(change) else 0):
        middle = (low + high) / 2
        same = at(middle) == before
        low, high = np.where(same, middle, low), np.where(same, high, middle)
    ends = np.concatenate([[0.0], (low + high) / 2, [1.0]])
    signs = np.concatenate([values[:1], values[change + 1]])
    found = []
    for outward in (1, -1):
        arcs = np.stack([ends[:-1], ends[1:]], 1)[signs == outward]
        if len(arcs):
            found.append(Piece(surface, outward, arcs, surface.measure * float(np.diff(arcs).sum())))
    return found


def _estimated(surface: Surface, alive: Alive) -> list[Piece]:
    """A surface with the area of it that bounds the domain, by Sobol points; one piece for each orientation."""
    cube = sampling.unit_cube(_FRACTION, surface.parameters, "sobol", np.random.default_rng(0))
    values = alive(surface.at(cube))
    shares = {outward: float((values == outward).mean()) for outward in (1, -1)}
    return [Piece(surface, outward, None, share * surface.measure) for outward, share in shares.items() if share]


def _along(arcs: np.ndarray, cube: np.ndarray) -> np.ndarray:
    """Numbers in [0, 1] as parameters on arcs, one arc after the other."""
    lengths = arcs[:, 1] - arcs[:, 0]
    ends = np.cumsum(lengths)
    place = cube * ends[-1]
    arc = np.minimum(np.searchsorted(ends, place, side="right"), len(arcs) - 1)
    return np.minimum(arcs[arc, 0] + place - (ends[arc] - lengths[arc]), arcs[arc, 1])


def gauss(breaks: Sequence[float], count: int = _NODES) -> tuple[np.ndarray, np.ndarray]:
    """`count` nodes and weights of Gauss on each interval between breaks, for the integral over all of them."""
    nodes, weights = leggauss(count)
    starts, lengths = np.array(breaks[:-1]), np.diff(breaks)
    return (starts[:, None] + lengths[:, None] * (nodes + 1) / 2).ravel(), (lengths[:, None] * weights / 2).ravel()
