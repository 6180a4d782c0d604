"""min |A d + r|^2 + mu |d|^2 for every damping mu, from one factorization of A."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from math import inf, log

import numpy as np
import torch
from torch import Tensor

from pinntk._util.memory import parse_bytes, require
from pinntk._util.threads import of_factorization, threads_for
from pinntk.ntk._gram import add_product
from pinntk.solvers._jacobian import ScaledJacobian
from pinntk.solvers._low_rank import leading_eigenpairs
from pinntk.solvers._orthogonal import SMALLEST, OrthogonalSteps

FORMS = ("auto", "kernel", "parameters")
# Eigenvalues of A A^T and A^T A are good to 2e-16 of the largest one, so that a damping of this share of it keeps 3 digits of
# every step.
SQUARED = 1e-12
_COPIES = 3 * 8  # bytes of a float64 number, and of what factorizations copy
_NULL = 1e-15  # eigenvalues of rank-deficient ones are up to 9e-16 of the largest in place of 0
_LARGE = 2000  # errors or parameters, whichever are fewer: from there on a few columns of A A^T or A^T A are tried first
_SHARE = 3  # part of all eigenvalues, up to which they are found from columns
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
    """

    squares: Tensor
    c: Tensor
    coordinates: Callable[[Tensor], Tensor]
    lift: Callable[[Tensor], Tensor]
    scale: Tensor | float

    @cached_property
    def largest(self) -> float:
        return float(self.squares.max())

    @property
    def least(self) -> float:
        return SQUARED * self.largest

    def step(self, mu: float) -> Tensor:
        return -self.lift(self.c / (self.squares + mu))

    def apply(self, v: Tensor, mu: float) -> Tensor:
        return -self.lift(self.coordinates(v) / (self.squares + mu))

    def damping(self, length: float) -> float:
        return _damping(self, length)


class DampedLeastSquares:
    r"""d(mu) = -A^T (A A^T + mu I)^-1 r = -(A^T A + mu I)^-1 A^T r for any number of dampings mu.

    form: "kernel" (n x n), "parameters" (p x p), or "auto": the smaller one
    max_memory: of the dense matrices; where it does not hold A, (n, p), that is formed and factored in blocks, so that the
        smaller of (n, n) and (p, p) has to fit
    orthogonal: never square A, as is done while mu stays above 1e-12 of its largest eigenvalue
    first: where a search for a small mu begins, relative to the largest eigenvalue: the last one

    While mu is large, the eigenvalues of A^T A (or A A^T) serve for all of them, with half the digits of A; where
    it has 2,000 rows or more, and at most a third of its eigenvalues are above rounding, from some of its columns. The
    first mu below brings a QR factorization of A (or A^T), and each mu one of its triangle over sqrt(mu) I.
    `least` says below which mu is not answered: 1e-34 of that eigenvalue, 4e-26 where A is in blocks.

    Raises ValueError for an unknown form, MemoryError beforehand where it does not fit.
    """

    def __init__(
        self,
        A: ScaledJacobian,
        r: Tensor,
        form: str = "auto",
        max_memory: int | str = "4GiB",
        orthogonal: bool = False,
        first: float = SQUARED,
    ):
        check_form(form)
        self._A, self._r = A, r
        self.form = form if form != "auto" else "kernel" if A.n < A.p else "parameters"
        side, across = (A.n, A.p) if self.form == "kernel" else (A.p, A.n)
        budget = parse_bytes(max_memory)
        if _COPIES * side**2 > budget:
            raise MemoryError(
                f"{A.n} errors and {A.p} parameters need more than max_memory={max_memory!r}; give fewer points, or more memory"
            )
        self.whole = _COPIES * side * across <= budget
        self._block = across if self.whole else max(side, budget // (_COPIES * side) - side)
        require(
            _COPIES * side * max(side, min(across, self._block + side)),
            f"the linear system of {A.n} errors and {A.p} parameters",
            "give fewer points",
            r.device,
        )
        self._side = side
        self._orthogonal = OrthogonalSteps(A, r, self.form, None if self.whole else self._block, first)
        self._in_use: _Spectrum | OrthogonalSteps | None = self._orthogonal if orthogonal else None

    @property
    def largest(self) -> float:
        """The largest eigenvalue of A^T A."""
        return self._current.largest

    @property
    def least(self) -> float:
        """The least damping that is answered."""
        return self._orthogonal.least_share * self.largest

    def step(self, mu: float) -> Tensor:
        """d(mu), (p,). Raises ValueError for mu below `least`."""
        return self._good_for(mu).step(mu)

    def apply(self, v: Tensor, mu: float) -> Tensor:
        """The step for other errors v, (n,) -> (p,): -(A^T A + mu I)^-1 A^T v."""
        return self._good_for(mu).apply(v, mu)

    def damping(self, length: float) -> float:
        """The mu whose step has this length, where it is small to 2 %; the least one where every step is shorter."""
        mu = self._current.damping(length)
        if mu < self._current.least:
            self._in_use = self._orthogonal
            mu = self._orthogonal.damping(length)
        return max(mu, self.least)

    @property
    def _current(self) -> _Spectrum | OrthogonalSteps:
        if self._in_use is None:
            self._in_use = self._squared()
        return self._in_use

    def _good_for(self, mu: float) -> _Spectrum | OrthogonalSteps:
        """The factors that keep the digits of this damping."""
        if mu < 0.999 * self._current.least:
            self._in_use = self._orthogonal
        if mu < 0.999 * self.least:
            raise ValueError(f"mu={mu:.1e}: at least {self.least:.1e}, or it drowns in rounding")
        return self._current

    def _squared(self) -> _Spectrum:
        A, r = self._A, self._r
        few = self._few_eigenpairs() if self._side >= _LARGE else None
        if few is not None:
            return self._from_few(*few)
        if self.form == "kernel":
            K = _gram([A.matrix]) if self.whole else A.kernel()
            with threads_for(of_factorization(K)):
                squares, U = torch.linalg.eigh(K)
            squares[squares < _NULL * squares.max()] = 0  # r, unlike A^T r, may be large along them
            return _Spectrum(squares, U.T @ r, lambda v: U.T @ v, lambda x: A.rmatvec(U @ x), squares.sqrt())
        M = _gram(block.T for block in self._rows())
        with threads_for(of_factorization(M)):
            squares, V = torch.linalg.eigh(M)

        def coordinates(v: Tensor) -> Tensor:
            return V.T @ A.rmatvec(v)

        return _Spectrum(squares.clamp_min(0), coordinates(r), coordinates, lambda x: V @ x, 1.0)

    def _few_eigenpairs(self) -> tuple[Tensor, Tensor] | None:
        """Eigenvalues above rounding of A A^T or A^T A, and their eigenvectors; None where they are many."""
        A, most = self._A, self._side // _SHARE
        with threads_for(of_factorization(self._r.new_empty(1, 1).expand(self._side, self._side))):
            if self.whole:
                G = A.matrix if self.form == "kernel" else A.matrix.T
                return leading_eigenpairs(G.square().sum(1), lambda index: G @ G[index].T, most)
            if self.form == "kernel":
                return leading_eigenpairs(A.kernel_diagonal(), A.kernel_columns, most)
            M = _gram(block.T for block in self._rows())
            return leading_eigenpairs(M.diagonal(), lambda index: M[:, index], most)

    def _from_few(self, squares: Tensor, V: Tensor) -> _Spectrum:
        """What is perpendicular to all columns of V has the eigenvalue 0, to rounding."""
        A, r, k, zeros = self._A, self._r, len(squares), squares.new_zeros(len(V))

        def split(v: Tensor) -> Tensor:
            along = V.T @ v
            return torch.cat([along, v - V @ along])

        def joined(x: Tensor) -> Tensor:
            return V @ x[:k] + x[k:]

        all_squares = torch.cat([squares, zeros])
        if self.form == "kernel":
            scale = all_squares.sqrt()
            return _Spectrum(all_squares, split(r), split, lambda x: A.rmatvec(joined(x)), scale)
        return _Spectrum(all_squares, split(A.rmatvec(r)), lambda v: split(A.rmatvec(v)), joined, 1.0)

    def _rows(self) -> Iterable[Tensor]:
        return [self._A.matrix] if self.whole else self._A.row_blocks(self._block)


def _gram(blocks: Iterable[Tensor]) -> Tensor:
    """The sum of B B^T over blocks B of columns."""
    M = None
    for block in blocks:
        M = block.new_zeros(len(block), len(block)) if M is None else M
        with threads_for(of_factorization(block)):
            add_product(M, block, block, symmetric=True)
    assert M is not None
    return M.tril_().add_(M.tril(-1).T)


def _damping(spectrum: _Spectrum, length: float) -> float:
    """By bisection of log mu. |g| / length is above the answer: no step is longer than |g| / mu."""
    squares = spectrum.squares.detach().cpu().numpy()  # whose calls cost a fifth of torch's, more than what they compute
    g = (spectrum.scale * spectrum.c).detach().cpu().numpy()
    largest, most = float(squares.max()) or 1.0, float(np.abs(g).max()) or 1.0
    squares, g, length = squares / largest, g / most, length * (largest / most)  # what is squared below stays in range
    low = log(SMALLEST)
    high = log(max(float(np.linalg.norm(g)) / length, SMALLEST)) if length > 0 else inf
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if np.linalg.norm(g / (squares + np.exp(middle))) > length:
            low = middle
        else:
            high = middle
    return float(np.exp(high)) * largest
