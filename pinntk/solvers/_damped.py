"""min |A d + r|^2 + mu |d|^2 for any number of dampings mu, from one factorization of A."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from pinntk._util.memory import parse_bytes, require
from pinntk._util.threads import of_factorization, threads_for
from pinntk._util.warn import warn_user
from pinntk.ntk._gram import add_product
from pinntk.solvers._jacobian import ScaledJacobian

FORMS = ("auto", "kernel", "parameters")
# A A^T and A^T A square the condition number: below this share of their trace, mu drowns in their rounding, and steps come
# from orthogonal factors of A itself. Above, refinement with A gives back the digits that Cholesky loses.
NORMAL = 1e-14
_CONTRACTION = 0.1  # of the refinement's correction against the step: beyond it Cholesky factors are not accurate enough


def check_form(form: str) -> None:
    """Raises ValueError for an unknown one."""
    if form not in FORMS:
        raise ValueError(f"form={form!r} is unknown; use one of {', '.join(FORMS)}")


@dataclass(frozen=True)
class DampedSolution:
    """The solution `step` for one mu, and `apply`: v -> -(A^T A + mu I)^-1 A^T v from the same factors."""

    mu: float
    step: Tensor
    apply: Callable[[Tensor], Tensor]


class DampedLeastSquares:
    r"""d(mu) = -A^T (A A^T + mu I)^-1 r = -(A^T A + mu I)^-1 A^T r.

    form: "kernel" (n x n), "parameters" (p x p), or "auto": the smaller one
    max_memory: beyond it A is never formed; then only the kernel form, from the factors, remains

    While mu is not lost in the rounding of A A^T, Cholesky factors of it (or of A^T A) serve, refined once with A itself
    (Bjorck 1987). Below, A = Q R once (or A^T = Q R), and every mu costs one QR factorization of [R; sqrt(mu) I],
    min(n, p) columns wide, 5 times the time: the condition number is never squared.
    """

    def __init__(self, A: ScaledJacobian, r: Tensor, form: str = "auto", max_memory: int | str = "4GiB"):
        check_form(form)
        budget = parse_bytes(max_memory)
        self._explicit = 3 * 8 * A.n * A.p <= budget  # A, and what its factorization copies
        if not self._explicit and (form == "parameters" or 3 * 8 * A.n**2 > budget):
            raise MemoryError(
                f"{A.n} errors and {A.p} parameters need more than max_memory={max_memory!r}; give fewer points, or "
                "matrix_free=True"
            )
        require(
            3 * 8 * A.n * (A.p if self._explicit else A.n),
            f"the linear system of {A.n} errors and {A.p} parameters",
            "give fewer points, or matrix_free=True",
            r.device,
        )
        self._A, self._r = A, r
        self.form = form if form != "auto" else "kernel" if A.n < A.p or not self._explicit else "parameters"

    def solve(self, mu: float) -> DampedSolution:
        if mu <= 0:
            raise ValueError(f"mu={mu}: a damping above 0")
        lowest = NORMAL * self._A.squared_norm
        if self._explicit:
            found = self._solve_by_cholesky(mu) if mu >= lowest else None
            return self._solve_by_qr(mu) if found is None else found
        found = self._solve_by_cholesky(max(mu, lowest))
        while found is None:
            lowest *= 10
            found = self._solve_by_cholesky(max(mu, lowest))
        if found.mu > mu:
            warn_user(f"damping {mu:.1e} drowns in the kernel's rounding; {found.mu:.1e} is used")
        return found

    def decrease(self, d: Tensor) -> float:
        """|r|^2 - |A d + r|^2, the decrease that the linear model predicts."""
        change = self._A.matvec(d)
        return float(-(change @ (2 * self._r + change)))

    @cached_property
    def _normal(self) -> Tensor:
        if self.form == "kernel":
            return self._A.kernel()
        columns = self._A.matrix.T
        M = columns.new_zeros(len(columns), len(columns))
        with threads_for(of_factorization(columns)):
            add_product(M, columns, columns, symmetric=True)
        return M.tril_().add_(M.tril(-1).T)

    @cached_property
    def _identity(self) -> Tensor:
        return torch.eye(len(self._normal), dtype=self._r.dtype, device=self._r.device)

    def _solve_by_cholesky(self, mu: float) -> DampedSolution | None:
        """By Cholesky factors and refinement; None where A^T A has too few digits for it."""
        with threads_for(of_factorization(self._normal)):
            L, info = torch.linalg.cholesky_ex(self._normal + mu * self._identity)
        if int(info):
            return None
        A = self._A

        def solve_normal(v: Tensor) -> Tensor:
            return torch.cholesky_solve(v.unsqueeze(1), L).squeeze(1)

        def both(v: Tensor) -> tuple[Tensor, Tensor]:
            """The solution in the form's own space, n or p numbers, and its correction."""
            if self.form == "kernel":
                y = solve_normal(v)
                return y, solve_normal(v - A.matvec(A.rmatvec(y)) - mu * y)
            d = -solve_normal(A.rmatvec(v))
            return d, -solve_normal(A.rmatvec(v + A.matvec(d)) + mu * d)

        def lift(x: Tensor) -> Tensor:
            return -A.rmatvec(x) if self.form == "kernel" else x

        x, correction = both(self._r)
        if self._explicit and not correction.norm() <= _CONTRACTION * x.norm():
            return None

        def apply(v: Tensor) -> Tensor:
            x, correction = both(v)
            return lift(x + correction)

        return DampedSolution(mu, lift(x + correction), apply)

    @cached_property
    def _square(self) -> tuple[Tensor, Tensor, Tensor | None]:
        """(M, c, Q): min |A d + r|^2 + mu |d|^2 is min |M y + c|^2 + mu |y|^2 with M square, d = Q y (Q None: d = y)."""
        A, r = self._A.matrix, self._r
        with threads_for(of_factorization(A)):
            if self.form == "kernel":
                Q, R = torch.linalg.qr(A.T)
                return R.T, r, Q
            R = torch.linalg.qr(torch.cat([A, r.unsqueeze(1)], 1), mode="r").R
        return R[: A.shape[1], : A.shape[1]], R[: A.shape[1], A.shape[1]], None

    def _solve_by_qr(self, mu: float) -> DampedSolution:
        M, c, Q = self._square
        k = M.shape[1]
        stacked = M.new_zeros(len(M) + k, k + 1)
        stacked[: len(M), :k], stacked[: len(M), k] = M, c
        stacked[len(M) :, :k].diagonal().fill_(mu**0.5)
        with threads_for(of_factorization(stacked)):
            T = torch.linalg.qr(stacked, mode="r").R
        T, z = T[:k, :k], T[:k, k:]

        def lift(y: Tensor) -> Tensor:
            return y.squeeze(1) if Q is None else (Q @ y).squeeze(1)

        def apply(v: Tensor) -> Tensor:
            gradient = self._A.rmatvec(v).unsqueeze(1)
            right = gradient if Q is None else Q.T @ gradient
            y = torch.linalg.solve_triangular(T.T, right, upper=False)
            return -lift(torch.linalg.solve_triangular(T, y, upper=True))

        return DampedSolution(mu, -lift(torch.linalg.solve_triangular(T, z, upper=True)), apply)
