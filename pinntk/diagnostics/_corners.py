"""Where two conditions meet and prescribe different values: a start and a wall that disagree in a corner."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from torch import Tensor

from pinntk.geometry import Domain, Faces, Part
from pinntk.geometry import _sampling as sampling
from pinntk.ntk.infinite._functional import Functional, NotLinearError, functionals
from pinntk.problem import Problem

_POINTS = 32  # on a face and on an edge
_MEETING = (Faces, Part)
_TOUCHING = 1e-9  # of the extent: a corner of one part that is nearer to another one lies on it
_PARALLEL = 1e-9  # of the product of two conditions' weights: what they prescribe is the same combination of fields

Piece = dict[int, float]


@dataclass(frozen=True)
class Corner:
    """Two conditions that prescribe different values of the same combination of fields where they meet.

    conditions: their names; place: the coordinates that are fixed there
    values: what each prescribes, at the point where they differ most
    gap: their largest difference, over the spread of all that the two prescribe
    point: (d,) where
    part: the part of a boundary that all of the place lies on, of a domain that is no box
    """

    conditions: tuple[str, str]
    place: dict[str, float]
    values: tuple[float, float]
    gap: float
    point: np.ndarray
    part: Part | None = None


def corners(problem: Problem, names: Sequence[str]) -> list[Corner]:
    """All such pairs, the largest gap first; conditions on derivatives, periods and what is not linear prescribe no value."""
    values = {name: region for name in names if isinstance(region := problem[name].region, _MEETING) and _plain(problem, name)}
    found = []
    for (one, first), (other, second) in combinations(values.items(), 2):
        worst = None
        for place in _places(problem.domain, first, second):
            corner = _compared(problem, one, other, place)
            worst = corner if corner and (worst is None or corner.gap > worst.gap) else worst
        if worst is not None:
            found.append(worst)
    return sorted(found, key=lambda corner: -corner.gap)


@dataclass(frozen=True)
class _Place:
    """Points (n, d) that two regions have in common, and points of each; fixed, part: as in a `Corner`."""

    points: np.ndarray
    each: tuple[np.ndarray, np.ndarray]
    fixed: Piece
    part: Part | None = None


def _places(domain: Domain, first: Faces | Part, second: Faces | Part) -> Iterator[_Place]:
    """Where two regions meet: slices in an edge, a slice and a part of the boundary along that, and two parts in corners."""
    if isinstance(first, Faces) and isinstance(second, Faces):
        for p, q in ((dict(p), dict(q)) for p in first.pieces for q in second.pieces):
            both = p | q
            if len(both) <= max(len(p), len(q)) or any(both[axis] != value for axis, value in p.items()):
                continue  # no edge between them: the same face, or faces that do not meet
            yield _Place(_points(domain, both), (_points(domain, p), _points(domain, q)), both)
    elif isinstance(first, Part) and isinstance(second, Part):
        rows = _common_corners(first, second)
        if len(rows):
            yield _Place(rows, (_drawn(first), _drawn(second)), {}, first)
    else:
        part, slices = (first, second) if isinstance(first, Part) else (second, first)
        assert isinstance(part, Part) and isinstance(slices, Faces)
        for piece in map(dict, slices.pieces):
            if set(piece) & set(domain.shape_axes):
                continue
            rows = _drawn(part)
            rows[:, list(piece)] = list(piece.values())
            each = _drawn(part), _points(domain, piece)
            yield _Place(rows, each if part is first else each[::-1], piece, part)


def _common_corners(first: Part, second: Part) -> np.ndarray:
    """Points (n, d) at the ends of curves of one part that lie on the other as well; of shapes in the plane."""
    domain = first.domain
    rows = []
    for one, other in ((first, second), (second, first)):
        for piece in one.pieces:
            if piece.arcs is None:  # two surfaces in space meet in curves, which nothing here finds
                continue
            ends = [*piece.arcs.ravel(), *(u for u in piece.surface.breaks if (abs(piece.arcs - u) < _PARALLEL).any())]
            places = piece.surface.at(np.array(ends)[:, None])
            near = [p.surface.distance_of(places) for p in other.pieces]
            rows += [*places[np.min(near, 0) < _TOUCHING * domain.extent]] if near else []
    if not rows:
        return np.empty((0, domain.dimension))
    corners = np.unique(np.round(rows, 12), axis=0)
    drawn = np.repeat(_drawn(first)[:1], len(corners), 0)  # a time and parameters of its own
    drawn[:, domain.shape_axes] = corners
    return drawn


def _drawn(part: Part) -> np.ndarray:
    return part.sample(_POINTS, "sobol", sampling.generator(0, "corners"))


def _plain(problem: Problem, name: str) -> bool:
    """Whether a condition asks for values of fields only."""
    specs = [spec for spec in problem.arguments[name] if spec.field >= 0]
    known = all(spec.kind != "coefficient" for spec in problem.arguments[name])
    return known and bool(specs) and all(spec.kind == "derivative" and not any(spec.index) for spec in specs)


def _compared(problem: Problem, one: str, other: str, where: _Place) -> Corner | None:
    edge = torch.as_tensor(where.points)
    try:
        at_one, at_other = (functionals(problem, {name: edge})[name] for name in (one, other))
        spread = [
            _prescribed(functionals(problem, {name: torch.as_tensor(rows)})[name])
            for name, rows in zip((one, other), where.each, strict=True)
        ]
    except NotLinearError:
        return None
    w, v = (f.terms[0][1][0] for f in (at_one, at_other))  # (n, fields)
    size = w.norm(dim=1) * v.norm(dim=1)
    same = ((w * v).sum(1).abs() > (1 - _PARALLEL) * size) & (size > 0)
    if not bool(same.any()):
        return None
    a, b = _prescribed(at_one), _prescribed(at_other) * (w * v).sum(1).sign()
    apart = torch.where(same, (a - b).abs(), 0)
    k = int(apart.argmax())
    whole = torch.cat([*(part[part.isfinite()] for part in spread), a[same], b[same]])
    size_of_all = float(whole.max() - whole.min())
    if not bool(apart.isfinite().all()) or not size_of_all > 0:
        return None
    names = problem.coordinates
    place = {names[axis]: value for axis, value in sorted(where.fixed.items())}
    if not place:  # a corner of a shape, at all times
        place = {names[axis]: float(edge[k, axis]) for axis in problem.domain.shape_axes}
    values = float(a[k]), float(b[k])
    return Corner((one, other), place, values, float(apart[k]) / size_of_all, edge[k].numpy(), where.part)


def _prescribed(functional: Functional) -> Tensor:
    """The value of the normalized combination of fields, (n,); infinite where nothing is asked for."""
    weights = functional.terms[0][1][0]
    return -functional.start / weights.norm(dim=1)


def _points(box: Domain, fixed: Piece) -> np.ndarray:
    if not box.is_box:
        return Faces(box, (tuple(fixed.items()),)).sample(_POINTS, "sobol", sampling.generator(0, "corners"))
    free = [axis for axis in range(box.dimension) if axis not in fixed]
    cube = sampling.unit_cube(_POINTS if free else 1, len(free), "sobol", sampling.generator(0, "corners"))
    rows = np.empty((len(cube), box.dimension))
    rows[:, free] = box.low[free] + (box.high - box.low)[free] * cube
    rows[:, list(fixed)] = list(fixed.values())
    return rows
