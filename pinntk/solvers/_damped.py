"""min |A d + r|^2 + mu |d|^2 for every damping mu, from one factorization of A."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from math import inf, log

import numpy as np
import torch
from torch import Tensor

from pinntk._util import distributed
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


def chosen_form(form: str, n: int, p: int) -> str:
    """The one that is meant, "kernel" or "parameters": of "auto" the smaller."""
    check_form(form)
    return form if form != "auto" else "kernel" if n < p else "parameters"


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

    Under torchrun the parameter form takes an A with `spread`, whose rows the processes share, and the kernel form one without.
    A^T A is summed over processes, A A^T shared by its rows, and R is that of their triangles. The first process finds
    eigenvalues for all.

    Raises ValueError for an unknown form, or one that A does not suit; MemoryError beforehand where it does not fit.
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
        self._A, self._r = A, r
        self.form = chosen_form(form, A.n, A.p)
        if A.spread and self.form == "kernel":
            raise ValueError("form='kernel' needs all rows of A in each process: make it with spread=False")
        self._shared = distributed.world() > 1 and (A.spread or self.form == "kernel")
        rows = -(-A.n // distributed.world()) if A.spread else A.n
        side, across = (A.n, A.p) if self.form == "kernel" else (A.p, rows)
        budget = parse_bytes(max_memory)
        if _COPIES * side**2 > budget:
            raise MemoryError(
                f"{A.n} errors and {A.p} parameters need more than max_memory={max_memory!r}; give fewer points, or more memory"
            )
        self.whole = _COPIES * side * across <= budget
        self._block = across if self.whole else max(side, budget // (_COPIES * side) - side)
        triangles = 2 * 8 * side**2 * distributed.world() if self._shared else 0
        with distributed.together(MemoryError):
            require(
                _COPIES * side * max(side, min(across, self._block + side)) + triangles,
                f"the linear system of {A.n} errors and {A.p} parameters",
                "give fewer points",
                r.device,
            )
        self._side = side
        self._orthogonal = OrthogonalSteps(A, r, self.form, None if self.whole else self._block, first, self._shared)
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
        d = self._good_for(mu).step(mu)
        distributed.same_everywhere([d])
        return d

    def apply(self, v: Tensor, mu: float) -> Tensor:
        """The step for other errors v, (n,) -> (p,): -(A^T A + mu I)^-1 A^T v."""
        d = self._good_for(mu).apply(v, mu)
        distributed.same_everywhere([d])
        return d

    def hold(self, mu: float) -> None:
        """Keeps what the steps of this damping need, while others are tried, until another one is held."""
        self._orthogonal.hold(mu)

    def damping(self, length: float) -> float:
        """The mu whose step has this length, where it is small to 2 %; the least one where every step is shorter."""
        mu = distributed.agreed(self._current.damping(length), self._r.device)
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
        large, direct = self._side >= _LARGE, self.whole and not self._shared
        M = self._normal_matrix() if self.form == "parameters" and not (large and direct) else None
        few = self._few_eigenpairs(M) if large else None
        if few is not None:
            return self._from_few(*few)
        if self.form == "kernel":
            squares, U = _eigenpairs(_gram([A.matrix], A.n, r) if direct else A.kernel())
            squares[squares < _NULL * squares.max()] = 0  # r, unlike A^T r, may be large along them
            return _Spectrum(squares, U.T @ r, lambda v: U.T @ v, lambda x: A.rmatvec(U @ x), squares.sqrt())
        squares, V = _eigenpairs(self._normal_matrix() if M is None else M)

        def coordinates(v: Tensor) -> Tensor:
            return V.T @ A.rmatvec(v)

        return _Spectrum(squares.clamp_min(0), coordinates(r), coordinates, lambda x: V @ x, 1.0)

    def _normal_matrix(self) -> Tensor:
        rows = [self._A.matrix] if self.whole else self._A.row_blocks(self._block)
        return normal_matrix(self._A, rows, self._r)

    def _few_eigenpairs(self, M: Tensor | None) -> tuple[Tensor, Tensor] | None:
        """Eigenvalues above rounding of A A^T or A^T A, and their eigenvectors; None where they are many.

        M: A^T A, where it was formed
        """
        A, most = self._A, self._side // _SHARE

        def few() -> tuple[Tensor, Tensor] | None:
            if M is not None:
                return leading_eigenpairs(M.diagonal(), lambda index: M[:, index], most)
            if self.whole and not self._shared:
                G = A.matrix if self.form == "kernel" else A.matrix.T
                return leading_eigenpairs(G.square().sum(1), lambda index: G @ G[index].T, most)
            return leading_eigenpairs(A.kernel_diagonal(), A.kernel_columns, most)

        with threads_for(of_factorization(self._r.new_empty(1, 1).expand(self._side, self._side))):
            found = distributed.tensors_of_first(few, self._r)
        return None if found is None else (found[0], found[1])

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


def normal_matrix(A: ScaledJacobian, rows: Iterable[Tensor], like: Tensor) -> Tensor:
    """A^T A, (p, p), from those rows of A, a block at a time, that this process has."""
    M = _gram((block.T for block in rows), A.p, like)
    return distributed.all_sum(M) if A.spread else M


def _gram(blocks: Iterable[Tensor], n: int, like: Tensor) -> Tensor:
    """The sum of B B^T over blocks B of columns, (n, n)."""
    M = like.new_zeros(n, n)
    for block in blocks:
        with threads_for(of_factorization(block)):
            add_product(M, block, block, symmetric=True)
    return M.tril_().add_(M.tril(-1).T)


def _eigenpairs(M: Tensor) -> tuple[Tensor, Tensor]:
    with threads_for(of_factorization(M)):
        found = distributed.tensors_of_first(lambda: tuple(torch.linalg.eigh(M)), M)
    assert found is not None
    return found[0], found[1]


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
