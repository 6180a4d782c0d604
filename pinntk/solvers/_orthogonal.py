"""Damped steps to the last digit: a QR factorization for every damping, and A^T A nowhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from functools import cached_property

import torch
from torch import Tensor

from pinntk._util import distributed
from pinntk._util.threads import of_factorization, threads_for
from pinntk.ntk._krylov import leading_eigenpairs
from pinntk.solvers._householder import DampedTriangle
from pinntk.solvers._jacobian import ScaledJacobian
from pinntk.solvers._length import LengthSearch
from pinntk.solvers._tall_qr import TallQR, joint_triangle, triangle
from pinntk.solvers._vector import norm

# Steps are good to 2e-16 of the largest singular value of A over the root of the damping. Where A^T v stands for a product
# with an orthonormal matrix, that is lost twice: three digits at 2e-13, squared 4e-26.
SMALLEST = 1e-34
_BY_TRANSPOSE = 4e-26
_KEPT = 2  # factors: of the damping that is held, and of the one tried last


class OrthogonalSteps:
    """-(A^T A + mu I)^-1 A^T v from the triangle R of A, or of A^T where errors are fewer ("kernel").

    block: rows or columns of A that are formed at a time; None: A is formed whole
    first: damping at which the search for a length begins, relative to the largest eigenvalue
    shared: whether several processes (torchrun) have a part of A each: rows of it, or with "kernel" columns
    """

    def __init__(self, A: ScaledJacobian, r: Tensor, form: str, block: int | None, first: float, shared: bool = False):
        self._A, self._r, self._block, self._first, self._shared = A, r, block, first, shared
        self._kernel, self._whole = form == "kernel", block is None
        self._factors: dict[float, DampedTriangle] = {}
        self._held = 0.0

    @cached_property
    def largest(self) -> float:
        """The largest eigenvalue of A^T A."""
        R = self._triangle[0]
        unit = float(R.abs().max())
        if not unit:
            return 0.0
        R = R / unit
        value = float(leading_eigenpairs(lambda V: R.T @ (R @ V), R[0], 1).values[0])
        return distributed.agreed(value, R.device) * unit**2

    @property
    def least(self) -> float:
        """The least damping that is answered."""
        return self.least_share * self.largest

    @property
    def least_share(self) -> float:
        """Of the largest eigenvalue."""
        return SMALLEST if self._whole else _BY_TRANSPOSE

    def step(self, mu: float) -> Tensor:
        """(p,), for the errors r."""
        if self._kernel or self._whole:
            return self.apply(self._r, mu)
        _, rotated = self._triangle  # Q^T r; there is no Q^T v
        with self._threads():
            factor = self._factor(mu)
            return -factor.solve(factor.rotate(rotated, transpose=True)[: self._A.p])

    def apply(self, v: Tensor, mu: float) -> Tensor:
        """(n,) -> (p,)."""
        A = self._A
        with self._threads():
            factor = self._factor(mu)
            if self._kernel:
                z = factor.solve(v, transpose=True)
                return -(self._lift(factor.rotate(z)[: A.n]) if self._whole else A.rmatvec(factor.solve(z)))
            if self._whole:
                return -factor.solve(factor.rotate(self._reflections.rotate(v, transpose=True)[: A.p], transpose=True)[: A.p])
            return -factor.solve(factor.solve(A.rmatvec(v), transpose=True))

    def hold(self, mu: float) -> None:
        """Keeps the factors of a damping, whatever is tried next, until another one is held."""
        self._held = mu

    def damping(self, length: float) -> float:
        """The mu whose step has this length, to 2 %; the least one where every step is shorter."""
        return self._search(self._measure, length) if self.largest else 1.0

    @cached_property
    def _search(self) -> LengthSearch:
        return LengthSearch(self.least, self._first * self.largest)

    def _measure(self, mu: float) -> tuple[float, float]:
        """The length of the step, and the slope of its logarithm over that of mu."""
        with self._threads():
            factor, n = self._factor(mu), self._A.n
            if self._kernel:
                d = factor.rotate(factor.solve(self._r, transpose=True))[:n]  # in an orthonormal basis of the rows of A
                left = factor.rotate(d, transpose=True)[n:]
            else:
                d = self.step(mu)
                left = mu**0.5 * factor.solve(d, transpose=True)
            length = norm(d)
            return length, -((norm(left) / length) ** 2) if length else 0.0

    def _factor(self, mu: float) -> DampedTriangle:
        factor = self._factors.pop(mu, None)
        if factor is None:
            while len(self._factors) >= _KEPT:
                del self._factors[next(old for old in self._factors if old != self._held)]
            factor = DampedTriangle(self._triangle[0], mu)
        self._factors[mu] = factor  # the last to go
        return factor

    def _threads(self) -> AbstractContextManager[None]:
        side = self._A.n if self._kernel else self._A.p
        return threads_for(of_factorization(self._r.new_empty(1, 1).expand(side, side)))

    @cached_property
    def _reflections(self) -> TallQR:
        """Of A, or A^T, whole."""
        A, places = self._A.matrix, None
        if self._shared:
            places = [distributed.span(self._A.p)] if self._kernel else self._A.places
            A = A[:, places[0]] if self._kernel else A
        with threads_for(of_factorization(A)):
            return TallQR(A.T, self._A.p, places) if self._kernel else TallQR(A, self._A.n, places)

    @cached_property
    def _triangle(self) -> tuple[Tensor, Tensor]:
        """R, (k, k), and Q^T r where A is in blocks of rows, else r."""
        A, r, block = self._A, self._r, self._block
        if block is None:
            return self._reflections.R, r
        with threads_for(of_factorization(r.new_empty(1, 1).expand(A.n, A.p))):
            if self._kernel:
                here, of = (distributed.rank(), distributed.world()) if self._shared else (0, 1)
                columns = (columns.T for i, columns in enumerate(A.column_blocks(block)) if i % of == here)
                return joint_triangle(triangle(columns, A.n, r), self._shared), r
            R = joint_triangle(triangle(self._rows_with_errors(block), A.p + 1, r), self._shared)
            return R[: A.p, : A.p], R[: A.p, A.p]

    def _lift(self, y: Tensor) -> Tensor:
        """Q y, (n,) -> (p,)."""
        return self._reflections.rotate(y[: self._A.p])

    def _rows_with_errors(self, block: int) -> Iterator[Tensor]:
        start, r = 0, self._A.own(self._r) if self._shared else self._r
        for rows in self._A.row_blocks(block):
            yield torch.cat([rows, r[start : start + len(rows)].unsqueeze(1)], 1)
            start += len(rows)
