"""Which conditions have a kernel that is zero to rounding: of their own size, whatever the sizes of the others."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy

import torch
from torch import Tensor, nn

from pinntk._util.precision import empty_like
from pinntk.ntk._assemble import compute_traces
from pinntk.problem import Points, Problem
from pinntk.residuals import NonFiniteError, errors
from pinntk.residuals._points import to_network

_SUSPECT = 1e-12  # of the sum of sizes: float32 rounding squared and more, or a condition in other units
_ROWS = 16  # of each condition that is looked at
_APART = 10.0  # between two precisions: what is real agrees in several digits, and roundings are 1e17 apart


def vanishing(network: nn.Module, problem: Problem, points: Points, sizes: Mapping[str, float]) -> set[str]:
    """The conditions that depend on no parameter, as when they are met by construction.

    points: {condition: (n, d)}; sizes: {condition: its trace, or mean diagonal, on them}

    A size of 0 is one, and so is what is rounding: a factor of sin(pi x) at x = 1. That is told from a condition in other units
    (meters on a domain of a millimeter, strains beside pascals) by computing it in the other precision, where roundings are
    others; only sizes below 1e-12 of the sum are looked at.
    """
    total = sum(sizes.values())
    zero = {name for name, size in sizes.items() if not size > 0}
    suspects = {name: _few(points[name]) for name, size in sizes.items() if 0 < size <= _SUSPECT * total}
    like = empty_like(network)
    if not suspects or like is None:
        return zero | suspects.keys()
    dtype = torch.float32 if like.dtype == torch.float64 else torch.float64
    try:
        other = deepcopy(network)._apply(lambda t: t.to(dtype) if t.is_floating_point() else t)
        found = [compute_traces(one, problem, to_network(one, suspects)) for one in (network, other)]
    except (NonFiniteError, RuntimeError, TypeError, ValueError):  # a network that cannot be copied, or not be converted
        return zero | suspects.keys()
    return zero | {name for name in suspects if not _alike(*(traces[name] for traces in found))}


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
    return {name for name, rms in there.items() if _alike(rms, float(again[name].double().square().mean().sqrt()))}


def _alike(a: float, b: float) -> bool:
    return 0 < max(a, b) <= _APART * min(a, b)


def _few(rows: Tensor) -> Tensor:
    """Rows from all over."""
    places = torch.linspace(0, len(rows) - 1, min(len(rows), _ROWS), dtype=torch.float64).long()
    return rows[places.to(rows.device)]
