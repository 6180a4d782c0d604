"""Functions that vanish on a part of a boundary and nowhere else in the domain, of slope 1 there: approximate distances."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pinntk.geometry import _sampling as sampling
from pinntk.geometry._curves import EllipseCurve
from pinntk.geometry._part import Part
from pinntk.geometry._pieces import Piece
from pinntk.geometry._surface import Cap, Face, Sphere, Surface, Tube

_LOOKED_AT = 2048  # places of a line, a curve or a plane, where the domain is looked for
_BESIDE = 1e-3  # of the extent: places as near to the part as that are it
_STEP = 1e-6  # of the extent: how far to both sides of a line is looked for the domain
_SAME = 1e-12
_ONE_SIDED = 1e-6  # of its length: how far behind a wall a point counts as before it

Columns = Sequence[Tensor]  # coordinates (n,) of the shape


@dataclass(frozen=True)
class Flat:
    """normal . x - offset: of a line or a plane."""

    normal: tuple[float, ...]
    offset: float

    def __call__(self, columns: Columns) -> Tensor:
        terms = [c * x if c != 1 else x for c, x in zip(self.normal, columns, strict=True) if c]
        found = terms[0]
        for term in terms[1:]:
            found = found + term
        return found - self.offset if self.offset else found


@dataclass(frozen=True)
class Round:
    """Of a circle, a sphere or a cylinder's side, in the coordinates `axes`: (r^2 - |x - center|^2) / (2 r) inside (sign 1),
    which is smooth in the center too, and the distance |x - center| - r outside (sign -1).
    """

    axes: tuple[int, ...]
    center: tuple[float, ...]
    radius: float
    sign: int

    def __call__(self, columns: Columns) -> Tensor:
        squares = [(columns[axis] - c).square() for axis, c in zip(self.axes, self.center, strict=True)]
        square = sum(squares[1:], squares[0])
        if self.sign > 0:
            return (self.radius**2 - square) * (1 / (2 * self.radius))
        return torch.sqrt(square) - self.radius


@dataclass(frozen=True)
class Oval:
    """sign w / sqrt(w^2 / ab + |grad w|^2) with w = (1 - |M^-1 (x - center)|^2) / 2: of an ellipse with radii a and b.

    inverse: rows of M^-1
    """

    center: tuple[float, float]
    inverse: tuple[tuple[float, float], tuple[float, float]]
    sign: int

    def __call__(self, columns: Columns) -> Tensor:
        x, y = (column - c for column, c in zip(columns, self.center, strict=True))
        (a, b), (c, d) = self.inverse
        p, q = a * x + b * y, c * x + d * y
        w = 0.5 - 0.5 * (p.square() + q.square())
        steep = (a * p + c * q).square() + (b * p + d * q).square()
        return self.sign * w * torch.rsqrt(w.square() * abs(a * d - b * c) + steep)


@dataclass(frozen=True)
class Cut:
    r"""The part of {f = 0} where another function t is not negative: sqrt(f^2 + ((sqrt(t^2 + f^4 / L^2) - t) / 2)^2).

    After Sukumar & Srivastava 2022 (Comput. Methods Appl. Mech. Eng. 389:114333). Smooth off the part, and on it from the
    domain's side, where f > 0; at its ends like the distance from a point, whose second derivatives grow as 1 / r. f is taken
    as positive a little behind the part, so that slopes at points which rounding puts there are those of the domain's side.

    ends: the places where it ends
    length: L
    """

    level: Flat | Round | Oval
    until: Flat | Round
    ends: tuple[tuple[float, float], ...]
    length: float

    def __call__(self, columns: Columns) -> Tensor:
        f, t = self.level(columns), self.until(columns)
        f = torch.where(f > -_ONE_SIDED * self.length, f, -f)
        square = f.square() * (1 / self.length)
        within = t > 0
        # Two forms of the same, each where it has no difference of equal numbers; the other's t is one at which it is finite.
        ahead = torch.where(within, t, torch.ones_like(t))
        behind = torch.where(within, -torch.ones_like(t), t)
        quotient = f * square * (0.5 / self.length) / (torch.sqrt(ahead.square() + square.square()) + ahead)
        on = f * torch.sqrt(1 + quotient.square())
        beyond = 0.5 * (torch.sqrt(behind.square() + square.square()) - behind)
        off = torch.sqrt(f.square() + beyond.square())
        return torch.where(within, on, off)


Level = Flat | Round | Oval | Cut


@dataclass(frozen=True)
class LevelSet:
    """A level with some places (m, d) of the shape's boundary on which it vanishes."""

    level: Level
    places: np.ndarray


def levels(part: Part, most: int) -> list[LevelSet]:
    """A level for every smooth piece of a part; one for pieces of one line or curve that need no ends.

    Lines and curves go on beyond the part. Where that meets the domain again, the level is cut (`Cut`).

    Raises ValueError for more than `most` of them, and for a surface that has no such function: of triangles, or in three
    dimensions and more one whose continuation meets the domain again.
    """
    shape = part.domain.shape
    own = part if shape is part.domain else shape.boundary(*part.names, without=part.without)
    smooth = [(piece.surface, *one) for piece in own.pieces for one in _of_piece(piece)]
    if len(smooth) > most:
        raise ValueError(f"the boundary has {len(smooth)} pieces, each with a distance of its own, at most {most}")
    found: dict[Level, LevelSet] = {}
    for surface, level, places, cut in smooth:
        again = _meets_again(own, level, surface)
        if again and cut is None:
            raise ValueError(
                f"the surface {surface.name!r} goes on beyond the part and meets the domain again, where a distance from the "
                "part alone would have to be cut off, which is done in the plane only"
            )
        key: Level = cut if again and cut is not None else _same(level, found)
        known = found.get(key)
        found[key] = LevelSet(key, places if known is None else np.concatenate([known.places, places]))
    return list(found.values())


def _same(level: Level, found: Any) -> Level:
    """Another that is the same to rounding, or itself."""
    for other in found:
        if (
            isinstance(level, Flat)
            and isinstance(other, Flat)
            and np.allclose(
                [*level.normal, level.offset], [*other.normal, other.offset], rtol=0, atol=_SAME * (1 + abs(level.offset))
            )
        ):
            return other
    return level


def _of_piece(piece: Piece) -> list[tuple[Flat | Round | Oval, np.ndarray, Cut | None]]:
    """Levels, places (m, d) on each, and the levels cut at the ends of the piece; None where it has no ends, or is an area."""
    surface = piece.surface
    if piece.arcs is None:
        cube = sampling.unit_cube(_LOOKED_AT // 8, surface.parameters, "sobol", np.random.default_rng(0))
        return [(_of_surface(surface, piece.outward), surface.at(cube), None)]
    found: list[tuple[Flat | Round | Oval, np.ndarray, Cut | None]] = []
    if surface.segments is not None:
        for marks in piece.stretches():
            for start, end in pairwise(marks):
                found.append(_of_segment(surface, piece.outward, start, end))
        return found
    level = _of_surface(surface, piece.outward)
    arcs = [(float(low), float(high)) for low, high in piece.arcs]
    if len(arcs) > 1 and arcs[0][0] == 0 and arcs[-1][1] == 1:  # a closed curve goes on at its start
        arcs = [*arcs[1:-1], (arcs[-1][0], 1 + arcs[0][1])]
    for start, end in arcs:
        places = surface.at(np.linspace(start, end, 65)[:, None] % 1.0)
        found.append((level, places, None if end - start >= 1 - _SAME else _cut_by_chord(level, places)))
    return found


def _of_segment(surface: Surface, outward: int, start: float, end: float) -> tuple[Flat, np.ndarray, Cut]:
    inner = start + (end - start) * np.linspace(0, 1, 9)[1:-1]
    middle = surface.at(inner[:, None])
    ends = surface.at(np.array([[start], [end]]))
    normal = -outward * surface.normals_of(middle[3:4])[0]
    flat = Flat(tuple(map(float, normal + 0.0)), float(normal @ ends.mean(0)))
    length = float(np.linalg.norm(ends[1] - ends[0]))
    center = (ends[0] + ends[1]) / 2
    until = Round((0, 1), (float(center[0]), float(center[1])), length / 2, 1)
    return flat, np.concatenate([ends[:1], middle, ends[1:]]), Cut(flat, until, _pairs(ends), length)


def _cut_by_chord(level: Flat | Round | Oval, places: np.ndarray) -> Cut:
    """An arc of a convex curve is what of it lies to one side of the chord."""
    first, last = places[0], places[-1]
    along = last - first
    across = np.array([-along[1], along[0]]) / np.linalg.norm(along)
    across = across if (places[len(places) // 2] - first) @ across > 0 else -across
    until = Flat((float(across[0]), float(across[1])), float(across @ first))
    size = float(np.linalg.norm(np.ptp(places, axis=0)))
    return Cut(level, until, _pairs(np.stack([first, last])), size)


def _pairs(ends: np.ndarray) -> tuple[tuple[float, float], ...]:
    return tuple((float(x), float(y)) for x, y in ends)


def _of_surface(surface: Surface, outward: int) -> Flat | Round | Oval:
    if isinstance(surface, Sphere):
        center = tuple(map(float, surface.center))
        return Round(tuple(range(len(center))), center, float(surface.radius), outward)
    if isinstance(surface, Tube):
        return Round(tuple(surface.across), tuple(map(float, surface.center)), float(surface.radius), outward)
    if isinstance(surface, EllipseCurve):
        (a, b), (c, d) = np.linalg.inv(surface.turn * surface.radii).tolist()
        return Oval((float(surface.center[0]), float(surface.center[1])), ((a, b), (c, d)), outward)
    if isinstance(surface, (Face, Cap)) and surface.flat is not None:
        axis, value = surface.flat
        place = surface.at(np.full((1, surface.parameters), 0.5))
        normal = -outward * surface.normals_of(place)[0]
        return Flat(tuple(map(float, normal + 0.0)), float(normal[axis] * value))
    raise ValueError(f"the surface {surface.name!r} is made of triangles, which have no smooth distance function")


def _meets_again(part: Part, level: Flat | Round | Oval, surface: Surface) -> bool:
    """Whether a line, curve or surface has places in the closed domain that are not of the part."""
    shape = part.domain
    places = _continued(shape, level, surface)
    normals = np.array(level.normal) if isinstance(level, Flat) else surface.normals_of(places)
    step = _STEP * shape.extent * normals
    inside = places[shape.contains(places + step) | shape.contains(places - step)]
    return bool(len(inside)) and bool((part.distance(inside) > _BESIDE).any())


def _continued(shape: Any, level: Flat | Round | Oval, surface: Surface) -> np.ndarray:
    """Places (m, d) of {level = 0} in the box around a shape."""
    rng = np.random.default_rng(0)
    low, high = shape.low, shape.high
    if isinstance(level, Flat):
        normal = np.array(level.normal)
        axis = int(abs(normal).argmax())
        cube = sampling.unit_cube(_LOOKED_AT, shape.dimension, "sobol", rng)
        cube = np.linspace(0, 1, _LOOKED_AT)[:, None].repeat(2, 1) if shape.dimension == 2 else cube
        places = low + (high - low) * cube
        places[:, axis] += (level.offset - places @ normal) / normal[axis]
        return places[((places >= low - 1e-9 * (high - low)) & (places <= high + 1e-9 * (high - low))).all(1)]
    if isinstance(surface, Tube):
        (long,) = set(range(3)) - set(surface.across)
        places = surface.at(sampling.unit_cube(_LOOKED_AT, 2, "sobol", rng))
        places[:, long] = rng.uniform(low[long], high[long], len(places))
        return places
    if surface.parameters == 1:
        return surface.at(np.linspace(0, 1, _LOOKED_AT)[:, None])
    return surface.at(sampling.unit_cube(_LOOKED_AT, surface.parameters, "sobol", rng))
