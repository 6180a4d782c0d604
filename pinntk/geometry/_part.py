"""Parts of a domain's boundary."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pinntk.geometry import _sampling as sampling
from pinntk.geometry._drawing import NEAR, directions
from pinntk.geometry._pieces import Bounding, Piece

_STEP = 1e-7  # of the extent: how far to the two sides of an interface is looked
_TIE = 4  # times the rounding of points: how much farther the first of several surfaces may lie that hold a point


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
        """The surfaces that have places on it.

        Raises ValueError where one of them has the domain on either side, and where one of several names has no places.
        """
        shape = self.domain.shape
        if shape is not self.domain and self.beyond is None:
            return shape.boundary(*self.names, without=self.without).pieces
        found = self._bounding.pieces()
        reached = {piece.surface for piece in found}
        for name in self.names if len(self.names) > 1 else ():
            own = {surface for surface, _ in shape.selected(name)}
            if not own & reached and not shape.boundary(name).pieces:
                raise ValueError(f"{name!r} of {shape.describe()} has no places: nothing of it bounds the domain; leave it out")
        return found

    @property
    def _bounding(self) -> Bounding:
        shape = self.domain.shape
        if not self.names:
            selected = [(surface, None) for surface in shape.surfaces]
        else:
            selected = [one for name in self.names for one in shape.selected(name)]
        without = [one for name in self.without for one in shape.selected(name)]
        if self.beyond is None:
            return Bounding(shape, selected, without)
        touched = self.beyond.shape.surfaces if self.beyond.shape.dimension == 2 else ()
        return Bounding(shape, selected, without, self._meets, touched)

    def _meets(self, points: np.ndarray, outward: np.ndarray) -> np.ndarray:
        """Whether places of the boundary have the other domain on their outer side, and on that only."""
        full = np.tile((self.domain.low + self.domain.high) / 2, (len(points), 1))
        sides = []
        for side in (1, -1):
            full[:, self.domain.shape_axes] = points + side * _STEP * self.domain.shape.extent * outward
            sides.append(self.beyond.contains(full))
        return sides[0] & ~sides[1]

    @cached_property
    def measure(self) -> float:
        """Its length or area, times the lengths of the intervals of time and parameters.

        In the plane to 1e-12, or to what the rounding of its coordinates leaves of that far from the origin; the area of a
        surface that bounds the domain in part only, by 2^14 Sobol points, is right to about 1e-3.
        """
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
        share = 1.0 if piece.arcs is not None else piece.measure / piece.surface.measure
        while missing > 0:
            asked = missing if share == 1 else int(1.1 * missing / share) + 16
            asked = max(int(missing / share), 1) if method == "grid" else asked
            cube = sampling.cells(asked, own + rest) if method == "grid" else sampling.unit_cube(asked, own + rest, method, rng)
            if piece.arcs is not None:
                cube[:, 0] = _along(piece.arcs, cube[:, 0])
            places = piece.surface.at(cube[:, :own])
            kept = slice(None) if share == 1 else self._bounding.alive(piece.surface, places) != 0
            points = np.empty((len(cube), self.dimension))
            points[:, self.domain.shape_axes] = places
            points[:, self._rest_axes] = self._rest[0] + (self._rest[1] - self._rest[0]) * cube[:, own:]
            found.append(points[kept])
            if method != "grid":
                missing -= len(found[-1])
            elif len(found[-1]) <= n:
                return found[-1] if len(found[-1]) else self.draw(piece, 1, "uniform", rng)
            else:
                found, share = [], share * 1.03  # a coarser grid
        return np.concatenate(found)[:n]

    def distance(self, points: np.ndarray) -> np.ndarray:
        """How far (n, d) points lie from it, relative to the extent of each coordinate; not above 1e-5 on it. Shape (n,)."""
        places = np.ascontiguousarray(points[:, self.domain.shape_axes])
        if not self.pieces:
            return np.full(len(points), np.inf)
        away = np.array([self._away(piece, places) for piece in self.pieces]).min(0)
        return np.maximum(away, self.domain.distance(points))

    def _away(self, piece: Piece, places: np.ndarray) -> np.ndarray:
        """How far places lie from what of a surface is of the part; from an area that is a part of it, at least 2e-5."""
        shape, surface = self.domain.shape, piece.surface
        sides = shape.high - shape.low
        if piece.arcs is not None:
            nearest = surface.at(_clipped(piece.arcs, surface.place(surface.nearest(places)), places, surface)[:, None])
            return np.linalg.norm((places - nearest) / sides, axis=1)
        nearest = surface.nearest(places)
        found = np.linalg.norm((places - nearest) / sides, axis=1)
        left = np.flatnonzero(found <= NEAR) if piece.measure < surface.measure else np.empty(0, int)
        if not len(left):
            return found
        found[left] = np.where(self._bounding.alive(surface, nearest[left]) != 0, found[left], 2 * NEAR)
        for direction in directions(shape):
            left = left[found[left] > NEAR]
            if not len(left):
                break
            beside = surface.nearest(places[left] + direction)
            found[left[self._bounding.alive(surface, beside) != 0]] = NEAR / 2
        return found

    def normals(self, points: Tensor) -> Tensor:
        """Outward unit normals (n, d) of (n, d) points, 0 along time and parameters; at a corner, that of one side."""
        axes = list(self.domain.shape_axes)
        places = points if axes == list(range(points.shape[1])) else points[:, axes]
        shape = self.domain.shape
        tie = _TIE * torch.finfo(points.dtype).eps * max(abs(shape.low).max(), abs(shape.high).max())
        distances = torch.stack([piece.surface.distance(places) for piece in self.pieces])
        first = (distances <= distances.amin(0) + tie).to(torch.uint8).argmax(0)  # where surfaces are the same, it counts
        own = torch.zeros_like(places)
        for number, piece in enumerate(self.pieces):
            own = torch.where((first == number)[:, None], piece.outward * piece.surface.normals(places), own)
        if places is points:
            return own
        found = torch.zeros_like(points)
        found[:, axes] = own
        return found

    def flux_of_position(self) -> float:
        """The integral of (x - origin) . n over a boundary in the plane: twice the area, by Gauss's theorem."""
        origin = (self.domain.low + self.domain.high) / 2
        return sum(
            piece.outward * piece.surface.swept(float(start), float(end), origin)
            for piece in self.pieces
            for start, end in (piece.arcs if piece.arcs is not None else ())
        )

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


def _clipped(arcs: np.ndarray, u: np.ndarray, places: np.ndarray, surface: Any) -> np.ndarray:
    """Parameters (n,) moved onto the arcs: to the end of one that is nearest to the places, where they lie on none."""
    behind = np.searchsorted(arcs[:, 0], u, side="right") - 1
    off = np.flatnonzero((behind < 0) | (u > arcs[behind, 1]))
    found = u.copy()
    if len(off):
        before, after = arcs[behind[off], 1], arcs[(behind[off] + 1) % len(arcs), 0]  # a closed curve goes on at its start
        gaps = [np.linalg.norm(surface.at(end[:, None]) - places[off], axis=1) for end in (before, after)]
        found[off] = np.where(gaps[0] < gaps[1], before, after)
    return found


def _along(arcs: np.ndarray, cube: np.ndarray) -> np.ndarray:
    """Numbers in [0, 1] as parameters on arcs, one arc after the other."""
    lengths = arcs[:, 1] - arcs[:, 0]
    ends = np.cumsum(lengths)
    place = cube * ends[-1]
    arc = np.minimum(np.searchsorted(ends, place, side="right"), len(arcs) - 1)
    return np.minimum(arcs[arc, 0] + place - (ends[arc] - lengths[arc]), arcs[arc, 1])
