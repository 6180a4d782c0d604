"""The QR factorization of a tall matrix whose rows several processes share."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pinntk._util import distributed


class TallQR:
    """B = Q R, (m, k), with Q kept as reflectors. R is (min(m, k), k).

    own: rows of B that this process has
    places: where they lie among all m; None where every process has all rows, and works for itself

    Of several processes R is that of their triangles R_i one under the other, and Q that of these times the Q_i: as stable as
    one factorization of B (Demmel, Grigori, Hoemmen & Langou 2012, SIAM J. Sci. Comput. 34:A206, "TSQR"), so that no singular
    value loses a digit, as it would in B^T B.
    """

    def __init__(self, own: Tensor, m: int, places: Sequence[slice] | None = None):
        self._m, self._places = m, places
        self._first = _Reflectors(*_factored(own))
        self._joint: _Reflectors | None = None
        if places is not None and distributed.world() > 1:
            triangles, self._counts = stacked(self._first.triangle)
            joint = distributed.tensors_of_first(lambda: _factored(triangles), own)
            assert joint is not None
            self._joint = _Reflectors(*joint)
        self.R = (self._joint or self._first).triangle

    def rotated(self, v: Tensor) -> Tensor:
        """Q^T v, (m,) -> (min(m, k),)."""
        if self._joint is None:
            return self._first.times(v, transpose=True)[: self._first.k]
        assert self._places is not None
        own = torch.cat([v[:0], *(v[place] for place in self._places)])
        parts = self._first.times(own, transpose=True)[: self._first.k]
        return self._joint.times(distributed.gather_rows(parts, self._counts), transpose=True)[: self._joint.k]

    def lift(self, y: Tensor) -> Tensor:
        """Q y, (min(m, k),) -> (m,)."""
        if self._joint is None:
            return self._first.times(_padded(y, self._m), transpose=False)
        assert self._places is not None
        parts = self._joint.times(_padded(y, sum(self._counts)), transpose=False).split(self._counts)
        own = self._first.times(_padded(parts[distributed.rank()], self._first.m), transpose=False)
        v = y.new_zeros(self._m)
        for place, part in zip(self._places, own.split([place.stop - place.start for place in self._places]), strict=True):
            v[place] = part
        return distributed.all_sum(v)


def stacked(triangle: Tensor) -> tuple[Tensor, list[int]]:
    """The triangles of all processes one under the other, and how many rows each has."""
    here = [0.0] * distributed.world()
    here[distributed.rank()] = len(triangle)
    counts = [int(count) for count in distributed.all_sum_numbers(here, triangle.device)]
    return distributed.gather_rows(triangle, counts), counts


def _factored(B: Tensor) -> tuple[Tensor, Tensor]:
    return torch.geqrf(B) if len(B) else (B, B.new_zeros(0))


def _padded(v: Tensor, n: int) -> Tensor:
    return torch.cat([v, v.new_zeros(n - len(v))])


class _Reflectors:
    """Q R as LAPACK keeps them."""

    def __init__(self, reflectors: Tensor, tau: Tensor):
        self.m, self.k = len(reflectors), len(tau)
        self._reflectors, self._tau = reflectors, tau

    @property
    def triangle(self) -> Tensor:
        return self._reflectors[: self.k].triu()

    def times(self, v: Tensor, transpose: bool) -> Tensor:
        """Q v or Q^T v, (m,) -> (m,)."""
        if not self.k:
            return v
        return torch.ormqr(self._reflectors[:, : self.k], self._tau, v.unsqueeze(1), transpose=transpose)[:, 0]
