"""min |A d + r|^2 + mu |d|^2 for every damping mu, from one factorization of A."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from math import log

import torch
from torch import Tensor

from pinntk._util.memory import parse_bytes, require
from pinntk._util.threads import of_factorization, threads_for
from pinntk.ntk._gram import add_product
from pinntk.solvers._jacobian import ScaledJacobian
from pinntk.solvers._low_rank import leading_eigenpairs

FORMS = ("auto", "kernel", "parameters")
# Eigenvalues of A A^T and A^T A are good to 2e-16 of the largest one, so that a damping of this share of it keeps 3 digits of
# every step; singular values of A are good to 2e-16 of the largest one themselves, squared 5e-32. A^T u / s, where that
# stands for a singular vector of A, is good to 2e-16 of the largest one over s: three digits at 2e-13.
SQUARED = 1e-12
_BY_TRANSPOSE = 4e-26
_SMALLEST = 1e-34
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
    max_memory: of the dense matrices; where it does not hold A, (n, p), that is formed and factored in blocks, so that the
        smaller of (n, n) and (p, p) has to fit
    orthogonal: never square A, as is done while mu stays above 1e-12 of its largest eigenvalue

    While mu is large, S^2 and V (or U) come from the eigenvalues of A^T A (or A A^T), which hold half the digits of A; where
    it has 2,000 rows or more, and at most a third of its eigenvalues are above rounding, from some of its columns. The
    first mu below brings a QR factorization of A (or A^T) and the singular values of its triangle, three times the time.
    `least` says below which mu is not answered: 1e-34 of that eigenvalue, 4e-26 in the kernel form of an A in blocks.

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
        self._orthogonal, self._side = orthogonal, side

    @property
    def largest(self) -> float:
        """The largest eigenvalue of A^T A."""
        return float(self._spectrum().squares.max())

    @property
    def least(self) -> float:
        """The least damping that is answered."""
        return (_SMALLEST if self.whole else _BY_TRANSPOSE) * self.largest

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
        if mu < found.least * float(found.squares.max()) and not self._orthogonal:
            self._orthogonal = True
            mu = _damping(self._singular, length)
        return max(mu, self.least)

    def _spectrum(self, mu: float | None = None) -> _Spectrum:
        """The factors that are good for this damping; None: those at hand."""
        if not self._orthogonal and mu is not None and mu < self._squared.least * float(self._squared.squares.max()):
            self._orthogonal = True
        found = self._singular if self._orthogonal else self._squared
        if mu is not None and mu < 0.999 * found.least * float(found.squares.max()):
            raise ValueError(f"mu={mu:.1e}: at least {self.least:.1e}, or it drowns in rounding")
        return found

    @cached_property
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
            return _Spectrum(squares, U.T @ r, lambda v: U.T @ v, lambda x: A.rmatvec(U @ x), squares.sqrt(), SQUARED)
        M = _gram(block.T for block in self._rows())
        with threads_for(of_factorization(M)):
            squares, V = torch.linalg.eigh(M)

        def coordinates(v: Tensor) -> Tensor:
            return V.T @ A.rmatvec(v)

        return _Spectrum(squares.clamp_min(0), coordinates(r), coordinates, lambda x: V @ x, 1.0, SQUARED)

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
            return _Spectrum(all_squares, split(r), split, lambda x: A.rmatvec(joined(x)), scale, SQUARED)
        return _Spectrum(all_squares, split(A.rmatvec(r)), lambda v: split(A.rmatvec(v)), joined, 1.0, SQUARED)

    def _rows(self) -> Iterable[Tensor]:
        return [self._A.matrix] if self.whole else self._A.row_blocks(self._block)

    @cached_property
    def _singular(self) -> _Spectrum:
        with threads_for(of_factorization(self._r.new_empty(1, 1).expand(self._A.n, self._A.p))):
            return self._singular_values_of_transpose() if self.form == "kernel" else self._singular_values()

    def _singular_values_of_transpose(self) -> _Spectrum:
        A, r = self._A, self._r
        if self.whole:
            Q, R = torch.linalg.qr(A.matrix.T)
        else:
            Q, R = None, _triangle(block.T for block in A.column_blocks(self._block))
        U, S, Vh = torch.linalg.svd(R.T, full_matrices=False)

        def by_errors(v: Tensor) -> Tensor:
            return S * (U.T @ v)

        def lift(x: Tensor) -> Tensor:
            return A.rmatvec(U @ torch.where(S > 0, x / S, 0)) if Q is None else Q @ (Vh.T @ x)

        return _Spectrum(S.square(), by_errors(r), by_errors, lift, 1.0, _BY_TRANSPOSE if Q is None else _SMALLEST)

    def _singular_values(self) -> _Spectrum:
        A, r, p = self._A, self._r, self._A.p
        if self.whole:
            reflectors, tau = torch.geqrf(A.matrix)
            R = reflectors[:p].triu()

            def rotated(v: Tensor) -> Tensor:
                """Q^T v."""
                return torch.ormqr(reflectors[:, : len(tau)], tau, v.unsqueeze(1), transpose=True)[:p, 0]

            U, S, Vh = torch.linalg.svd(R, full_matrices=False)

            def by_errors(v: Tensor) -> Tensor:
                return S * (U.T @ rotated(v))

            return _Spectrum(S.square(), by_errors(r), by_errors, lambda x: Vh.T @ x, 1.0, _SMALLEST)
        # The column of r becomes Q^T r, without Q.
        R = _triangle(torch.cat([rows, r.unsqueeze(1)], 1) for rows, r in self._rows_with_errors())
        U, S, Vh = torch.linalg.svd(R[:p, :p], full_matrices=False)

        def by_gradient(v: Tensor) -> Tensor:
            return Vh @ A.rmatvec(v)

        return _Spectrum(S.square(), S * (U.T @ R[:p, p]), by_gradient, lambda x: Vh.T @ x, 1.0, _BY_TRANSPOSE)

    def _rows_with_errors(self) -> Iterator[tuple[Tensor, Tensor]]:
        start = 0
        for rows in self._rows():
            yield rows, self._r[start : start + len(rows)]
            start += len(rows)


def _gram(blocks: Iterable[Tensor]) -> Tensor:
    """The sum of B B^T over blocks B of columns."""
    M = None
    for block in blocks:
        M = block.new_zeros(len(block), len(block)) if M is None else M
        with threads_for(of_factorization(block)):
            add_product(M, block, block, symmetric=True)
    assert M is not None
    return M.tril_().add_(M.tril(-1).T)


def _triangle(blocks: Iterable[Tensor]) -> Tensor:
    """R of the QR factorization of blocks of rows one under the other."""
    R = None
    for block in blocks:
        R = torch.linalg.qr(block if R is None else torch.cat([R, block]), mode="r").R
    assert R is not None
    return R


def _damping(spectrum: _Spectrum, length: float) -> float:
    """By bisection of log mu. |g| / length is above the answer: no step is longer than |g| / mu."""
    squares, g = spectrum.squares.cpu(), (spectrum.scale * spectrum.c).cpu()  # on a device the loop would be all launches
    largest, most = float(squares.max()) or 1.0, float(g.abs().max()) or 1.0
    squares, g, length = squares / largest, g / most, length * (largest / most)  # what is squared below stays in range
    low = squares.new_tensor(log(_SMALLEST))
    high = torch.maximum((g.norm() / length).log(), low)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        longer = (g / (squares + middle.exp())).norm() > length
        low, high = torch.where(longer, middle, low), torch.where(longer, high, middle)
    return float(high.exp()) * largest
