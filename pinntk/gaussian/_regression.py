"""What infinitely wide networks converge to: kernel collocation, and the law of trained ensembles. Linear problems only.

The errors of a linear problem are e = L u + g with g = e(u = 0), so a Gaussian u gives Gaussian errors, and gradient flow,
which is linear in e, keeps both Gaussian.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf

import numpy as np
import torch
from torch import Tensor, nn

from pinntk._util.factorization import cholesky
from pinntk.nn import MLP
from pinntk.ntk import InfiniteMLP, KernelBlocks, infinite_cross_kernel, infinite_kernel
from pinntk.ntk._blocks import check_weights, require_kernel
from pinntk.ntk.infinite._functional import NotLinearError
from pinntk.problem import Points, Problem, field_problem, with_field_values
from pinntk.residuals import errors
from pinntk.residuals._fields import Zero


class _Field(nn.Module):
    """The mean of a solution as a network without parameters."""

    def __init__(self, solution: Collocation):
        super().__init__()
        self.solution = solution

    def forward(self, x: Tensor) -> Tensor:
        return self.solution.mean(x)


@dataclass(frozen=True, eq=False, repr=False)
class Collocation:
    """The solution of a linear problem by a Gaussian process whose covariance is a network's kernel, from `collocate`.

    kernel: K_ee of the errors
    noise: {condition: standard deviation}
    """

    kernel: KernelBlocks
    noise: Mapping[str, float]
    _network: MLP | InfiniteMLP
    _problem: Problem
    _kind: str
    _factor: Tensor  # of K_ee + noise^2, scaled to a unit diagonal
    _scale: Tensor  # (n,)
    _coefficients: Tensor  # (n,) so that the mean is K_ue times it

    def __repr__(self) -> str:
        return f"Collocation({self._problem.name} by the {self._kind}; noise {dict(self.noise)}; {self.kernel})"

    def mean(self, x: Tensor | np.ndarray) -> Tensor:
        """E[u | errors = 0] at (m, d) points, (m, fields)."""
        return (self._cross(x) @ self._coefficients).view(len(self._problem.fields), -1).T

    def std(self, x: Tensor | np.ndarray) -> Tensor:
        """Posterior standard deviation at (m, d) points, (m, fields)."""
        solved = torch.linalg.solve_triangular(self._factor, self._scale[:, None] * self._cross(x).T, upper=False)
        values = field_problem(self._problem)
        rows = _rows(x)
        prior = [_variance(self._network, values, name, rows, self._kind) for name in values.names]
        variance = torch.cat(prior) - solved.square().sum(0)
        return variance.clamp_min(0).sqrt().view(len(self._problem.fields), -1).T

    def relative_error(self) -> float:
        """Relative L2 error of the mean against the known solution, on all its points."""
        return self._problem.relative_error(_Field(self))

    def _cross(self, x: Tensor | np.ndarray) -> Tensor:
        """K_ue (m fields, n), field by field."""
        return _cross(self._network, self._problem, x, self.kernel.points, self._kind)


def collocate(
    network: MLP | InfiniteMLP,
    problem: Problem,
    points: Points,
    *,
    noise: float | Mapping[str, float] = 0.0,
    kind: str = "ntk",
) -> Collocation:
    r"""Solves a linear problem with the kernel k of an infinitely wide network.

    The solution is the Gaussian process u ~ N(0, k), given that all errors at `points` vanish up to noise. With e = L u + g,

        E[u(x)] = -k_ue (K_ee + noise^2)^-1 g,        Cov[u] = k_uu - k_ue (K_ee + noise^2)^-1 k_eu.

    With the NTK and no noise the mean is what an infinitely wide network, started from zero, trains to.

    network: an `InfiniteMLP`, or an MLP in the NTK parametrization
    noise: standard deviation of the errors, one for all conditions or {condition: number}
    kind: "ntk" or "nngp"

    Data and regression are problems with data conditions. A K_ee that is singular to rounding gets a jitter, with a warning.
    Raises ValueError for points that do not fit, a problem that is not linear or has unknown coefficients, negative noise.
    Source: Raissi, Perdikaris & Karniadakis 2017 (JCP 348:683); Chen, Hosseini, Owhadi & Stuart 2021 (JCP 447:110668).

    >>> import pinntk
    >>> problem = pinntk.load("poisson1d", k=1)
    >>> limit = pinntk.nn.MLP(problem, depth=2, activation="sin", parametrization="ntk")
    >>> points = problem.sample(residual=20, boundary=2, method="grid")
    >>> collocate(limit, problem, points, noise=1e-6).relative_error() < 1e-5
    True
    """
    start, K = _start(network, problem, points, kind)
    noise = noise if isinstance(noise, Mapping) else dict.fromkeys(K.names, float(noise))
    if set(noise) != set(K.names) or not all(0 <= value < inf for value in noise.values()):
        raise ValueError(f"noise={noise!r}: finite standard deviations of at least 0, for each of {K.names}")
    n = len(K.values)
    require_kernel(n, n, device=K.values.device, copies=5)  # with noise, scaled, with a jitter, factored
    variance = torch.cat([K.values.new_full((n,), noise[name] ** 2) for name, n in zip(K.names, K.sizes, strict=True)])
    noisy = K.values + torch.diag(variance)
    scale = noisy.diagonal().clamp_min(1e-300).rsqrt()
    factor, _ = cholesky(noisy * scale[:, None] * scale, "the kernel of the errors")
    coefficients = -scale * torch.cholesky_solve((scale * start)[:, None], factor)[:, 0]
    return Collocation(K, dict(noise), network, problem, kind, factor, scale, coefficients)


@dataclass(frozen=True, eq=False, repr=False)
class InfiniteEnsemble:
    """Infinitely wide networks, all initializations of them, trained by gradient flow; from `infinite_ensemble`.

    ntk, nngp: kernels of the errors on the training points
    weights: lambda_i by condition
    rates: (n,) of D^1/2 K D^1/2, ascending; those below n eps lambda_max count as zero, and their modes never move
    """

    ntk: KernelBlocks
    nngp: KernelBlocks
    weights: Mapping[str, float]
    rates: Tensor
    _modes: Tensor
    _root: Tensor  # (n,) of D^1/2
    _start: Tensor  # (n,) errors of u = 0, the mean of the errors at initialization
    _network: MLP | InfiniteMLP
    _problem: Problem

    def __repr__(self) -> str:
        return f"InfiniteEnsemble({self._problem.name}; weights {dict(self.weights)}; {self.ntk})"

    def mean(self, x: Tensor | np.ndarray, t: float) -> Tensor:
        """E[u(x, t)], (m, fields), t from 0 to inf."""
        return -(self._propagator(x, self._sums(t)) @ self._start).view(len(self._problem.fields), -1).T

    def covariance(self, x: Tensor | np.ndarray, t: float) -> Tensor:
        """Cov[u(x, t), u(x', t)] over initializations, (m fields, m fields), field by field."""
        return self._covariance(x, self._sums(t))

    def std(self, x: Tensor | np.ndarray, t: float) -> Tensor:
        """Standard deviation of u(x, t) over initializations, (m, fields)."""
        return _std(self.covariance(x, t), self._problem)

    def mean_after(self, x: Tensor | np.ndarray, steps: int, lr: float) -> Tensor:
        """As `mean`, after steps of gradient descent."""
        return -(self._propagator(x, self._descent(steps, lr)) @ self._start).view(len(self._problem.fields), -1).T

    def covariance_after(self, x: Tensor | np.ndarray, steps: int, lr: float) -> Tensor:
        """As `covariance`, after steps of gradient descent."""
        return self._covariance(x, self._descent(steps, lr))

    def std_after(self, x: Tensor | np.ndarray, steps: int, lr: float) -> Tensor:
        """As `std`, after steps of gradient descent."""
        return _std(self.covariance_after(x, steps, lr), self._problem)

    def _covariance(self, x: Tensor | np.ndarray, sums: Tensor) -> Tensor:
        A = self._propagator(x, sums)
        N_ue = _cross(self._network, self._problem, x, self.ntk.points, "nngp")
        values = field_problem(self._problem)
        rows = _rows(x)
        N_uu = infinite_kernel(self._network, values, dict.fromkeys(values.names, rows), kind="nngp").values
        half = A @ N_ue.T
        return N_uu - half - half.T + A @ self.nngp.values @ A.T

    def _propagator(self, x: Tensor | np.ndarray, sums: Tensor) -> Tensor:
        """A (m fields, n) with u(x, t) = u(x, 0) - A e(0)."""
        cross = _cross(self._network, self._problem, x, self.ntk.points, "ntk")
        return ((cross * self._root) @ (self._modes * sums)) @ self._modes.T * self._root

    def _sums(self, t: float) -> Tensor:
        """(1 - exp(-l t)) / l."""
        if not t >= 0:
            raise ValueError(f"t={t!r}: a time of at least 0, or inf")
        moving = self.rates > 0
        rates = torch.where(moving, self.rates, torch.ones_like(self.rates))
        return torch.where(moving, -torch.expm1(-rates * t) / rates, torch.zeros_like(rates))

    def _descent(self, steps: int, lr: float) -> Tensor:
        """(1 - (1 - lr l)^steps) / l."""
        if not isinstance(steps, int) or steps < 0:
            raise ValueError(f"steps={steps!r}: a whole number of at least 0")
        largest = float(self.rates[-1])
        if not 0 < lr * largest <= 2:
            raise ValueError(
                f"lr={lr!r}: above 0 and at most 2 / lambda_max = {2 / largest:.3g}, beyond which training diverges"
            )
        moving = self.rates > 0
        rates = torch.where(moving, self.rates, torch.ones_like(self.rates))
        return torch.where(moving, (1 - (1 - lr * rates) ** steps) / rates, torch.zeros_like(rates))


def infinite_ensemble(
    network: MLP | InfiniteMLP, problem: Problem, points: Points, weights: Mapping[str, float] | None = None
) -> InfiniteEnsemble:
    r"""The law of infinitely wide networks under gradient flow on L = sum_i lambda_i mean(e_i^2), for a linear problem.

    The field starts from u ~ N(0, NNGP) and follows u(x, t) = u(x, 0) - A(t) e(0), with e(0) = L u(0) + g and

        A(t) = Theta_ue D^1/2 V diag((1 - exp(-l t)) / l) V^T D^1/2,      D^1/2 Theta D^1/2 = V diag(l) V^T.

    points: {condition: (n, d)}, the training points
    weights: lambda_i by condition; 1 each unless given

    Raises ValueError for points that do not fit, a problem that is not linear or has unknown coefficients.
    Source: Jacot, Gabriel & Hongler 2018, section 5; Lee et al. 2019, equations 14 to 16.
    """
    start, ntk = _start(network, problem, points, "ntk")
    nngp = infinite_kernel(network, problem, points, kind="nngp")
    weights = dict.fromkeys(ntk.names, 1.0) if weights is None else dict(weights)
    check_weights(weights, ntk.names)
    rates, modes = ntk.eigh(weights)
    rates = torch.where(rates <= len(rates) * torch.finfo(rates.dtype).eps * rates[-1], torch.zeros_like(rates), rates)
    root = [rates.new_full((n,), (2 * weights[name] / n) ** 0.5) for name, n in zip(ntk.names, ntk.sizes, strict=True)]
    return InfiniteEnsemble(ntk, nngp, weights, rates, modes, torch.cat(root), start, network, problem)


def _start(network: MLP | InfiniteMLP, problem: Problem, points: Points, kind: str) -> tuple[Tensor, KernelBlocks]:
    """The errors of u = 0, and the kernel."""
    if problem.coefficients:
        raise ValueError(
            f"{problem.name} has unknown coefficients {tuple(problem.coefficients)}, in which its errors are not linear; give "
            "them as numbers"
        )
    try:
        K = infinite_kernel(network, problem, points, kind=kind)
    except NotLinearError as error:
        raise ValueError(
            f"{problem.name} is not linear (condition {error.condition!r}), and what infinitely wide networks train to is "
            "known for linear problems only; train a network, or use pinntk.solvers.GaussNewton"
        ) from error
    found = errors(Zero(len(problem.fields)), problem, K.points)
    return torch.cat([found[name].double() for name in K.names]), K


def _cross(network: MLP | InfiniteMLP, problem: Problem, x: Tensor | np.ndarray, points: Points, kind: str) -> Tensor:
    values = field_problem(problem)
    rows = _rows(x)
    blocks = infinite_cross_kernel(network, with_field_values(problem), dict.fromkeys(values.names, rows), points, kind=kind)
    return torch.cat([torch.cat([blocks[value, name] for name in points], 1) for value in values.names])


def _variance(network: MLP | InfiniteMLP, values: Problem, name: str, rows: Tensor, kind: str) -> Tensor:
    parts = [infinite_kernel(network, values, {name: part}, kind=kind).diagonal() for part in rows.split(64)]
    return torch.cat(parts)


def _rows(x: Tensor | np.ndarray) -> Tensor:
    return torch.as_tensor(x).double()


def _std(covariance: Tensor, problem: Problem) -> Tensor:
    return covariance.diagonal().clamp_min(0).sqrt().view(len(problem.fields), -1).T
