"""Whether factors hold the Jacobian: J^T z by the factors against J^T z by autograd, for random z."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from pinntk.ntk.factored import Factors


def tolerance(*dtypes: torch.dtype) -> float:
    """The largest deviation that is rounding: 10 sqrt(eps) of the coarsest dtype, far below what a missed use or a wrong row
    leaves, and far above the rounding of second and fourth derivatives."""
    return 10 * max(torch.finfo(dtype).eps for dtype in dtypes) ** 0.5


@torch.no_grad()
def deviation(factors: Factors, parameters: Mapping[str, Tensor], z: Tensor, direct: Sequence[Tensor | None]) -> float:
    """The largest deviation of J^T z by the factors from `direct`, that of autograd, over all parameters, each relative to a
    bound of the norm of its columns of J, or to what is rounding beside the largest of these; inf where only
    one of them is finite."""
    pairs = []
    for (name, p), theirs in zip(parameters.items(), direct, strict=True):
        ours = _transposed(factors, name, z)
        theirs = torch.zeros_like(p) if theirs is None else theirs
        theirs = torch.view_as_real(theirs.resolve_conj()) if theirs.is_complex() else theirs
        theirs = theirs.flatten().to(z.device)
        ours = torch.zeros_like(theirs) if ours is None else ours.to(theirs.dtype)
        pairs.append((ours, theirs, _norm(factors, name)))
    largest = max((norm for *_, norm in pairs if norm < float("inf")), default=0.0)
    worst, tiny = 0.0, tolerance(z.dtype)
    for ours, theirs, norm in pairs:
        both = ours.isfinite() & theirs.isfinite()
        if (ours.isfinite() != theirs.isfinite()).any():
            return float("inf")
        off = float((ours - theirs)[both].norm())
        if off > 0:
            worst = max(worst, off / max(norm if norm < float("inf") else 0.0, tiny * largest, float(theirs[both].norm())))
    return worst


def _transposed(factors: Factors, name: str, z: Tensor) -> Tensor | None:
    if name in factors.rows:
        rows = factors.rows[name]
        return z.to(rows.dtype) @ rows
    if name not in factors.outers:
        return None
    outer = factors.outers[name]
    A, B = outer.A.flatten(0, 1), (outer.B * z[None, :, None]).flatten(0, 1)
    left, right = (A, B) if outer.transposed else (B, A)
    return (left.T @ right).flatten()


def _norm(factors: Factors, name: str) -> float:
    """A bound of the Frobenius norm of one parameter's columns of J, from the norms of its factors."""
    if name in factors.rows:
        return float(factors.rows[name].norm())
    if name not in factors.outers:
        return 0.0
    outer = factors.outers[name]
    return float((outer.A.norm(dim=2) * outer.B.norm(dim=2)).sum(0).norm())
