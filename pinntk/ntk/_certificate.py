"""Whether factors hold the Jacobian: J^T z by the factors against J^T z by autograd, for random z."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import NamedTuple

import torch
from torch import Tensor

from pinntk.ntk._factored import Factors

_SMALL = 1e-3  # of the largest row of J: smaller rows count less, down to those that are rounding
_TINY = 1e-2  # of the largest parameter's columns: the same for columns


def tolerance(*dtypes: torch.dtype) -> float:
    """The largest deviation that is rounding: 1,000 times that of the coarsest dtype. Right factors were seen to deviate by
    60 (float64, second derivatives, n = 20,000).
    """
    return 1e3 * max(torch.finfo(dtype).eps for dtype in dtypes)


def gross_deviation(dtype: torch.dtype) -> float:
    """A deviation that no order of summation explains, however much cancels."""
    return min(1e4 * tolerance(dtype), 1e-2)


class Certificate(NamedTuple):
    """deviation: the largest over all parameters, each relative to a bound of its columns of J; NaN where J^T z is not finite
    passes: whether each is at most the `tolerance` of its dtype
    """

    deviation: float
    passes: bool


@torch.no_grad()
def certificate(factors: Factors, e: Tensor, parameters: Mapping[str, Tensor], pieces: Sequence[int] = ()) -> Certificate:
    """How far J^T z by the factors is from autograd's. One backward pass.

    pieces: the lengths of the vectors that e is joined of; each counts by its own size

    z is random and, for rows of all sizes to count, divided by the size of each row of J: a
    use that was missed shows, rows that depend on each other show, and rows in a wrong order show.
    """
    bounds = {name: _row_bound(factors, name) for name in parameters if factors.has(name)}
    sizes = sum(bounds.values(), e.new_zeros(len(e)))
    sizes = torch.cat([piece.clamp_min(float(piece.max()) * _SMALL) for piece in sizes.split(list(pieces) or len(e))])
    numbers = torch.Generator().manual_seed(1)
    z = (torch.rand(len(e), generator=numbers) + 0.5) * (torch.randint(0, 2, (len(e),), generator=numbers) * 2 - 1)
    z = (z.to(e) / torch.where(sizes > 0, sizes, torch.ones_like(sizes))).to(e)  # rows may be in more digits than e
    with torch.enable_grad():
        direct = torch.autograd.grad(e, list(parameters.values()), z, retain_graph=True, allow_unused=True)
    return _deviation(factors, parameters, z, dict(zip(parameters, direct, strict=True)), bounds)


def _deviation(
    factors: Factors,
    parameters: Mapping[str, Tensor],
    z: Tensor,
    direct: Mapping[str, Tensor | None],
    bounds: Mapping[str, Tensor],
) -> Certificate:
    pairs = []
    for name, p in parameters.items():
        ours, theirs = _rmatvec(factors, name, z), direct[name]
        if ours is None and theirs is None:
            continue
        theirs = torch.zeros_like(p) if theirs is None else theirs
        theirs = torch.view_as_real(theirs.resolve_conj()) if theirs.is_complex() else theirs
        theirs = theirs.flatten().to(z.device)
        ours = torch.zeros_like(theirs) if ours is None else ours.to(theirs.dtype)
        bound = float((z * bounds[name]).norm()) if name in bounds else 0.0
        pairs.append((float((ours - theirs).norm()), max(bound, float(theirs.norm())), tolerance(z.dtype, theirs.dtype)))
    if not all(isfinite(off) and isfinite(size) for off, size, _ in pairs):
        return Certificate(float("nan"), False)
    largest = max((size for _, size, _ in pairs), default=0.0)
    found = [(off / max(size, _TINY * largest) if off else 0.0, limit) for off, size, limit in pairs]
    return Certificate(max((off for off, _ in found), default=0.0), all(off <= limit for off, limit in found))


def _rmatvec(factors: Factors, name: str, z: Tensor) -> Tensor | None:
    if name in factors.rows:
        rows = factors.rows[name]
        return z.to(rows.dtype) @ rows
    if name not in factors.outers:
        return None
    outer = factors.outers[name]
    A, B = outer.A.flatten(0, 1), (outer.B * z[None, :, None]).flatten(0, 1)
    left, right = (A, B) if outer.transposed else (B, A)
    return (left.T @ right).flatten()


def _row_bound(factors: Factors, name: str) -> Tensor:
    """Bounds of the norms of the rows of one parameter's columns of J, (n,), from the norms of its factors."""
    if name in factors.rows:
        return factors.rows[name].norm(dim=1)
    outer = factors.outers[name]
    return (outer.A.norm(dim=2) * outer.B.norm(dim=2)).sum(0)
