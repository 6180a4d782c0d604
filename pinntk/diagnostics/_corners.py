"""Where two conditions meet and prescribe different values: a start and a wall that disagree in a corner."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from torch import Tensor

from pinntk.geometry import _sampling as sampling
from pinntk.ntk.infinite._functional import Functional, NotLinearError, functionals
from pinntk.problem import Faces, Problem

_POINTS = 32  # on a face and on an edge
_PARALLEL = 1e-9  # of the product of two conditions' weights: what they prescribe is the same combination of fields

Piece = dict[int, float]


@dataclass(frozen=True)
class Corner:
    """Two conditions that prescribe different values of the same combination of fields where they meet.

    conditions: their names; place: the coordinates that are fixed there
    values: what each prescribes, at the point where they differ most
    gap: their largest difference, over the spread of all that the two prescribe
    point: (d,) where
    """

    conditions: tuple[str, str]
    place: dict[str, float]
    values: tuple[float, float]
    gap: float
    point: np.ndarray


def corners(problem: Problem, names: Sequence[str]) -> list[Corner]:
    """All such pairs, the largest gap first; conditions on derivatives, periods and what is not linear prescribe no value."""
    values = {name: region for name in names if isinstance(region := problem[name].region, Faces) and _plain(problem, name)}
    found = []
    for (one, first), (other, second) in combinations(values.items(), 2):
        worst = None
        for p, q in ((dict(p), dict(q)) for p in first.pieces for q in second.pieces):
            both = p | q
            if len(both) <= max(len(p), len(q)) or any(both[axis] != value for axis, value in p.items()):
                continue  # no edge between them: the same face, or faces that do not meet
            corner = _compared(problem, one, other, p, q)
            worst = corner if corner and (worst is None or corner.gap > worst.gap) else worst
        if worst is not None:
            found.append(worst)
    return sorted(found, key=lambda corner: -corner.gap)


def _plain(problem: Problem, name: str) -> bool:
    """Whether a condition asks for values of fields only."""
    specs = [spec for spec in problem.arguments[name] if spec.field >= 0]
    known = all(spec.kind != "coefficient" for spec in problem.arguments[name])
    return known and bool(specs) and all(spec.kind == "derivative" and not any(spec.index) for spec in specs)


def _compared(problem: Problem, one: str, other: str, p: Piece, q: Piece) -> Corner | None:
    edge = _points(problem, p | q)
    try:
        at_one, at_other = (functionals(problem, {name: edge})[name] for name in (one, other))
        spread = [
            _prescribed(functionals(problem, {name: _points(problem, part)})[name]) for name, part in ((one, p), (other, q))
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
    place = {names[axis]: value for axis, value in sorted((p | q).items())}
    return Corner((one, other), place, (float(a[k]), float(b[k])), float(apart[k]) / size_of_all, edge[k].numpy())


def _prescribed(functional: Functional) -> Tensor:
    """The value of the normalized combination of fields, (n,); infinite where nothing is asked for."""
    weights = functional.terms[0][1][0]
    return -functional.start / weights.norm(dim=1)


def _points(problem: Problem, fixed: Piece) -> Tensor:
    box = problem.domain
    free = [axis for axis in range(box.dimension) if axis not in fixed]
    cube = sampling.unit_cube(_POINTS if free else 1, len(free), "sobol", sampling.generator(0, "corners"))
    rows = np.empty((len(cube), box.dimension))
    rows[:, free] = box.low[free] + (box.high - box.low)[free] * cube
    rows[:, list(fixed)] = list(fixed.values())
    return torch.as_tensor(rows)
