"""K as an operator: products with K, J and J^T, and what is computed from them, without any (n, n) or (n, p) array."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator
from torch import Tensor, nn
from tqdm import tqdm

from pinntk._util import distributed
from pinntk._util.memory import parse_bytes
from pinntk._util.precision import without_autocast
from pinntk._util.threads import of_step, suited_to
from pinntk.ntk import _krylov as krylov
from pinntk.ntk._blocks import Weights, rates, rows_of
from pinntk.ntk._factored import Factors, Origin
from pinntk.ntk._factors import trained_parameters
from pinntk.ntk._krylov import Eigenpairs, Nystrom, Solution
from pinntk.ntk._store import CHUNK, FactorStore
from pinntk.ntk.graph import size_of
from pinntk.problem import Points, Problem
from pinntk.residuals import check_network

_PRODUCT_ENTRIES = 8_388_608  # of the temporaries of a product, [S, n, out, k]


class KernelOperator:
    """K = J J^T, or D^1/2 K D^1/2 if weights are given, as a linear operator on (n,) or (n, k) tensors.

    network, problem, points: as for `pinntk.kernel`
    weights: loss weights lambda_i by condition, or point weights (n_i,) as for `KernelBlocks.scaled`;
        D = blockdiag(2 lambda_i / n_i), and J becomes D^1/2 J
    dtype: of the products, float64 unless given; the network is evaluated in its own dtype
    max_memory: for factors kept between products ("2GiB" or bytes); chunks of points that do not fit are
        factored anew in every product
    chunk: points factored at a time
    progress: show bars in long computations when standard error is a terminal

    Under torchrun each rank factors its share of the points, vectors are the same on all ranks, and
    products are summed over ranks. The network must not change while the operator is in use. Rows are ordered by condition,
    as in `names` and `sizes`.
    Raises as `pinntk.kernel` does: NonFiniteError for rows of J that are not finite when a product first meets them.

    >>> import pinntk
    >>> problem = pinntk.load("poisson1d")
    >>> network = pinntk.nn.MLP(problem, width=8, depth=1)
    >>> points = problem.sample(residual=5, boundary=2, seed=0)
    >>> operator = pinntk.KernelOperator(network, problem, points)
    >>> v = torch.ones(7, dtype=torch.float64)
    >>> torch.allclose(operator @ v, pinntk.kernel(network, problem, points).matrix() @ v)
    True
    """

    @without_autocast
    def __init__(
        self,
        network: nn.Module,
        problem: Problem,
        points: Points,
        *,
        weights: Weights | None = None,
        dtype: torch.dtype = torch.float64,
        max_memory: int | str = "2GiB",
        chunk: int = CHUNK,
        progress: bool = False,
    ):
        points = problem.check(points)
        check_network(network, problem, points)
        if chunk < 1:
            raise ValueError(f"chunk={chunk}: at least 1 point")
        self._settings = {"dtype": dtype, "max_memory": max_memory, "chunk": chunk, "progress": progress}
        self._network, self._problem, self._points = network, problem, points
        self._work = of_step(network, problem, points)  # of a product with one vector
        self._weights, self._progress = None if weights is None else dict(weights), progress
        self.dtype = dtype
        self.names = tuple(points)
        self.sizes = tuple(len(points[name]) for name in self.names)
        self.parameter_sizes = {name: size_of(p) for name, p in trained_parameters(network, problem).items()}
        offsets = dict(zip(points, np.cumsum((0, *self.sizes)).tolist(), strict=False))
        firsts = {name: offsets[name] + distributed.span(len(rows)).start for name, rows in points.items()}
        self._store = FactorStore(network, problem, distributed.shard(points), parse_bytes(max_memory), chunk, firsts)
        self.device = next(iter(trained_parameters(network, problem).values())).device
        D = torch.ones(self.n) if weights is None else rates(weights, self.names, self.sizes)
        self._root = D.sqrt().unsqueeze(1).to(self.device, dtype)

    @property
    def n(self) -> int:
        return sum(self.sizes)

    @property
    def origins(self) -> Mapping[str, Origin]:
        """How J of each condition was obtained in the products so far: path, certificate, seconds."""
        return self._store.origins

    @property
    def p(self) -> int:
        return sum(self.parameter_sizes.values())

    @property
    def shape(self) -> tuple[int, int]:
        return (self.n, self.n)

    def select(self, *names: str) -> KernelOperator:
        """The operator of some conditions only: a diagonal block of K."""
        for name in names:
            self._span(name)
        chosen = {name: self._points[name] for name in self.names if name in names}
        weights = None if self._weights is None else {name: self._weights[name] for name in chosen}
        return KernelOperator(self._network, self._problem, chosen, weights=weights, **self._settings)

    # Products.

    def matvec(self, v: Tensor) -> Tensor:
        """K v for v (n,)."""
        return self.matmat(v.unsqueeze(1)).squeeze(1)

    def matmat(self, V: Tensor) -> Tensor:
        """K V for V (n, k)."""
        return self.jacobian(self.jacobian_transposed(V))

    def __matmul__(self, V: Tensor) -> Tensor:
        """K @ V for V (n,) or (n, k)."""
        return self.matvec(V) if V.ndim == 1 else self.matmat(V)

    @without_autocast
    @suited_to(lambda self, V: self._work * V.shape[1])
    def jacobian_transposed(self, V: Tensor) -> Tensor:
        """J^T V: (n, k) -> (p, k)."""
        V = self._given(V, self.n)
        total = torch.zeros(self.p, V.shape[1], dtype=self.dtype, device=self.device)
        for rows, scale, part in self._chunks():
            total += vjp(part, scale * V[rows])
        return distributed.all_sum(total)

    @without_autocast
    @suited_to(lambda self, W: self._work * W.shape[1])
    def jacobian(self, W: Tensor) -> Tensor:
        """J W: (p, k) -> (n, k)."""
        W = self._given(W, self.p)
        result = torch.zeros(self.n, W.shape[1], dtype=self.dtype, device=self.device)
        for rows, scale, part in self._chunks():
            result[rows] = scale * jvp(part, W)
        return distributed.all_sum(result)

    @without_autocast
    @suited_to(lambda self: self._work)
    def diagonal(self) -> Tensor:
        """The diagonal of K, (n,): where in the domain the kernel is large."""
        result = torch.zeros(self.n, dtype=torch.float64, device=self.device)
        for rows, scale, part in self._chunks():
            result[rows] = scale.squeeze(1) ** 2 * part.diagonal
        return distributed.all_sum(result)

    def trace(self, name: str | None = None) -> float:
        """The trace of K, or of one condition's block."""
        diagonal = self.diagonal()
        if name is None:
            return float(diagonal.sum())
        return float(diagonal[self._span(name)].sum())

    def _span(self, name: str) -> slice:
        return rows_of(name, self.names, self.sizes)

    def to_scipy(self) -> LinearOperator:
        """For scipy.sparse.linalg: products take and return numpy arrays in float64."""

        def product(v: np.ndarray) -> np.ndarray:
            columns = torch.from_numpy(np.ascontiguousarray(v)).reshape(self.n, -1).to(self.device, self.dtype)
            return self.matmat(columns).cpu().double().numpy().reshape(v.shape)

        return LinearOperator(self.shape, matvec=product, rmatvec=product, matmat=product, rmatmat=product, dtype=np.float64)

    # What products give.

    @without_autocast
    @suited_to(lambda self: self._work)
    def eigh(self, k: int = 10, *, tolerance: float = 1e-8, iterations: int = 100, seed: int = 0) -> Eigenpairs:
        """The k largest eigenvalues of K, descending, their eigenvectors (n, k) and residual norms.

        Block Lanczos with full reorthogonalisation (`krylov.leading_eigenpairs`), on J^T J where p < n: it has the same
        non-zero eigenvalues w, with eigenvectors J w / sqrt(w). Warns `krylov.NotConverged` at the limit of iterations.
        """
        if k < 1 or iterations < 1:
            raise ValueError(f"k={k}, iterations={iterations}: whole numbers of at least 1")
        bar, report = self._bar(f"{k} eigenpairs", iterations)
        with bar:
            if self.n <= self.p:
                return krylov.leading_eigenpairs(
                    self.matmat, self._zeros(self.n), k, tolerance=tolerance, iterations=iterations, seed=seed, report=report
                )
            small = krylov.leading_eigenpairs(
                self._normal, self._zeros(self.p), k, tolerance=tolerance, iterations=iterations, seed=seed, report=report
            )
            vectors = self.jacobian(small.vectors)
            norms = vectors.norm(dim=0)
            # K u - w u = J (J^T J v - w v) / |J v|; measured rather than bounded, since small w lose digits in J v.
            vectors = vectors / norms.clamp_min(torch.finfo(self.dtype).tiny)
            residuals = (self.matmat(vectors) - vectors * small.values).norm(dim=0)
            return Eigenpairs(small.values, vectors, residuals, small.products + vectors.shape[1])

    @without_autocast
    @suited_to(lambda self: self._work)
    def solve(
        self,
        rhs: Tensor,
        damping: float,
        *,
        rank: int = 100,
        tolerance: float = 1e-8,
        iterations: int = 500,
        seed: int = 0,
    ) -> Solution:
        """x with (K + damping I) x = rhs, (n,) or (n, k), by conjugate gradients with a Nystrom preconditioner of that rank
        (0 for none; Frangella, Tropp & Udell 2023)."""
        if damping <= 0:
            raise ValueError(f"damping={damping}: above 0, for K is numerically singular")
        if rhs.shape[:1] != (self.n,) or rhs.ndim > 2:
            raise ValueError(f"rhs has shape {tuple(rhs.shape)}; expected ({self.n},) or ({self.n}, k)")
        columns = self._given(rhs.reshape(self.n, -1), self.n)
        preconditioner = None
        if rank:
            preconditioner = Nystrom.of(self.matmat, self._zeros(self.n), rank, seed).preconditioner(damping)
        bar, report = self._bar("conjugate gradients", iterations)
        with bar:
            found = krylov.conjugate_gradients(
                self.matmat,
                columns,
                damping,
                preconditioner=preconditioner,
                tolerance=tolerance,
                iterations=iterations,
                report=report,
            )
        return Solution(found.x.reshape(rhs.shape), found.residual, found.iterations)

    @without_autocast
    @suited_to(lambda self: self._work)
    def spectral_density(self, *, probes: int = 8, steps: int = 40, seed: int = 0) -> tuple[Tensor, Tensor]:
        """Nodes and weights whose sum(weights f(nodes)) estimates Tr f(K) / n (stochastic Lanczos quadrature)."""
        return krylov.spectral_density(self.matmat, self._zeros(self.n), probes=probes, steps=steps, seed=seed)

    @suited_to(lambda self, W: self._work * W.shape[1])
    def _normal(self, W: Tensor) -> Tensor:
        """J^T J W, each chunk factored once."""
        total = torch.zeros_like(W)
        for _, scale, part in self._chunks():
            total += vjp(part, scale**2 * jvp(part, W))
        return distributed.all_sum(total)

    # Chunks.

    def _chunks(self) -> Iterator[tuple[slice, Tensor, Factors]]:
        """(rows of K, square root of D there (rows, 1), J of these rows), chunk by chunk."""
        for chunk, part in self._store:
            yield chunk.rows, self._root[chunk.rows], part

    def _given(self, V: Tensor, rows: int) -> Tensor:
        if V.ndim != 2 or V.shape[0] != rows:
            raise ValueError(f"an operand of shape {tuple(V.shape)}; expected ({rows}, k)")
        return V.to(self.device, self.dtype)

    def _zeros(self, size: int) -> Tensor:
        return torch.zeros(size, dtype=self.dtype, device=self.device)

    def _bar(self, label: str, total: int) -> tuple[tqdm, krylov.Report]:
        bar = tqdm(desc=label, total=total, disable=None if self._progress else True, leave=False)

        def report(_: int, worst: float) -> None:
            bar.set_postfix_str(f"residual {worst:.1e}", refresh=False)
            bar.update()

        return bar, report

    def __repr__(self) -> str:
        sizes = ", ".join(f"{name}: {n}" for name, n in zip(self.names, self.sizes, strict=True))
        return f"KernelOperator({sizes}; p = {self.p}, {self.dtype}, {self.device})"


def vjp(part: Factors, V: Tensor) -> Tensor:
    """J^T V, (n, k) -> (p, k), in V's dtype."""
    k = V.shape[1]
    columns = []
    for name, size in part.sizes.items():
        if name in part.rows:
            columns.append(part.rows[name].to(V.dtype).T @ V)
        elif name in part.outers:
            outer = part.outers[name]
            total = torch.zeros(k * outer.B.shape[2], outer.A.shape[2], dtype=V.dtype, device=V.device)
            for A, B, rows in _pieces(outer.A, outer.B, k):
                weighted = (B.to(V.dtype).unsqueeze(2) * V[rows].unsqueeze(-1)).flatten(2).flatten(0, 1)  # [S n, k out]
                total.addmm_(weighted.T, A.to(V.dtype).flatten(0, 1))
            total = total.view(k, outer.B.shape[2], outer.A.shape[2])
            columns.append((total.transpose(1, 2) if outer.transposed else total).reshape(k, size).T)
        else:
            columns.append(V.new_zeros(size, k))
    return torch.cat(columns)


def jvp(part: Factors, W: Tensor) -> Tensor:
    """J W, (p, k) -> (n, k), in W's dtype."""
    k = W.shape[1]
    result = W.new_zeros(part.n, k)
    for name, block in zip(part.sizes, W.split(list(part.sizes.values())), strict=True):
        if name in part.rows:
            result.addmm_(part.rows[name].to(W.dtype), block)
        elif name in part.outers:
            outer = part.outers[name]
            width_in, width_out = outer.A.shape[2], outer.B.shape[2]
            if outer.transposed:
                weights = block.view(width_in, width_out, k).transpose(1, 2)
            else:
                weights = block.view(width_out, width_in, k).permute(1, 2, 0)
            weights = weights.reshape(width_in, k * width_out)
            for A, B, rows in _pieces(outer.A, outer.B, k):
                moved = (A.to(W.dtype).flatten(0, 1) @ weights).view(*A.shape[:2], k, width_out)
                result[rows] += torch.einsum("snko,sno->nk", moved, B.to(W.dtype))
    return result


def _pieces(A: Tensor, B: Tensor, k: int) -> Iterator[tuple[Tensor, Tensor, slice]]:
    """Points in pieces whose temporaries [S, n, k, out] stay bounded."""
    step = max(1, _PRODUCT_ENTRIES // (k * len(B) * B.shape[2]))
    for start in range(0, A.shape[1], step):
        rows = slice(start, start + step)
        yield A[:, rows], B[:, rows], rows
