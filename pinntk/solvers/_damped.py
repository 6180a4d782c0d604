"""min |A d + r|^2 + mu |d|^2 for every damping mu, from one factorization of A."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from math import log

import torch
from torch import Tensor

from pinntk._util.memory import parse_bytes, require
from pinntk._util.threads import of_factorization, threads_for
from pinntk.ntk._gram import add_product
from pinntk.solvers._jacobian import ScaledJacobian

FORMS = ("auto", "kernel", "parameters")
# Eigenvalues of A A^T and A^T A are good to 2e-16 of the largest one, so that a damping of this share of it keeps 3 digits of
# every step; singular values of A are good to 2e-16 of the largest one themselves, squared 5e-32.
SQUARED = 1e-12
_SMALLEST = 1e-34
_NULL = 1e-15  # eigenvalues of rank-deficient ones are up to 9e-16 of the largest in place of 0
_HALVINGS = 80  # of an interval of at most 200 in log mu


def check_form(form: str) -> None:
    """Raises ValueError for an unknown one."""
    if form not in FORMS:
        raise ValueError(f"form={form!r} is unknown; use one of {', '.join(FORMS)}")


@dataclass(frozen=True)
class _Spectrum:
    """(A^T A + mu I)^-1 A^T v, diagonal: lift(coordinates(v) / (squares + mu)).

    squares: eigenvalues of A^T A, (k,)
    c: coordinates(r), (k,)
    scale: |lift(x)| = |scale x|; a number or (k,)
    least: of mu, relative to the largest eigenvalue, that keeps its digits
    """

    squares: Tensor
    c: Tensor
    coordinates: Callable[[Tensor], Tensor]
    lift: Callable[[Tensor], Tensor]
    scale: Tensor | float
    least: float


class DampedLeastSquares:
    r"""d(mu) = -A^T (A A^T + mu I)^-1 r = -(A^T A + mu I)^-1 A^T r for any number of dampings mu.

    form: "kernel" (n x n), "parameters" (p x p), or "auto": the smaller one
    max_memory: beyond it A is never formed; then only the kernel form, from the factors, remains
    orthogonal: never square A, as is done while mu stays above 1e-12 of its largest eigenvalue

    While mu is large, S^2 and V (or U) come from the eigenvalues of A^T A (or A A^T), which hold half the digits of A. The
    first mu below brings a QR factorization of A (or A^T) and the singular values of its triangle, three times the time.
    Where A is not formed, no mu below `least` is answered.

    Raises ValueError for an unknown form, MemoryError beforehand where it does not fit.
    """

    def __init__(
        self,
        A: ScaledJacobian,
        r: Tensor,
        form: str = "auto",
        max_memory: int | str = "4GiB",
        orthogonal: bool = False,
    ):
        check_form(form)
        self._A, self._r = A, r
        self.form = form if form != "auto" else "kernel" if A.n < A.p else "parameters"
        side = A.n if self.form == "kernel" else A.p
        budget = parse_bytes(max_memory)
        needed = 3 * 8 * max(A.n * A.p, side**2)  # A or its square, and what the factorization copies
        self.explicit = needed <= budget
        if not self.explicit:
            needed = 3 * 8 * side**2
            if self.form == "parameters" or needed > budget:
                raise MemoryError(
                    f"{A.n} errors and {A.p} parameters need more than max_memory={max_memory!r}; give fewer points, "
                    "or more memory"
                )
        require(needed, f"the linear system of {A.n} errors and {A.p} parameters", "give fewer points", r.device)
        self._orthogonal = orthogonal and self.explicit

    @property
    def largest(self) -> float:
        """The largest eigenvalue of A^T A."""
        return float(self._spectrum().squares.max())

    @property
    def least(self) -> float:
        """The least damping that is answered."""
        return (_SMALLEST if self.explicit else self._squared.least) * self.largest

    def step(self, mu: float) -> Tensor:
        """d(mu), (p,). Raises ValueError for mu below `least`."""
        found = self._spectrum(mu)
        return -found.lift(found.c / (found.squares + mu))

    def apply(self, v: Tensor, mu: float) -> Tensor:
        """The step for other errors v, (n,) -> (p,): -(A^T A + mu I)^-1 A^T v."""
        found = self._spectrum(mu)
        return -found.lift(found.coordinates(v) / (found.squares + mu))

    def damping(self, length: float) -> float:
        """The mu whose step has this length; the least one where every step is shorter."""
        found = self._spectrum()
        mu = _damping(found, length)
        if mu < found.least * float(found.squares.max()) and self.explicit and not self._orthogonal:
            self._orthogonal = True
            mu = _damping(self._singular, length)
        return max(mu, self.least)

    def _spectrum(self, mu: float | None = None) -> _Spectrum:
        """The factors that are good for this damping; None: those at hand."""
        if not self._orthogonal and mu is not None and mu < self._squared.least * float(self._squared.squares.max()):
            if not self.explicit:
                raise ValueError(f"mu={mu:.1e}: at least {self.least:.1e}, or it drowns in the rounding of A A^T")
            self._orthogonal = True
        return self._singular if self._orthogonal else self._squared

    @cached_property
    def _squared(self) -> _Spectrum:
        A, r = self._A, self._r
        matrix = A.matrix if self.explicit else None
        if self.form == "kernel":
            K = A.kernel() if matrix is None else _gram(matrix)
            with threads_for(of_factorization(K)):
                squares, U = torch.linalg.eigh(K)
            squares[squares < _NULL * squares.max()] = 0  # r, unlike A^T r, may be large along them
            return _Spectrum(squares, U.T @ r, lambda v: U.T @ v, lambda x: A.rmatvec(U @ x), squares.sqrt(), SQUARED)
        M = _gram(A.matrix.T)
        with threads_for(of_factorization(M)):
            squares, V = torch.linalg.eigh(M)

        def coordinates(v: Tensor) -> Tensor:
            return V.T @ A.rmatvec(v)

        return _Spectrum(squares.clamp_min(0), coordinates(r), coordinates, lambda x: V @ x, 1.0, SQUARED)

    @cached_property
    def _singular(self) -> _Spectrum:
        A, r = self._A, self._r
        with threads_for(of_factorization(A.matrix)):
            if self.form == "kernel":
                Q, R = torch.linalg.qr(A.matrix.T)
                U, S, Vh = torch.linalg.svd(R.T, full_matrices=False)

                def by_errors(v: Tensor) -> Tensor:
                    return S * (U.T @ v)

                return _Spectrum(S.square(), by_errors(r), by_errors, lambda x: Q @ (Vh.T @ x), 1.0, _SMALLEST)
            p = A.p
            R = torch.linalg.qr(torch.cat([A.matrix, r.unsqueeze(1)], 1), mode="r").R  # r's column is Q^T r, without Q
            U, S, Vh = torch.linalg.svd(R[:p, :p], full_matrices=False)

        def by_gradient(v: Tensor) -> Tensor:
            return Vh @ A.rmatvec(v)

        return _Spectrum(S.square(), S * (U.T @ R[:p, p]), by_gradient, lambda x: Vh.T @ x, 1.0, _SMALLEST)


def _gram(rows: Tensor) -> Tensor:
    """rows rows^T."""
    M = rows.new_zeros(len(rows), len(rows))
    with threads_for(of_factorization(rows)):
        add_product(M, rows, rows, symmetric=True)
    return M.tril_().add_(M.tril(-1).T)


def _damping(spectrum: _Spectrum, length: float) -> float:
    """By bisection of log mu. |g| / length is above the answer: no step is longer than |g| / mu."""
    squares, g = spectrum.squares, spectrum.scale * spectrum.c
    largest, most = float(squares.max()) or 1.0, float(g.abs().max()) or 1.0
    squares, g, length = squares / largest, g / most, length * (largest / most)  # what is squared below stays in range
    low = squares.new_tensor(log(_SMALLEST))
    high = torch.maximum((g.norm() / length).log(), low)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        longer = (g / (squares + middle.exp())).norm() > length
        low, high = torch.where(longer, middle, low), torch.where(longer, high, middle)
    return float(high.exp()) * largest
