"""Eigenpairs, linear solves and spectral densities of a symmetric positive semi-definite operator known by its products."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from pinntk._util.warn import warn_user

Product = Callable[[Tensor], Tensor]  # (n, k) -> (n, k)
Report = Callable[[int, float], None]  # iteration, worst relative residual so far
State = tuple[Tensor, Tensor, int, int]  # of block Lanczos before an iteration: Q, K Q, products, iterations done


class ConvergenceWarning(UserWarning):
    """An iteration ended at its limit; what it returned carries its residual."""


@dataclass(frozen=True)
class Eigenpairs:
    """values: (k,) descending; vectors: (n, k), orthonormal; residuals: (k,), the norms of K v - value v; products: columns
    that K was applied to.
    """

    values: Tensor
    vectors: Tensor
    residuals: Tensor
    products: int


def leading_eigenpairs(
    product: Product,
    like: Tensor,
    k: int,
    *,
    tolerance: float = 1e-8,
    block: int | None = None,
    iterations: int = 100,
    seed: int = 0,
    report: Report | None = None,
    begun: State | None = None,
    keep: Callable[[State], None] | None = None,
) -> Eigenpairs:
    """The k largest eigenvalues by block Lanczos with full reorthogonalization, Rayleigh-Ritz and thick restarts.

    like: (n,) tensor that gives size, dtype and device
    tolerance: on the residual norms, relative to the largest eigenvalue
    block: vectors per product, `block_of(k)` unless given
    begun, keep: a state to go on from, and what is told each iteration's

    The projected matrix is Q^T K Q itself, not the three-term recurrence's, every new block is orthogonalized twice against
    all others, and each residual is that of the pair returned: a spectrum that decays below rounding gives no ghosts.
    Warns ConvergenceWarning at the limit.
    """
    n = like.shape[0]
    k = min(k, n)
    block = min(n, block or block_of(k))
    most = columns_of(n, k, block)
    if begun is None:
        generator = torch.Generator().manual_seed(seed)
        Q = orthonormal_basis(torch.randn(n, block, generator=generator, dtype=torch.float64).to(like))
        begun = (Q, product(Q), Q.shape[1], 0)
    Q, KQ, products, done = begun
    for iteration in range(done, iterations):
        if keep is not None:
            keep((Q, KQ, products, iteration))
        values, Y = torch.linalg.eigh((Q.T @ KQ + KQ.T @ Q) / 2)
        values, Y = values.flip(0), Y.flip(1)
        QY, KQY = Q @ Y, KQ @ Y
        R = KQY - QY * values
        norms = R.norm(dim=0)
        largest = values[0].clamp_min(torch.finfo(like.dtype).tiny)
        converged = norms <= tolerance * largest
        worst = float((norms[:k] / largest).max())
        if report is not None:
            report(iteration, worst)
        if Q.shape[1] == n or (len(values) >= k and bool(converged[:k].all())):
            break
        # In a Krylov space the residuals of all Ritz pairs span the next block: first those of wanted, unconverged pairs,
        # then of unwanted ones; converged residuals are rounding.
        turn = torch.where(converged, 2, 0)
        turn[k:] = 1
        if most < n and Q.shape[1] + block > most:
            Q, KQ = QY[:, : most - 3 * block], KQY[:, : most - 3 * block]
        fresh = orthonormal_basis(R[:, turn.argsort(stable=True)[:block]], against=Q)
        if not fresh.shape[1]:
            break
        Q, KQ = torch.cat([Q, fresh], 1), torch.cat([KQ, product(fresh)], 1)
        products += fresh.shape[1]
    else:
        message = f"leading_eigenpairs: worst residual {worst:.1e} lambda_max after {iterations} iterations"
        warn_user(message, ConvergenceWarning)
    return Eigenpairs(values[:k], QY[:, :k], norms[:k], products)


def block_of(k: int) -> int:
    """Vectors in a product for k eigenpairs."""
    return min(k + 4, 32)


def columns_of(n: int, k: int, block: int) -> int:
    """The most columns of Q."""
    return min(n, max(k + 6 * block, 2 * k + 3 * block))


def orthonormal_basis(V: Tensor, against: Tensor | None = None) -> Tensor:
    """An orthonormal basis of what the columns of V (n, k) add to the orthonormal `against`; dependent ones are dropped."""
    eps = torch.finfo(V.dtype).eps
    for _ in range(2):  # once is not enough in floating point, twice is (Giraud, Langou & Rozloznik 2005)
        norms = V.norm(dim=0)
        V = V[:, norms > 0] / norms[norms > 0]
        if against is not None:
            V = V - against @ (against.T @ V)
        if not V.shape[1]:
            return V
        U, S, _ = torch.linalg.svd(V, full_matrices=False)
        V = U[:, max(V.shape) * eps * 10 < S]
    return V


@dataclass(frozen=True)
class Nystrom:
    """K restricted to the range of r random combinations of its columns: U diag(values) U^T, below K in the Loewner order.

    Frangella, Tropp & Udell 2023 (SIAM J. Matrix Anal. Appl. 44:718), algorithm 2.1, with their stabilizing shift.
    """

    U: Tensor
    values: Tensor

    @classmethod
    def of(cls, product: Product, like: Tensor, rank: int, seed: int = 0) -> Nystrom:
        n = like.shape[0]
        generator = torch.Generator().manual_seed(seed)
        omega = orthonormal_basis(torch.randn(n, min(rank, n), generator=generator, dtype=torch.float64).to(like))
        Y = product(omega)
        shift = n**0.5 * torch.finfo(like.dtype).eps * Y.norm()
        Y = Y + shift * omega
        core = omega.T @ Y
        L = torch.linalg.cholesky((core + core.T) / 2)
        B = torch.linalg.solve_triangular(L, Y.T, upper=False).T
        U, S, _ = torch.linalg.svd(B, full_matrices=False)
        return cls(U, (S**2 - shift).clamp_min(0))

    def preconditioner(self, damping: float) -> Product:
        """P^-1 of the Nystrom preconditioner for K + damping I: condition number near 1 where the spectrum has decayed to
        `damping` within the rank.
        """
        smallest = self.values[-1]
        scale = (smallest + damping) / (self.values + damping) - 1
        return lambda V: V + self.U @ (scale[:, None] * (self.U.T @ V))


@dataclass(frozen=True)
class Solution:
    """x: shaped like the right-hand side; residual: relative norm of b - (K + damping I) x; iterations done."""

    x: Tensor
    residual: float
    iterations: int


def conjugate_gradients(
    product: Product,
    rhs: Tensor,
    damping: float,
    *,
    preconditioner: Product | None = None,
    tolerance: float = 1e-8,
    iterations: int = 500,
    report: Report | None = None,
) -> Solution:
    """Solves (K + damping I) x = rhs, (n, k), all columns at once, each with its own step lengths. Warns ConvergenceWarning."""
    P = preconditioner or (lambda V: V)
    x, r = torch.zeros_like(rhs), rhs.clone()
    z = P(r)
    direction, rz = z, (r * z).sum(0)
    scale = rhs.norm(dim=0).clamp_min(torch.finfo(rhs.dtype).tiny)
    for iteration in range(1, iterations + 1):
        Kp = product(direction) + damping * direction
        curvature = (direction * Kp).sum(0)
        alpha = torch.where(curvature > 0, rz / curvature, 0)
        x = x + alpha * direction
        r = r - alpha * Kp
        worst = float((r.norm(dim=0) / scale).max())
        if report is not None:
            report(iteration, worst)
        if worst <= tolerance:
            break
        z = P(r)
        rz, before = (r * z).sum(0), rz
        direction = z + torch.where(before > 0, rz / before, 0) * direction
    else:
        message = f"solve: relative residual {worst:.1e} after {iterations} iterations; raise damping, rank or iterations"
        warn_user(message, ConvergenceWarning)
    true = rhs - product(x) - damping * x
    return Solution(x, float((true.norm(dim=0) / scale).max()), iteration)


def spectral_density(
    product: Product, like: Tensor, *, probes: int = 8, steps: int = 40, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Quadrature nodes and weights of the spectral density by stochastic Lanczos quadrature (Lin, Saad & Yang 2016).

    sum(weights f(nodes)) of each probe estimates Tr f(K) / n without bias. Returns (nodes, weights), each (probes, steps); all
    probes advance in one product per step, each fully reorthogonalized against its own past.
    """
    n = like.shape[0]
    steps = min(steps, n)
    generator = torch.Generator().manual_seed(seed)
    signs = torch.randint(0, 2, (n, probes), generator=generator).to(like) * 2 - 1
    basis = [signs / n**0.5]
    T = like.new_zeros(probes, steps, steps)
    for j in range(steps):
        w = product(basis[j])
        for _ in range(2):
            for i, q in enumerate(basis):
                overlap = (q * w).sum(0)
                if i == j:
                    T[:, j, j] += overlap
                w = w - q * overlap
        if j + 1 < steps:
            beta = w.norm(dim=0)
            T[:, j, j + 1] = T[:, j + 1, j] = beta
            basis.append(w / beta.clamp_min(torch.finfo(like.dtype).tiny))
    nodes, vectors = torch.linalg.eigh(T)
    return nodes, vectors[:, 0, :] ** 2
