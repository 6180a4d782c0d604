"""Where conditions are asked about trial functions: dense at the ends of regions, in holes and at inward corners."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from math import comb
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from pinntk.diagnostics._singular import Singular
from pinntk.diagnostics._trial import TrialSpace
from pinntk.geometry import Domain, Part
from pinntk.geometry import _sampling as sampling
from pinntk.geometry._pieces import Piece
from pinntk.geometry._quadrature import cells_of
from pinntk.problem import Condition, Faces, Integral, Measurements, PeriodicPair

_POINTS = 2.5  # of a condition, for each trial function that differs on its region: least squares are stable
_LEAST_POINTS, _MOST_ROWS = 24, 800  # of a condition; of measurements the latter, drawn at random
_MOST_PLACES = 20_000  # of the integrals of a condition, of which the rest are left out
_CROWDED = 4  # times the rows of other conditions: of a boundary of many pieces, each of which has waves of its own
_MOST_CELLS = 400  # of a shape in the plane, of which each should have points
_NOTHING_FIXED: Mapping[int, float] = MappingProxyType({})
_DENSE = 2.0  # the power of whole numbers by which points go away from the end of an interval, as Chebyshev's do


def points_of(condition: Condition, space: TrialSpace, draw: int = 0) -> tuple[Tensor, Tensor]:
    """Rows (n, width) of a condition's region, and weights (n,) of their errors: less than 1 where rows crowd more than
    polynomials need, as in the mean over the region. Each draw has others, where they are not measured.
    """
    region = condition.region
    rng = sampling.generator(draw, "trial", region.describe())
    if isinstance(region, PeriodicPair):
        region = region.lower
    if isinstance(region, Faces):
        pieces = [points_inside(region.domain, space, rng, dict(piece), len(region.pieces)) for piece in region.pieces]
        rows, weights = (np.concatenate(parts) for parts in zip(*pieces, strict=True))
    elif isinstance(region, Domain):
        rows, weights = points_inside(region, space, rng)
    else:
        rows = _others(condition, space, rng)
        weights = np.ones(len(rows))
    return torch.as_tensor(rows, dtype=torch.float64), torch.as_tensor(weights)


def _others(condition: Condition, space: TrialSpace, rng: np.random.Generator) -> np.ndarray:
    region, count = condition.region, max(_MOST_ROWS, 2 * space.size)
    if isinstance(region, (Measurements, Integral)):
        rows, most = region.rows, max(1, min(_MOST_ROWS, _MOST_PLACES // condition.places))
        return rows if len(rows) <= most else rows[np.sort(rng.choice(len(rows), most, replace=False))]
    if isinstance(region, Part) and region.domain.shape.dimension == 2:
        return _on_curves(region, count, space, rng)
    return region.sample(count, "sobol", rng)


def points_inside(
    domain: Domain,
    space: TrialSpace,
    rng: np.random.Generator,
    fixed: Mapping[int, float] = _NOTHING_FIXED,
    pieces: int = 1,
) -> tuple[np.ndarray, np.ndarray]:
    """Points (n, d) of a domain, or of one of several slices of it, and their weights."""
    free = [axis for axis in range(domain.dimension) if axis not in fixed]
    most = max(_MOST_ROWS, 2 * space.size) // pieces
    if not domain.is_box and domain.shape.dimension == 2:
        places, weights = _of_shape(domain.shape, most, space, rng)
        rest = [axis for axis in free if axis not in domain.shape_axes]
        found = np.empty((len(places), domain.dimension))
        found[:, domain.shape_axes] = places
        others = rng.permutation(sampling.unit_cube(len(places), len(rest), "sobol", rng))  # places have such an order, too
        found[:, rest] = _ends_dense(domain, rest, others)
        found[:, list(fixed)] = list(fixed.values())
        return found, weights
    if not domain.is_box:
        region = Faces(domain, (tuple(fixed.items()),)) if fixed else domain
        return region.sample(most, "sobol", rng), np.ones(most)
    different = len({tuple(row) for row in space.powers[:, free].tolist()})
    count = max(min(int(_POINTS * different), most), _LEAST_POINTS) if free else 1
    points = np.empty((count, domain.dimension))
    points[:, free] = _ends_dense(domain, free, sampling.unit_cube(count, len(free), "sobol", rng))
    points[:, list(fixed)] = list(fixed.values())
    return points, np.ones(count)


def _cosine(cube: np.ndarray) -> np.ndarray:
    return (1 - np.cos(np.pi * cube)) / 2


def _ends_dense(domain: Domain, axes: list[int], cube: np.ndarray) -> np.ndarray:
    return domain.low[axes] + (domain.high - domain.low)[axes] * _cosine(cube)


# Shapes in the plane.


def _of_shape(shape: Domain, count: int, space: TrialSpace, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """(n, 2) places and their weights: `count` of its cells, dense at their sides, and those that functions around holes and
    corners need, without which their waves would not be seen.
    """
    found = cells_of(shape, _MOST_CELLS)
    if found is None:
        places = [shape.sample(count, "sobol", rng)]
    else:
        counts = sampling.shares(count, np.array([float(cell.nodes(_LEAST_POINTS)[1].sum()) for cell in found]))
        cubes = np.split(_cosine(sampling.unit_cube(count, 2, "sobol", rng)), np.cumsum(counts)[:-1])
        places = [cell.at(cube) for cell, cube in zip(found, cubes, strict=True)]
    around = [(one, int(2 * _POINTS * len(one.powers))) for one in space.singular if one.power]
    for one, more in around:
        spread = one.spread(sampling.unit_cube(more, 2, "sobol", rng))
        places.append(spread[shape.contains(spread)])
    rows, even = np.concatenate(places), count / shape.measure
    crowd = sum((more * one.density(rows) for one, more in around), np.zeros(len(rows)))
    return rows, np.sqrt(even / (even + crowd))


class _Run(NamedTuple):
    """A smooth piece of a curve, from one of its numbers to another, and how dense points are there; None of a closed one."""

    piece: Piece
    start: float
    end: float
    dense: tuple[float, float] | None


def _on_curves(part: Part, count: int, space: TrialSpace, rng: np.random.Generator) -> np.ndarray:
    """About `count` rows of a part of the boundary, dense at the ends of its smooth pieces; of each as many as tell functions
    there apart, and no more.
    """
    runs = [run for piece in part.pieces for run in _runs(piece, space, part.domain.shape.extent)]
    if not runs:
        return part.sample(count, "sobol", rng)
    counts = sampling.shares(count, np.array([(run.end - run.start) * run.piece.surface.measure for run in runs]))
    domain, along = part.domain, part.dimension - 1
    differ = 2 * comb(space.degree + along, along)  # on an ellipse about twice as many polynomials as on a line
    counts = np.minimum(np.maximum(counts, _CROWDED * count // len(runs)), int(_POINTS * differ))
    rest = [axis for axis in range(domain.dimension) if axis not in domain.shape_axes]
    rows = []
    for run, n in zip(runs, counts.tolist(), strict=True):
        cube = sampling.unit_cube(n, 1 + len(rest), "sobol", rng)
        share = cube[:, :1]
        if run.dense is not None:
            rise, fall = share ** run.dense[0], (1 - share) ** run.dense[1]
            share = rise / (rise + fall)
        found = np.empty((n, domain.dimension))
        found[:, domain.shape_axes] = run.piece.surface.at(run.start + (run.end - run.start) * share)
        found[:, rest] = _ends_dense(domain, rest, cube[:, 1:])
        rows.append(found)
    return np.concatenate(rows)


def _runs(piece: Piece, space: TrialSpace, extent: float) -> Iterator[_Run]:
    surface = piece.surface
    corners = [one for one in space.singular if one.power > 0]
    for ends in piece.stretches():
        ends = ends if surface.segments is not None else [ends[0], ends[-1]]
        places = surface.at(np.array(ends)[:, None])
        closed = len(ends) == 2 and np.abs(places[0] - places[1]).max() < 1e-9 * extent
        dense = [_density(place, corners, extent) for place in places]
        for number, (a, b) in enumerate(pairwise(ends)):
            yield _Run(piece, a, b, None if closed else (dense[number], dense[number + 1]))


def _density(place: np.ndarray, corners: list[Singular], extent: float) -> float:
    """As dense as the functions around a corner need it, if it is one."""
    powers = [one.power for one in corners if abs(complex(*place) - one.place) < 1e-9 * extent]
    return max([_DENSE, *(1 / power for power in powers)])


def early(rows: Tensor, axis: int, start: float, fraction: float) -> Tensor:
    """The same at the beginning of the time."""
    rows = rows.clone()
    rows[:, axis] = start + fraction * (rows[:, axis] - start)
    return rows
