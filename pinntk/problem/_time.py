"""Which coordinate is time, and equal slices of it."""

from __future__ import annotations

from torch import Tensor

from pinntk.geometry import Faces
from pinntk.geometry._bounded import TIME
from pinntk.problem._problem import Problem


def time_axis(problem: Problem) -> tuple[int | None, bool]:
    """The axis of time, None if there is none, and whether it runs backward."""
    faces = [c.region for c in problem.conditions if c.kind == "initial" and isinstance(c.region, Faces)]
    starts = [piece for region in faces for piece in region.pieces]
    fixed = {axis for piece in starts for axis, _ in piece}
    if TIME in problem.coordinates:
        axis = problem.domain.axis(TIME)
    elif len(fixed) == 1 and all(len(piece) == 1 for piece in starts):
        (axis,) = fixed
    else:
        return None, False
    values = {value for piece in starts for where, value in piece if where == axis}
    return axis, values == {problem.domain.bounds[axis][1]}


def time_slices(times: Tensor, start: float, end: float, slices: int) -> Tensor:
    """The slice 0 .. slices - 1 of equal length between start and end, in that direction, of each of (n,) times, (n,).

    >>> import torch
    >>> time_slices(torch.tensor([0.0, 0.4, 1.0]), 0.0, 1.0, 4).tolist()
    [0, 1, 3]
    >>> time_slices(torch.tensor([0.0, 0.4, 1.0]), 1.0, 0.0, 4).tolist()
    [3, 2, 0]
    """
    return ((times.double() - start) / (end - start) * slices).long().clamp(0, slices - 1)
