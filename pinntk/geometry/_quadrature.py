"""Places and weights by which integrals over domains, slices and parts of boundaries are taken."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from weakref import WeakKeyDictionary

import numpy as np
from numpy.polynomial.legendre import leggauss

from pinntk.geometry import _sampling as sampling
from pinntk.geometry._cells import Cell, cells
from pinntk.geometry._domain import Domain
from pinntk.geometry._drawing import draw
from pinntk.geometry._faces import Faces
from pinntk.geometry._part import Part
from pinntk.geometry._pieces import Piece, rounding

_MOST, _LEAST = 64, 4  # nodes of Gauss along a coordinate, or a smooth piece of a curve
_ALONG = 16  # of these on a smooth piece, where there are few pieces
_GAUSS_DIMENSIONS = 3  # up to which products of nodes are taken
_FINE, _SAME_AREA = 24, 1e-6  # nodes by which the area of cells is compared with that of their shape, and relative difference

_known: WeakKeyDictionary[Domain, tuple[int, list[Cell] | None]] = WeakKeyDictionary()  # how many were asked for, and the cells


@dataclass(frozen=True, eq=False)
class Quadrature:
    """places: (q, d), with the lower bound in coordinates that are not integrated over
    weights: (q,), whose sum is the measure of what is integrated over
    by_gauss: whether the nodes are those of Gauss, by which the integral of a smooth function is right to its resolution, and
        to that of curves: the area of a cell of a shape in the plane is right to 1e-4 by 4 x 4 nodes, to 1e-9 by 8 x 8 and to
        1e-12 by 12 x 12; if not they are Sobol points of equal weight, with a relative error of about 1 / sqrt(q) to 1 / q
    """

    places: np.ndarray
    weights: np.ndarray
    by_gauss: bool

    def __len__(self) -> int:
        return len(self.weights)


def quadrature(region: Domain | Faces | Part, points: int, kept: Collection[int] = ()) -> Quadrature:
    """Places for the integral over a region, about `points` of them.

    kept: axes that are not integrated over
    """
    domain = region.domain
    if isinstance(region, Part):
        parts = [_of_piece(region, piece, max(points // len(region.pieces), 1), kept) for piece in region.pieces]
    elif isinstance(region, Faces):
        share = max(points // len(region.pieces), 1)
        parts = [_inside(domain, share, dict(piece), kept) for piece in region.pieces]
    else:
        parts = [_inside(domain, points, {}, kept)]
    return Quadrature(
        np.concatenate([part.places for part in parts]),
        np.concatenate([part.weights for part in parts]),
        all(part.by_gauss for part in parts),
    )


def _inside(domain: Domain, points: int, fixed: Mapping[int, float], kept: Collection[int]) -> Quadrature:
    """Over a domain, or a slice of it."""
    still = {**{axis: float(domain.low[axis]) for axis in kept}, **fixed}
    free = [axis for axis in range(domain.dimension) if axis not in still]
    if domain.is_box:
        return _in_box(domain, points, still, free)
    rest = [axis for axis in free if axis not in domain.shape_axes]
    if domain.shape.dimension == 2 and len(free) <= _GAUSS_DIMENSIONS:
        parts = cells_of(domain.shape, 4 * points // _LEAST ** len(free))
        if parts is not None:
            return _in_cells(domain, parts, points, still, rest)
    if domain.shape.dimension == _GAUSS_DIMENSIONS == len(free) and len(domain.shape.members) == 1:
        cube, own = _product(len(free), points)
        filled = domain.shape.members[0].filling(cube)
        if filled is not None:
            return Quadrature(_placed(domain, domain.shape_axes, filled[0], still), own * filled[1], True)
    return _even(draw(domain, points, "sobol", _generator(), still), domain.shape.measure * _extent(domain, rest))


def _in_box(domain: Domain, points: int, fixed: Mapping[int, float], free: Sequence[int]) -> Quadrature:
    if len(free) <= _GAUSS_DIMENSIONS:
        cube, weights = _product(len(free), points)
    else:
        cube, weights = sampling.unit_cube(points, len(free), "sobol", _generator()), np.full(points, 1 / points)
    places = domain.low[free] + (domain.high - domain.low)[free] * cube
    return Quadrature(_placed(domain, free, places, fixed), _extent(domain, free) * weights, len(free) <= _GAUSS_DIMENSIONS)


def cells_of(shape: Domain, most: int) -> list[Cell] | None:
    """Cells of a shape in the plane; None where they are more than `most`, or not all of it. They are found once."""
    asked, found = _known.get(shape, (0, None))
    if found is None and asked < most:
        found = cells(shape.boundary().pieces, most, rounding(shape))
        area = sum(float(cell.nodes(_FINE)[1].sum()) for cell in found or ())
        found = found if abs(area - shape.measure) < _SAME_AREA * shape.measure else None
        _known[shape] = most, found
    return None if found is None or len(found) > most else found


def _in_cells(
    domain: Domain, parts: Sequence[Cell], points: int, fixed: Mapping[int, float], rest: Sequence[int]
) -> Quadrature:
    """Over cells of a shape in the plane, and intervals of the axes `rest`."""
    count = max(_LEAST, min(_MOST, int((points / len(parts)) ** (1 / (2 + len(rest))) + 1e-9)))
    found = [cell.nodes(count) for cell in parts]
    areas = np.concatenate([area for _, area in found])
    cube, weights = _product(len(rest), count ** len(rest))
    places = np.empty((len(areas), len(cube), 2 + len(rest)))
    places[..., :2] = np.concatenate([own for own, _ in found])[:, None]
    places[..., 2:] = domain.low[rest] + (domain.high - domain.low)[rest] * cube
    axes = [*domain.shape_axes, *rest]
    weights = _extent(domain, rest) * areas[:, None] * weights
    return Quadrature(_placed(domain, axes, places.reshape(weights.size, -1), fixed), weights.ravel(), True)


def _of_piece(part: Part, piece: Piece, points: int, kept: Collection[int]) -> Quadrature:
    """Over a surface, as far as it is of the part, and over time and parameters."""
    domain, surface = part.domain, piece.surface
    rest = [axis for axis in range(domain.dimension) if axis not in domain.shape_axes and axis not in kept]
    size = domain.high - domain.low
    extent = _extent(domain, rest)
    whole = piece.measure == surface.measure and surface.parameters < _GAUSS_DIMENSIONS
    if piece.arcs is None and not (whole and surface.parameters + len(rest) <= _GAUSS_DIMENSIONS):
        places = part.draw(piece, points, "sobol", _generator())
        places[:, list(kept)] = domain.low[list(kept)]
        return _even(places, piece.measure * extent)
    if piece.arcs is None:
        cube, own = _product(surface.parameters, max(points // _ALONG ** len(rest), _LEAST))
    else:
        cube, own = _along(piece)
    others, weights = _product(len(rest), max(points // len(cube), _LEAST ** len(rest)))
    places = np.empty((len(cube), len(others), domain.dimension))
    places[:] = domain.low
    places[:, :, domain.shape_axes] = surface.at(cube)[:, None]
    places[:, :, rest] = domain.low[rest] + size[rest] * others
    all_weights = surface.measure * own[:, None] * (extent * weights)
    return Quadrature(places.reshape(-1, domain.dimension), all_weights.ravel(), True)


def _along(piece: Piece) -> tuple[np.ndarray, np.ndarray]:
    """Nodes (q, 1) and weights of a curve's parameter, on its arcs."""
    smooth = piece.stretches()
    count = max(_LEAST, min(_ALONG, _MOST * _ALONG // sum(len(ends) - 1 for ends in smooth)))
    found = [_gauss(ends, count) for ends in smooth]
    return np.concatenate([nodes for nodes, _ in found])[:, None], np.concatenate([weights for _, weights in found])


def _product(dimension: int, points: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes of Gauss in the unit cube, about `points` of them, (q, dimension), and weights that sum to 1."""
    if dimension == 0:
        return np.zeros((1, 0)), np.ones(1)
    count = max(_LEAST, min(_MOST, int(points ** (1 / dimension) + 1e-9)))
    nodes, weights = _gauss([0.0, 1.0], count)
    cube = np.stack(np.meshgrid(*[nodes] * dimension, indexing="ij"), -1).reshape(-1, dimension)
    products = np.stack(np.meshgrid(*[weights] * dimension, indexing="ij"), -1).reshape(-1, dimension)
    return cube, products.prod(1)


def _placed(domain: Domain, axes: Sequence[int], places: np.ndarray, fixed: Mapping[int, float]) -> np.ndarray:
    """(q, d) from what its columns `axes` are; the others are fixed."""
    found = np.empty((len(places), domain.dimension))
    found[:, list(axes)] = places
    found[:, list(fixed)] = list(fixed.values())
    return found


def _extent(domain: Domain, axes: Sequence[int]) -> float:
    return prod(float(domain.high[axis] - domain.low[axis]) for axis in axes)


def _even(places: np.ndarray, measure: float) -> Quadrature:
    return Quadrature(places, np.full(len(places), measure / len(places)), False)


def _generator() -> np.random.Generator:
    return sampling.generator(0, "quadrature")


def _gauss(breaks: Sequence[float], count: int) -> tuple[np.ndarray, np.ndarray]:
    """`count` nodes and weights of Gauss on each interval between breaks, for the integral over all of them."""
    nodes, weights = leggauss(count)
    starts, lengths = np.array(breaks[:-1]), np.diff(breaks)
    return (starts[:, None] + lengths[:, None] * (nodes + 1) / 2).ravel(), (lengths[:, None] * weights / 2).ravel()
