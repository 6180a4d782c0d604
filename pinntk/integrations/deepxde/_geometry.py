"""DeepXDE's geometries as pinntk's boxes and regions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import deepxde as dde
import numpy as np

from pinntk.problem import Box, PointSet

Draw = Callable[[int, np.random.Generator], np.ndarray]
_ROUNDS = 20  # of drawing, until a condition has as many points as were asked for
_TRIED = 64  # points drawn to see whether a condition has any on a part of the geometry


def box_of(geometry: Any, points: Sequence[np.ndarray]) -> Box:
    """The box around a geometry and all training points; coordinates are x, y, z (x1, x2, ... from four on) and last t."""
    if isinstance(geometry, dde.geometry.GeometryXTime):
        space, time = geometry.geometry, geometry.timedomain
    else:
        space, time = (None, geometry) if isinstance(geometry, dde.geometry.TimeDomain) else (geometry, None)
    low, high = ([], []) if space is None else (list(np.ravel(space.bbox[0])), list(np.ravel(space.bbox[1])))
    names = ["x", "y", "z"][: len(low)] if len(low) <= 3 else [f"x{number}" for number in range(1, len(low) + 1)]
    if time is not None:
        low, high, names = [*low, time.t0], [*high, time.t1], [*names, "t"]
    least = np.min([low, *(rows.min(0) for rows in points)], axis=0)
    most = np.max([high, *(rows.max(0) for rows in points)], axis=0)
    return Box(**{name: (float(a), float(b)) for name, a, b in zip(names, least, most, strict=True)})


def equation_region(geometry: Any, box: Box, points: np.ndarray) -> PointSet:
    """Where equations hold, on fresh points too."""

    def inside(rows: np.ndarray) -> np.ndarray:
        rows = rows.astype(dde.config.real(np))
        return np.asarray(geometry.inside(rows) | geometry.on_boundary(rows))

    here = getattr(geometry, "inside", None) is not None and bool(np.all(inside(points)))
    return PointSet(box, points, draw=_drawn(geometry.random_points), inside=inside if here else None)


def condition_region(bc: Any, geometry: Any, box: Box, points: np.ndarray) -> PointSet:
    """Where a condition holds: on fresh points if a part of the geometry has some, else on those that it was trained on."""
    keep = getattr(bc, "filter", None)
    if keep is None:
        return PointSet(box, points)
    parts = ("random_initial_points", "random_boundary_points", "random_points")
    samplers = [getattr(geometry, name) for name in parts if hasattr(geometry, name)]
    with seeded(np.random.default_rng(0)):
        found = [len(keep(sampler(_TRIED))) for sampler in samplers]
    if not found or not max(found):
        return PointSet(box, points)
    return PointSet(box, points, draw=_drawn(samplers[int(np.argmax(found))], keep))


def _drawn(sampler: Callable[..., np.ndarray], keep: Callable[[np.ndarray], np.ndarray] = np.asarray) -> Draw:
    def draw(n: int, rng: np.random.Generator) -> np.ndarray:
        parts: list[np.ndarray] = []
        with seeded(rng):
            for _ in range(_ROUNDS):
                parts.append(keep(sampler(max(n, _TRIED), random="pseudo")))
                if sum(map(len, parts)) >= n:
                    break
        return np.vstack(parts)[:n]

    return draw


@contextmanager
def seeded(rng: np.random.Generator) -> Iterator[None]:
    """DeepXDE draws from NumPy's global generator, which is as before afterwards."""
    state = np.random.get_state()
    np.random.seed(int(rng.integers(2**32)))
    try:
        yield
    finally:
        np.random.set_state(state)
