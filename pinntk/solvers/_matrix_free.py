"""The damped least-squares problem by products with A and A^T only, where neither n nor p leaves room for a matrix."""

from __future__ import annotations

import warnings
from functools import cached_property
from math import sqrt

from torch import Tensor, nn

from pinntk.ntk import KernelOperator
from pinntk.ntk._blocks import Weights
from pinntk.ntk._krylov import ConvergenceWarning, Nystrom, conjugate_gradients
from pinntk.problem import Points, Problem
from pinntk.solvers._damped import DampedSolution


class MatrixFreeJacobian:
    """`ScaledJacobian` by its products: a `KernelOperator`, whose J carries a factor sqrt(2) more."""

    def __init__(self, network: nn.Module, problem: Problem, points: Points, weights: Weights, max_memory: int | str):
        self.operator = KernelOperator(network, problem, points, weights=weights, max_memory=max_memory)
        self.n, self.p = self.operator.n, self.operator.p

    @cached_property
    def squared_norm(self) -> float:
        return self.operator.trace() / 2

    def matvec(self, d: Tensor) -> Tensor:
        """A d, (p,) -> (n,)."""
        return self.operator.jacobian.matvec(d) / sqrt(2)

    def rmatvec(self, v: Tensor) -> Tensor:
        """A^T v, (n,) -> (p,)."""
        return self.operator.jacobian.rmatvec(v) / sqrt(2)


class ConjugateGradients:
    """`DampedLeastSquares` by conjugate gradients on A A^T + mu I, preconditioned by one Nystrom sketch for all mu
    (Frangella, Tropp & Udell 2023; for natural gradients arXiv 2505.21404).

    rank: of the sketch
    tolerance: of the residual, relative to the right-hand side
    """

    def __init__(self, A: MatrixFreeJacobian, r: Tensor, rank: int = 200, tolerance: float = 1e-8, iterations: int = 200):
        self._A, self._r = A, r
        self._tolerance, self._iterations = tolerance, iterations
        self._sketch = Nystrom.of(A.operator.matmat, r.new_zeros(A.n), min(rank, A.n), seed=0)

    def solve(self, mu: float) -> DampedSolution:
        preconditioner = self._sketch.preconditioner(2 * mu)

        def apply(v: Tensor) -> Tensor:
            with warnings.catch_warnings():  # a step cut short is still judged by the true loss
                warnings.simplefilter("ignore", ConvergenceWarning)
                found = conjugate_gradients(
                    self._A.operator.matmat,
                    2 * v.unsqueeze(1),
                    2 * mu,
                    preconditioner=preconditioner,
                    tolerance=self._tolerance,
                    iterations=self._iterations,
                )
            return -self._A.rmatvec(found.x.squeeze(1))

        return DampedSolution(mu, apply(self._r), apply)

    def decrease(self, d: Tensor) -> float:
        change = self._A.matvec(d)
        return float(-(change @ (2 * self._r + change)))
