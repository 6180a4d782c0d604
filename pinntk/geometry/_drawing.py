"""Points of a domain, and how far others lie from it."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np

from pinntk.geometry import _sampling as sampling

NEAR = 1e-5  # of the extent: float32 points of a boundary count as on it
_MOST_CELLS = 10_000_000  # of a grid on the box around a domain
_DIRECTIONS = 256  # in which is looked for a place inside


def draw(domain: Any, n: int, method: str, rng: np.random.Generator, fixed: Mapping[int, float]) -> np.ndarray:
    """n points (n, d) in a domain, with some coordinates of time and parameters, {axis: value}, fixed; "grid" at most n.

    Of the points of `shape.spread` those that lie in it; of the grid on the box around it likewise.

    Raises ValueError for a grid on a box of which the domain fills next to nothing.
    """
    shape, size = domain.shape, domain.high - domain.low
    free = [axis for axis in range(domain.dimension) if axis not in domain.shape_axes and axis not in fixed]
    on_grid = method == "grid"
    own = shape.dimension if on_grid else shape.cube_dimension
    share = shape.measure / prod(shape.high - shape.low) if on_grid else 1.0 if shape.filled else shape.share
    if on_grid and n > _MOST_CELLS * share:
        raise ValueError(f'{n} points on a grid: {shape.describe()} fills {share:.1g} of the box around it; use "sobol" points')
    found: list[np.ndarray] = []
    missing = n
    while missing > 0:
        cube = sampling.unit_cube(_asked(missing, share, method), own + len(free), method, rng)
        places = shape.low + (shape.high - shape.low) * cube[:, :own] if on_grid else shape.spread(cube[:, :own])
        points = np.empty((len(cube), domain.dimension))
        points[:, domain.shape_axes] = places
        points[:, free] = domain.low[free] + size[free] * cube[:, own:]
        points[:, list(fixed)] = list(fixed.values())
        found.append(points if shape.filled and not on_grid else points[shape.contains(places)])
        if not on_grid:
            missing -= len(found[-1])
        elif len(found[-1]) <= n:
            return found[-1] if len(found[-1]) else draw(domain, 1, "uniform", rng, fixed)
        else:
            share *= 1.03  # a coarser grid
    return np.concatenate(found)[:n]


def _asked(missing: int, share: float, method: str) -> int:
    """Points of the box to draw, so that about `missing` of them are inside."""
    if method == "grid":
        return max(int(missing / share), 1)
    return missing if share == 1 else int(1.1 * missing / share) + 16


def distance(domain: Any, points: np.ndarray) -> np.ndarray:
    """How far (n, d) points lie outside of a shape, relative to the extent of each coordinate, (n,); 0 inside, half of 1e-5
    nearer than that.

    At least 2e-5 elsewhere, and no more than that beside a wall that a set operation has removed.
    """
    found = np.zeros(len(points))
    outside = np.flatnonzero(~domain.contains(points))
    if len(outside):
        rows, sides = points[outside], domain.high - domain.low
        gaps = [np.linalg.norm((rows - surface.nearest(rows)) / sides, axis=1) for surface in domain.surfaces]
        found[outside] = np.where(_near(domain, rows), NEAR / 2, np.maximum(np.min(gaps, 0), 2 * NEAR))
    return found


def _near(domain: Any, points: np.ndarray) -> np.ndarray:
    """Whether some place within 1e-5 of the extent of each coordinate is inside."""
    near = np.zeros(len(points), bool)
    for direction in directions(domain):
        left = np.flatnonzero(~near)
        if not len(left):
            break
        near[left] = domain.contains(points[left] + direction)
    return near


def directions(domain: Any) -> np.ndarray:
    """Steps (256, d) of 1e-5 of the extent of each coordinate."""
    found = np.random.default_rng(0).standard_normal((_DIRECTIONS, domain.dimension))
    return found * NEAR / np.linalg.norm(found, axis=1, keepdims=True) * (domain.high - domain.low)
