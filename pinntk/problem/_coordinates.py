"""Coordinates that a dtype cannot tell apart."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pinntk._util.registry import WeakRegistry
from pinntk._util.warn import warn_user
from pinntk.geometry import Domain

_FEW = 10_000  # values of a coordinate that a dtype tells apart, above which its rounding is that of any computation
_warned = WeakRegistry()


def check_coordinates(domain: Domain, name: str, rows: Any, dtype: torch.dtype) -> None:
    """Warns, once for each coordinate of a domain, where points (n, d) lose different values of it in `dtype`.

    A dtype tells few values apart where a coordinate is large against its range, as with unix seconds in float32. The
    same goes for points that were rounded before they came here.
    """
    for axis, spacing, values in _coarse(domain, dtype):
        given = (rows if isinstance(rows, Tensor) else torch.as_tensor(np.array(rows)))[:, axis].detach()
        left = len(given.to(dtype).unique())
        before = len(given.unique()) if _finer(given.dtype, dtype) else len(given)
        certain = _finer(given.dtype, dtype) or 4 * left > values  # a grid has few values, and may have lost none
        if left == before or not certain or not _warned.first(domain, domain.coordinates[axis]):
            continue
        column, (low, high) = domain.coordinates[axis], domain.bounds[axis]
        warn_user(
            f"coordinate {column!r} of condition {name!r}: {str(dtype).removeprefix('torch.')} tells {left} values apart among "
            f"{before}, since between {low:.10g} and {high:.10g} its numbers lie {spacing:.3g} apart. Subtract {low:.10g} and "
            "divide by the range, in the problem's domain, points and data, or use a float64 network and points"
        )


@lru_cache(maxsize=256)
def _coarse(domain: Domain, dtype: torch.dtype) -> tuple[tuple[int, float, float], ...]:
    """(axis, spacing of the dtype's numbers, number of them within the range) where these are few."""
    found = []
    for axis, (low, high) in enumerate(domain.bounds):
        spacing = torch.finfo(dtype).eps * 2.0 ** torch.tensor(max(abs(low), abs(high)), dtype=torch.float64).log2().floor()
        values = (high - low) / float(spacing)
        if values < _FEW:
            found.append((axis, float(spacing), values))
    return tuple(found)


def _finer(a: torch.dtype, b: torch.dtype) -> bool:
    return not a.is_floating_point or torch.finfo(a).eps < torch.finfo(b).eps
