"""Which conditions have a kernel that is zero to rounding: of their own size, whatever the sizes of the others."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy

import torch
from torch import Tensor, nn

from pinntk._util import distributed
from pinntk._util.precision import empty_like
from pinntk.ntk._assemble import compute_traces
from pinntk.problem import Points, Problem
from pinntk.residuals import NonFiniteError, errors
from pinntk.residuals._points import to_network

_SUSPECT = 1e-4  # of the sum of sizes: smaller ones are looked at, since rounding in float32 can be 1e-7 of it
_TINY = 1e-12  # of the sum: where it cannot be looked at, such a size counts as rounding
_ROWS = 16  # of each condition that is looked at
_APART = 10.0  # between two measurements: what is real agrees in several digits, and roundings are further apart
_NUDGE = 4.0  # roundings of a coordinate


def suspects(sizes: Mapping[str, float], share: float = _SUSPECT) -> list[str]:
    """The conditions whose kernel may be rounding: those of a size above 0 and below `share` of the sum.

    Rounding is told from a small kernel by a second measurement, `alike`: at `nudged` points, or in the other precision.
    """
    total = sum(sizes.values())
    return [name for name, size in sizes.items() if 0 < size <= share * total]


def nudged(x: Tensor) -> Tensor:
    """Points (n, d) moved by a few roundings of their coordinates: what is real stays as it is, and roundings are others."""
    return x + (x.amax(0) - x.amin(0) + x.abs().amax(0)) * torch.finfo(x.dtype).eps * _NUDGE


def alike(*found: float) -> bool:
    """Whether measurements of one size agree, so that it is no rounding."""
    return 0 < max(found) <= _APART * min(found)


def vanishing(network: nn.Module, problem: Problem, points: Points, sizes: Mapping[str, float]) -> set[str]:
    """The conditions that depend on no parameter, as when they are met by construction.

    points: {condition: (n, d)}; sizes: {condition: its trace, or mean diagonal, on them}

    A size of 0 is one, and so is what is rounding: a factor of sin(pi x) at x = 1. That is told from a condition in other units
    (meters on a domain of a millimeter, strains beside pascals) by computing it in the other precision, and at points moved by
    roundings (0.1 of float32 is not 0.1 in float64 either): roundings are others there. Only sizes below 1e-4 of the sum are
    looked at. Where the network cannot be converted, those below 1e-12 count.
    """
    zero = {name for name, size in sizes.items() if not size > 0}
    few = {name: _few(points[name]) for name in suspects(sizes)}
    unseen = zero.union(suspects(sizes, _TINY))
    like = empty_like(network)
    if not few or like is None:
        return unseen
    dtype = torch.float32 if like.dtype == torch.float64 else torch.float64
    try:
        other = deepcopy(network)._apply(lambda t: t.to(dtype) if t.is_floating_point() else t)
        near = {name: _nudge(rows, problem.domain.dimension) for name, rows in to_network(network, few).items()}
        places = ((network, few), (network, near), (other, few))
        found = [compute_traces(one, problem, to_network(one, there)) for one, there in places]
    except (NonFiniteError, RuntimeError, TypeError, ValueError):  # a network that cannot be copied, or not be converted
        return unseen
    return zero | {name for name in few if not alike(*(traces[name] for traces in found))}


def without_vanishing(network: nn.Module, problem: Problem, points: Points, sizes: Mapping[str, float]) -> dict[str, float]:
    """The sizes, 0 for the conditions of `vanishing`, which the first process finds for all, as memory may be short in one."""
    none = distributed.of_first(lambda: vanishing(network, problem, points, sizes))
    return {name: 0.0 if name in none else size for name, size in sizes.items()}


def genuine(network: nn.Module, problem: Problem, points: Points, e: Mapping[str, Tensor]) -> set[str]:
    """Of the conditions with errors e, {condition: (n,)}, those whose errors are not rounding.

    points: {condition: (n, d)}, at least those of e. As in `vanishing`, errors in the other precision tell; where the network
    cannot be converted, all errors count that are not zero.
    """
    there = {name: rms for name, part in e.items() if (rms := float(part.double().square().mean().sqrt())) > 0}
    like = empty_like(network)
    if not there or like is None:
        return set(there)
    dtype = torch.float32 if like.dtype == torch.float64 else torch.float64
    try:
        other = deepcopy(network)._apply(lambda t: t.to(dtype) if t.is_floating_point() else t)
        with torch.no_grad():
            again = errors(other, problem, to_network(other, {name: points[name] for name in there}))
    except (RuntimeError, TypeError, ValueError):
        return set(there)
    return {name for name, rms in there.items() if alike(rms, float(again[name].double().square().mean().sqrt()))}


def _nudge(rows: Tensor, dimension: int) -> Tensor:
    """Coordinates `nudged`; measured values and numbers of rows beside them stay."""
    return torch.cat([nudged(rows[:, :dimension]), rows[:, dimension:]], dim=1)


def _few(rows: Tensor) -> Tensor:
    """Rows from all over."""
    places = torch.linspace(0, len(rows) - 1, min(len(rows), _ROWS), dtype=torch.float64).long()
    return rows[places.to(rows.device)]
