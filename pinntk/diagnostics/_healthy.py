"""The gains of conditions for a healthy network, where the one that is examined has none."""

from __future__ import annotations

import warnings
from collections.abc import Iterable

import torch
from torch import nn

from pinntk.diagnostics._architecture import fresh
from pinntk.nn import MLP
from pinntk.ntk._assemble import compute_traces
from pinntk.problem import Points, Problem, field_problem, with_field_values

_WIDTH, _DEPTH = 32, 2  # gains depend little on them


def healthy_traces(network: nn.Module, problem: Problem, points: Points, names: Iterable[str]) -> dict[str, float]:
    """{condition: Tr K_ii} of a fresh tanh network, in float64, of the conditions of these names on their points; of a problem
    with foreign conditions, which take no other, of `network` with fresh weights.

    0 for a condition that depends on no field.
    """
    kept = {name: points[name].double() for name in names}
    return _traces(network, problem, kept) if kept else {}


def healthy_gains(
    network: nn.Module, problem: Problem, points: Points, names: Iterable[str], where: torch.Tensor
) -> dict[str, float]:
    """{condition: sqrt(mean K_ii / mean K_uu)} of such a network: the error that a change of the fields by 1 makes.

    where: (m, d), of the fields. 0 for a condition that depends on no field.
    """
    values = field_problem(problem).names
    kept = {name: points[name].double() for name in names}
    found = _traces(network, with_field_values(problem), kept | dict.fromkeys(values, where.double()))
    prior = sum(found[name] for name in values) / (len(values) * len(where))
    return {name: (found[name] / len(rows) / prior) ** 0.5 for name, rows in kept.items()}


def _traces(given: nn.Module, problem: Problem, points: Points) -> dict[str, float]:
    device = next(iter(points.values())).device
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network: nn.Module
        if problem.foreign:
            network = fresh(given).to(device, torch.float64)
        else:
            network = MLP(problem, width=_WIDTH, depth=_DEPTH, dtype=torch.float64, device=device)
        return compute_traces(network, problem, points)
