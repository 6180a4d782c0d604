"""Those eigenvalues of a large Gram matrix that are not rounding, from a few of its columns."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

_BLOCK, _FEW = 64, 16  # columns at a time, at most and at least
_SHARE = 0.05  # of the largest pivot of a block: smaller ones are left to blocks that may have better
_TRACE, _PIVOT = 1e-15, 4e-16  # of the trace, of the largest entry of the diagonal: what is left below them is rounding


def leading_eigenpairs(diagonal: Tensor, columns: Callable[[Tensor], Tensor], most: int) -> tuple[Tensor, Tensor] | None:
    """Eigenvalues (r,), falling, and orthonormal eigenvectors (n, r) of a positive semidefinite M, (n, n), by Cholesky with
    pivots; M is never formed. What it leaves out of M is rounding: about 1e-14 of the largest eigenvalue.

    diagonal: of M, (n,)
    columns: M[:, index] of an index (k,)
    most: of r

    Returns None where M has more than `most` of them.

    >>> A = torch.rand(50, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    >>> M = A @ A.T
    >>> values, vectors = leading_eigenpairs(M.diagonal(), lambda index: M[:, index], 10)
    >>> vectors.shape, bool(((vectors * values) @ vectors.T - M).abs().max() < 1e-13)
    (torch.Size([50, 4]), True)
    """
    L = _factor(diagonal, columns, most)
    if L is None:
        return None
    Q, R = torch.linalg.qr(L)
    U, S, _ = torch.linalg.svd(R, full_matrices=False)
    return S.square(), Q @ U


def _factor(diagonal: Tensor, columns: Callable[[Tensor], Tensor], most: int) -> Tensor | None:
    """L, (n, r), with M = L L^T."""
    left = diagonal.clone()  # the diagonal of M - L L^T
    enough, rounding = _TRACE * float(left.sum()), _PIVOT * float(left.max())
    found: list[Tensor] = []
    size = _BLOCK
    while float(left.sum()) > enough and float(left.max()) > rounding:
        if sum(L.shape[1] for L in found) > most:
            return None
        index = left.topk(min(size, len(left))).indices
        C = columns(index)
        for L in found:
            C = C - L @ L[index].T
        pivots, R = _pivots(C[index], rounding)
        size = min(_BLOCK, max(_FEW, 2 * len(pivots)))
        if not len(pivots):
            left[index] = 0
            continue
        L = torch.linalg.solve_triangular(R, C[:, pivots], upper=True, left=False)
        left = (left - L.square().sum(1)).clamp_min(0)
        left[index[pivots]] = 0
        found.append(L)
    return torch.cat(found, 1) if found else left.new_zeros(len(left), 0)


def _pivots(E: Tensor, rounding: float) -> tuple[Tensor, Tensor]:
    """The k pivots of E, (b, b), that are worth it, the largest first, and R, (k, k), with R^T R = E[pivots][:, pivots]."""
    left = E.diagonal().clone()
    enough = max(rounding, _SHARE * float(left.max()))
    rows, pivots = E.new_zeros(E.shape), []
    for k in range(len(E)):
        at = int(left.argmax())
        if not float(left[at]) > enough:
            break
        rows[k] = (E[at] - rows[:k, at] @ rows[:k]) / left[at].sqrt()
        left -= rows[k].square()
        left[at] = 0
        pivots.append(at)
    chosen = torch.tensor(pivots, dtype=torch.long, device=E.device)
    return chosen, rows[: len(pivots), chosen].triu()
