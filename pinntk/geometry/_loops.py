"""The closed curves that bound a shape in the plane: which of them are holes, and where their corners point inward."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import shapely
from shapely.ops import polylabel

from pinntk.geometry._pieces import Piece, rounding

_SAMPLED = 33  # places of a curved piece
_STRAIGHT = 0.1  # radians: corners that are less inward than that are the bends of a curve
_NEAR_CENTER = 0.01  # of a hole's size: how near to its center is near enough
_LENGTHS = 65  # of segments in a hole that are tried, the more the nearer to its ends
_RAY = 512  # places of a ray in which is looked for the domain


@dataclass(frozen=True)
class Corner:
    """A corner that points into the domain.

    place: (2,); angle: of the domain there, in radians, above pi
    beside: (2,) a place outside of the domain, and of all between it and the corner
    """

    place: np.ndarray
    angle: float
    beside: np.ndarray


@dataclass(frozen=True)
class Hole:
    """A hole, by the segment in it whose ends are the foci of an ellipse most like it: its center (2,), and `half` (2,), from
    there to an end, 0 of a round hole.
    """

    center: np.ndarray
    half: np.ndarray


class _Run(NamedTuple):
    """A smooth piece of the boundary with the domain to its left: places (m, 2), and its directions (2,) at both ends."""

    places: np.ndarray
    first: np.ndarray
    last: np.ndarray


def holes_and_corners(shape: Any) -> tuple[list[Hole], list[Corner]]:
    """Of a shape in the plane; the sharpest corners first."""
    holes, corners = [], []
    for loop in _closed([run for piece in shape.boundary().pieces for run in _runs(piece)], 1e4 * rounding(shape)):
        ring = np.concatenate([run.places for run in loop])
        x, y = ring.T
        if (x * np.roll(y, -1) - y * np.roll(x, -1)).sum() < 0:  # clockwise
            holes.append(_hole(shapely.Polygon(ring)))
        corners += [found for a, b in pairwise([*loop, loop[0]]) if (found := _inward(shape, a, b)) is not None]
    return holes, sorted(corners, key=lambda corner: -corner.angle)


def _hole(hole: shapely.Polygon) -> Hole:
    """By segments along its longer axis of inertia, through its centroid and through the center of a largest disk in it."""
    ring = shapely.get_coordinates(shapely.segmentize(hole.exterior, hole.exterior.length / _RAY))
    _, axes = np.linalg.eigh(np.cov((ring - ring.mean(0)).T))
    along, found = axes[:, 1], []
    for place in (hole.centroid, polylabel(hole, _NEAR_CENTER * hole.area**0.5)):
        if not hole.contains(place):
            continue
        center = shapely.get_coordinates(place)[0]
        for length in np.sin(np.linspace(0, np.pi / 2, _LENGTHS)) * np.abs((ring - center) @ along).max():
            half = length * along
            if length and not hole.contains(shapely.LineString([center - half, center + half])):
                break
            sizes = np.hypot(*(ring - center + half).T) + np.hypot(*(ring - center - half).T)
            sizes += np.sqrt(np.maximum(sizes**2 - (2 * length) ** 2, 0))  # both axes of the ellipses through these places
            found.append((sizes.max() / sizes.min(), length, center))
    _, length, center = min(found, key=lambda one: one[:2])
    return Hole(center, length * along)


def _runs(piece: Piece) -> Iterator[_Run]:
    surface = piece.surface
    for ends in piece.stretches():
        if surface.segments is None:
            places = surface.at(np.linspace(ends[0], ends[-1], _SAMPLED)[:, None])
            right = piece.outward * surface.normals_of(places)
            along = np.stack([-right[:, 1], right[:, 0]], 1)
            back = ((places[1] - places[0]) * along[0]).sum() < 0
            yield _Run(*((places[::-1], along[-1], along[0]) if back else (places, along[0], along[-1])))
            continue
        corners = surface.at(np.array(ends)[:, None])
        right = piece.outward * surface.normals_of((corners[:-1] + corners[1:]) / 2)
        for a, b, n in zip(corners[:-1], corners[1:], right, strict=True):
            along = np.array([-n[1], n[0]])
            yield _Run(np.stack([a, b] if ((b - a) * along).sum() > 0 else [b, a]), along, along)


def _closed(runs: list[_Run], near: float) -> Iterator[list[_Run]]:
    """Runs one after the other, each from where the one before ends."""
    left = list(runs)
    while left:
        loop = [left.pop()]
        while left and np.abs(loop[-1].places[-1] - loop[0].places[0]).max() > near:
            away = [np.abs(run.places[0] - loop[-1].places[-1]).max() for run in left]
            loop.append(left.pop(int(np.argmin(away))))
        yield loop


def _inward(shape: Any, before: _Run, after: _Run) -> Corner | None:
    """The corner between two runs; None where it points outward, or there is none, or the outside is too narrow to be seen."""
    (a, b), (c, d) = before.last, after.first
    angle = float(np.pi - np.arctan2(a * d - b * c, a * c + b * d))
    if angle < np.pi + _STRAIGHT:
        return None
    outward = np.arctan2(d, c) + angle / 2 + np.pi
    steps = np.linspace(0, 1, _RAY + 1)[1:] * shape.extent
    place = after.places[0]
    ray = place + steps[:, None] * np.array([np.cos(outward), np.sin(outward)])
    met = np.flatnonzero(shape.contains(ray))
    if len(met) and met[0] == 0:
        return None
    return Corner(place, angle, ray[met[0] // 2 if len(met) else -1])
