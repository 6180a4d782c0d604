"""The QR factorization of a tall matrix whose rows several processes share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from pinntk._util import distributed
from pinntk.solvers._householder import Triangularized


class TallQR:
    """B = Q [R; 0] of a matrix (m, k), R upper triangular (k, k), its last rows zeros where m < k.

    own: rows of B that this process has
    places: where they lie among all m; None where it has them all, and works for itself

    Of several processes R is that of their triangles R_i one under the other, and Q that of these times the Q_i: as stable as
    one factorization of B (Demmel, Grigori, Hoemmen & Langou 2012, SIAM J. Sci. Comput. 34:A206, "TSQR"), so that no singular
    value loses a digit, as it would in B^T B.
    """

    def __init__(self, own: Tensor, m: int, places: Sequence[slice] | None = None):
        self._m, self._places, self._k = m, places, min(own.shape)
        self._own = Triangularized(own) if self._k else None
        R = own.new_zeros(own.shape[1], own.shape[1]) if self._own is None else self._own.R
        self._joint: Triangularized | None = None
        if places is not None:
            triangles, self._counts = _stacked(R[: self._k])
            self._joint = Triangularized(triangles)
            R = self._joint.R
            distributed.same_everywhere([R])
        self.R = R

    def rotate(self, v: Tensor, transpose: bool = False) -> Tensor:
        """Q v, (m,), of a v that may be shorter and ends in zeros; or Q^T v, of which the first k entries count."""
        if self._joint is None or self._places is None:
            return v if self._own is None else self._own.rotate(v, transpose)
        if transpose:
            own = torch.cat([v[:0], *(v[place] for place in self._places)])
            parts = self._rotated(own, transpose=True)[: self._k]
            return self._joint.rotate(distributed.gather_rows(parts, self._counts), transpose=True)
        parts = self._joint.rotate(v).split(self._counts)[distributed.rank()]
        whole = v.new_zeros(self._m)
        own = self._rotated(parts, transpose=False)
        for place, part in zip(self._places, own.split([place.stop - place.start for place in self._places]), strict=True):
            whole[place] = part
        return distributed.all_sum(whole)

    def _rotated(self, v: Tensor, transpose: bool) -> Tensor:
        return v if self._own is None else self._own.rotate(v, transpose)


def triangle(blocks: Iterable[Tensor], k: int, like: Tensor) -> Tensor:
    """R, (k, k), of the QR factorization of blocks of rows (b, k) one under the other."""
    R = like.new_zeros(0, k)
    for block in blocks:
        R = torch.linalg.qr(torch.cat([R, block]) if len(R) else block, mode="r").R
    return torch.cat([R, R.new_zeros(k - len(R), k)])


def joint_triangle(R: Tensor, shared: bool) -> Tensor:
    """That of the triangles (k, k) of all processes one under the other."""
    if not shared:
        return R
    R = triangle([_stacked(R)[0]], len(R), R)
    distributed.same_everywhere([R])
    return R


def _stacked(rows: Tensor) -> tuple[Tensor, list[int]]:
    """The rows of all processes one under the other, and how many each has."""
    here = [0.0] * distributed.world()
    here[distributed.rank()] = len(rows)
    counts = [int(count) for count in distributed.all_sum_numbers(here, rows.device)]
    return distributed.gather_rows(rows.contiguous(), counts), counts
