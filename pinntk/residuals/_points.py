"""Points as a network takes them, and which conditions share them."""

from __future__ import annotations

from torch import Tensor, nn

from pinntk._util.precision import empty_like
from pinntk.problem import ForeignCondition, Integral, PeriodicPair, Points, Problem
from pinntk.problem._rows import as_rows


def to_network(network: nn.Module, points: Points) -> dict[str, Tensor]:
    """Points in the network's dtype and on its device; a tensor shared by conditions stays shared."""
    like = empty_like(network)
    moved: dict[int, Tensor] = {}
    for name, rows in points.items():
        if id(rows) not in moved:
            given = as_rows(name, rows)
            moved[id(rows)] = given if like is None else given.to(like.device, like.dtype)
    return {name: moved[id(rows)] for name, rows in points.items()}


def groups(problem: Problem, points: Points) -> list[list[str]]:
    """Names of conditions that share one tensor of points, and so one pass of the network; foreign ones by themselves."""
    by_tensor: dict[tuple, list[str]] = {}
    for name, rows in points.items():
        condition = problem[name]
        kind: object = None
        if isinstance(condition, ForeignCondition):
            kind = ForeignCondition
        elif isinstance(condition.region, (PeriodicPair, Integral)):  # it moves its points; those of another move elsewhere
            kind = condition.region
        by_tensor.setdefault((id(rows), kind), []).append(name)
    return list(by_tensor.values())
