"""K as an operator: products with it, and what is computed from them, without any (n, n) or (n, p) array."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypedDict

import numpy as np
import scipy
import torch
from torch import Tensor, nn

from pinntk._util.precision import without_autocast
from pinntk._util.progress import Progress, short
from pinntk._util.threads import of_step, with_threads_for
from pinntk.ntk import _krylov as krylov
from pinntk.ntk._blocks import Weights, rows_of, sizes_text
from pinntk.ntk._factored import Origin
from pinntk.ntk._jacobian import JacobianOperator
from pinntk.ntk._krylov import Eigenpairs, Nystrom, Solution
from pinntk.ntk._store import CHUNK
from pinntk.problem import Points, Problem


class _Settings(TypedDict):
    dtype: torch.dtype
    max_memory: int | str
    chunk: int


class KernelOperator:
    """K = J J^T, or D^1/2 K D^1/2 if weights are given, as a linear operator on (n,) or (n, k) tensors.

    network, problem, points: as for `pinntk.kernel`
    weights: loss weights lambda_i by condition, or point weights (n_i,) as for `KernelBlocks.matrix`;
        D = blockdiag(2 lambda_i / n_i), and J becomes D^1/2 J
    dtype: of the products, float64 unless given; the network is evaluated in its own dtype
    max_memory: for factors kept between products ("2GiB" or bytes); chunks of points that do not fit are
        factored anew in every product
    chunk: points factored at a time
    progress: show bars in long computations when standard error is a terminal

    `jacobian` is the `JacobianOperator`, for products with J and its transpose. Under torchrun each rank factors its share of
    the points, vectors are the same on all ranks, and products are summed over ranks. The network must not change while the
    operator is in use. Rows are ordered by condition, as in `names` and `sizes`.
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
        self._settings: _Settings = {"dtype": dtype, "max_memory": max_memory, "chunk": chunk}
        self.jacobian = JacobianOperator(network, problem, points, weights=weights, **self._settings)
        self._network, self._problem, self._points = network, problem, problem.check(points)
        self._work = of_step(network, problem, self._points)  # of a product with one vector
        self._weights, self._progress = None if weights is None else dict(weights), progress
        self.dtype, self.device = dtype, self.jacobian.device
        self.names, self.sizes = self.jacobian.names, self.jacobian.sizes

    @property
    def n(self) -> int:
        return self.jacobian.shape[0]

    @property
    def origins(self) -> Mapping[str, Origin]:
        """How J of each condition was obtained in the products so far: path, certificate, seconds."""
        return self.jacobian.origins

    @property
    def p(self) -> int:
        return self.jacobian.shape[1]

    @property
    def shape(self) -> tuple[int, int]:
        return (self.n, self.n)

    def select(self, *names: str) -> KernelOperator:
        """The operator of some conditions only: a diagonal block of K."""
        for name in names:
            self._span(name)
        chosen = {name: self._points[name] for name in self.names if name in names}
        weights = None if self._weights is None else {name: self._weights[name] for name in chosen}
        settings = self._settings
        return KernelOperator(self._network, self._problem, chosen, weights=weights, progress=self._progress, **settings)

    # Products.

    def matvec(self, v: Tensor) -> Tensor:
        """K v for v (n,)."""
        return self.matmat(v.unsqueeze(1)).squeeze(1)

    def matmat(self, V: Tensor) -> Tensor:
        """K V for V (n, k)."""
        return self.jacobian.matmat(self.jacobian.rmatmat(V))

    def __matmul__(self, V: Tensor) -> Tensor:
        """K @ V for V (n,) or (n, k)."""
        return self.matvec(V) if V.ndim == 1 else self.matmat(V)

    def diagonal(self) -> Tensor:
        """The diagonal of K, (n,): where in the domain the kernel is large."""
        return self.jacobian.squared_row_norms()

    def trace(self, name: str | None = None) -> float:
        """The trace of K, or of one condition's block."""
        diagonal = self.diagonal()
        if name is None:
            return float(diagonal.sum())
        return float(diagonal[self._span(name)].sum())

    def _span(self, name: str) -> slice:
        return rows_of(name, self.names, self.sizes)

    def to_scipy(self) -> scipy.sparse.linalg.LinearOperator:
        """For scipy.sparse.linalg: products take and return numpy arrays in float64."""

        def product(v: np.ndarray) -> np.ndarray:
            columns = torch.from_numpy(np.ascontiguousarray(v)).reshape(self.n, -1).to(self.device, self.dtype)
            return self.matmat(columns).cpu().double().numpy().reshape(v.shape)

        return scipy.sparse.linalg.LinearOperator(
            self.shape, matvec=product, rmatvec=product, matmat=product, rmatmat=product, dtype=np.float64
        )

    # What products give.

    @without_autocast
    @with_threads_for(lambda self: self._work)
    def eigh(self, k: int = 10, *, tolerance: float = 1e-8, iterations: int = 100, seed: int = 0) -> Eigenpairs:
        """The k largest eigenvalues of K, descending, their eigenvectors (n, k) and residual norms.

        Block Lanczos with full reorthogonalization (`krylov.leading_eigenpairs`), on J^T J where p < n: it has the same
        non-zero eigenvalues w, with eigenvectors J w / sqrt(w). Warns `krylov.ConvergenceWarning` at the limit of iterations.
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
                self.jacobian.normal_matmat,
                self._zeros(self.p),
                k,
                tolerance=tolerance,
                iterations=iterations,
                seed=seed,
                report=report,
            )
            vectors = self.jacobian.matmat(small.vectors)
            norms = vectors.norm(dim=0)
            # K u - w u = J (J^T J v - w v) / |J v|; measured rather than bounded, since small w lose digits in J v.
            vectors = vectors / norms.clamp_min(torch.finfo(self.dtype).tiny)
            residuals = (self.matmat(vectors) - vectors * small.values).norm(dim=0)
            return Eigenpairs(small.values, vectors, residuals, small.products + vectors.shape[1])

    @without_autocast
    @with_threads_for(lambda self: self._work)
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
        (0 for none; Frangella, Tropp & Udell 2023).
        """
        if damping <= 0:
            raise ValueError(f"damping={damping}: above 0, for K is numerically singular")
        if rhs.shape[:1] != (self.n,) or rhs.ndim > 2:
            raise ValueError(f"rhs has shape {tuple(rhs.shape)}; expected ({self.n},) or ({self.n}, k)")
        columns = rhs.reshape(self.n, -1).to(self.device, self.dtype)
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
    @with_threads_for(lambda self: self._work)
    def spectral_density(self, *, probes: int = 8, steps: int = 40, seed: int = 0) -> tuple[Tensor, Tensor]:
        """Nodes and weights whose sum(weights f(nodes)) estimates Tr f(K) / n (stochastic Lanczos quadrature)."""
        nodes, weights = krylov.spectral_density(self.matmat, self._zeros(self.n), probes=probes, steps=steps, seed=seed)
        return nodes.flatten(), weights.flatten() / probes

    @without_autocast
    @with_threads_for(lambda self: self._work)
    def trace_of(
        self, function: Callable[[Tensor], Tensor], *, probes: int = 16, steps: int = 40, seed: int = 0
    ) -> tuple[float, float]:
        """Tr f(K), the sum of f over all eigenvalues, and its standard error, by stochastic Lanczos quadrature: an unbiased
        estimate from each of `probes` random vectors, and what their scatter says of their mean.

        function: f of eigenvalues, on tensors, such as `lambda w: w / (w + mu)` for the effective dimension, or torch.square
            for norm_F(K)^2. `trace` is exact, and needs no estimate
        probes: at least 2; four times as many halve the error

        It works on J^T J where p < n: its other eigenvalues of K are zeros, of which nothing is estimated.
        """
        if probes < 2 or steps < 1:
            raise ValueError(f"probes={probes}, steps={steps}: at least 2 probes and 1 step")
        side = min(self.n, self.p)
        product = self.matmat if self.n <= self.p else self.jacobian.normal_matmat
        nodes, weights = krylov.spectral_density(product, self._zeros(side), probes=probes, steps=steps, seed=seed)
        each = side * (weights * function(nodes.clamp_min(0))).sum(1)
        zeros = (self.n - side) * float(function(self._zeros(1))) if self.n > side else 0.0
        return float(each.mean()) + zeros, float(each.std() / probes**0.5)

    def _zeros(self, size: int) -> Tensor:
        return torch.zeros(size, dtype=self.dtype, device=self.device)

    def _bar(self, label: str, total: int) -> tuple[Progress, krylov.Report]:
        bar = Progress(label, total, shown=self._progress or None)

        def report(_: int, worst: float) -> None:
            bar.tell([f"residual {short(worst)}"])
            bar.advance()

        return bar, report

    def __repr__(self) -> str:
        return f"KernelOperator({sizes_text(self.names, self.sizes)}; p = {self.p}, {self.dtype}, {self.device})"
