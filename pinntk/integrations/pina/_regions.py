"""PINA's domains as regions of pinntk: boxes and faces where they are some, and else a geometry of PINA's own."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from pina import LabelTensor
from pina.domain import CartesianDomain, Union
from torch import Tensor

from pinntk._util.randomness import fork
from pinntk.problem import Box, Faces, PointSet, Region

_CPU = torch.device("cpu")
_ON = 1e-5  # of a coordinate's extent: points of a face in float32


def labeled(points: Tensor, labels: Sequence[str]) -> LabelTensor:
    """(n, d) with a label for each column, in its dtype and its graph."""
    found = points.as_subclass(LabelTensor)
    found.labels = list(labels)
    return found


def box_of(problem: Any, names: Sequence[str], points: Sequence[np.ndarray]) -> Box:
    """The domain of a problem of PINA: the ranges of its variables, and those of the points where PINA has none.

    names: of the coordinates, in the order of PINA's input variables; points: (n, d), of all conditions
    """
    known: dict[str, tuple[float, float]] = {}
    for which in ("spatial_domain", "temporal_domain", "parameter_domain"):
        domain = getattr(problem, which, None)
        known |= {key: value for key, value in getattr(domain, "range", {}).items() if key in problem.input_variables}
    rows = np.concatenate(points)
    bounds = {}
    for axis, (name, variable) in enumerate(zip(names, problem.input_variables, strict=True)):
        low, high = known.get(variable, (rows[:, axis].min(), rows[:, axis].max()))
        bounds[name] = (float(low), float(high)) if high > low else (float(low) - 0.5, float(low) + 0.5)
    return Box(**bounds)


def region_of(domain: Any, labels: Sequence[str], box: Box, points: np.ndarray) -> Region:
    """Where a condition on a domain of PINA holds.

    labels: PINA's names of the coordinates, in the order of the box; points: (n, d), sampled there
    """
    plain = _plain(domain, labels, box)
    if plain is not None:
        return plain
    inside = _inside(domain, labels)
    flat = is_surface(domain) or not bool(inside(points[:_FEW]).all())  # a surface, in float32
    return PointSet(box, points, draw=_draw(domain, labels), inside=None if flat else inside)


_FEW = 64  # points on which a geometry is asked whether they are its own


def _plain(domain: Any, labels: Sequence[str], box: Box) -> Box | Faces | None:
    """A box, or faces of it; None for anything else."""
    if isinstance(domain, Union):
        parts = [_plain(part, labels, box) for part in domain.geometries]
        faces = [part for part in parts if isinstance(part, Faces)]
        return Faces(box, tuple(piece for part in faces for piece in part.pieces)) if len(faces) == len(parts) else None
    if type(domain) is not CartesianDomain or set(domain.variables) != set(labels):
        return None
    for label, bounds in zip(labels, box.bounds, strict=True):
        low, high = domain.range.get(label, bounds)
        fixed = domain.fixed.get(label, bounds[0])
        if (low, high) != bounds or not bounds[0] <= fixed <= bounds[1]:
            return None
    pieces = tuple((labels.index(label), float(value)) for label, value in domain.fixed.items())
    return Faces(box, (tuple(sorted(pieces)),)) if pieces else box


def is_surface(domain: Any) -> bool:
    """Whether a domain has fewer dimensions than there are coordinates."""
    parts = getattr(domain, "geometries", None)
    if parts is not None:
        return is_surface(parts[0]) if not isinstance(domain, Union) else all(is_surface(part) for part in parts)
    return bool(getattr(domain, "sample_surface", False) or domain.fixed)


def _draw(domain: Any, labels: Sequence[str]) -> Any:
    def draw(n: int, rng: np.random.Generator) -> np.ndarray:
        before = random.getstate()  # a union shuffles its parts by it
        try:
            with fork(_CPU):
                torch.default_generator.manual_seed(int(rng.integers(2**63)))
                random.seed(int(rng.integers(2**63)))
                found = domain.sample(n, "random")
        finally:
            random.setstate(before)
        return found.extract(list(labels)).as_subclass(Tensor).double().numpy()

    return draw


def _inside(domain: Any, labels: Sequence[str]) -> Any:
    def inside(points: np.ndarray) -> np.ndarray:
        rows = torch.as_tensor(points, dtype=torch.float32).split(1)  # PINA answers for all of its points together
        return np.array([bool(domain.is_inside(labeled(row, labels), check_border=True)) for row in rows])

    return inside


def kind_of(region: Region, points: np.ndarray, time: int | None, surface: bool) -> str:
    """The kind of a condition, residual, boundary or initial, by where its points are.

    time: the coordinate that is time; surface: whether the points are of fewer dimensions
    """
    box = region.domain
    size = box.high - box.low
    at_start = time is not None and bool((points[:, time] - box.low[time] <= _ON * size[time]).all())
    on_edge = bool(((points - box.low <= _ON * size) | (box.high - points <= _ON * size)).any(1).all())
    if isinstance(region, Box):
        return "residual"
    if at_start:
        return "initial"
    return "boundary" if on_edge or surface or isinstance(region, Faces) else "residual"
