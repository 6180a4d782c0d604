"""What noisy data leave unknown of an inverse problem: the linearized Laplace posterior of coefficients and fields."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from math import inf
from statistics import NormalDist

import torch
from torch import Tensor, nn

from pinntk._util.memory import require
from pinntk._util.precision import without_autocast
from pinntk._util.threads import of_factorization, of_step, threads_for, with_threads_for
from pinntk.ntk import factors, trained_parameters
from pinntk.ntk._factors import compute_factors
from pinntk.ntk._finite import check_rows
from pinntk.problem import Points, Problem, field_problem
from pinntk.residuals import check_network, errors
from pinntk.residuals._values import check_finite, check_real_parameters
from pinntk.solvers._damped import check_form

NETWORK = "network"  # in `prior`: the network's parameters, all alike


class UnidentifiedError(ValueError):
    """The errors do not change with a coefficient, or with a combination of them, and no prior holds it."""


@dataclass(frozen=True, eq=False)
class Posterior:
    """A Gaussian around the fitted parameters, from `posterior`.

    names: the coefficients, q of them
    values: (q,) fitted values, which are the mean
    covariance: (q, q) of the coefficients, the network's parameters integrated out
    form: "kernel" or "parameters", by which it was computed

    Holds a copy of the network as it was fitted.
    """

    names: tuple[str, ...]
    values: Tensor
    covariance: Tensor
    form: str
    _spread: _Spread
    _network: nn.Module
    _problem: Problem

    @property
    def coefficients(self) -> dict[str, tuple[float, float]]:
        """{name: (mean, standard deviation)}."""
        std = self.covariance.diagonal().sqrt()
        return {name: (float(m), float(s)) for name, m, s in zip(self.names, self.values, std, strict=True)}

    def interval(self, name: str, level: float = 0.95) -> tuple[float, float]:
        """The central interval that holds a coefficient with probability `level`: mean -+ z std, z the normal quantile.

        Raises KeyError for an unknown coefficient, ValueError for a level outside (0, 1).
        """
        if name not in self.names:
            raise KeyError(f"no coefficient {name!r} among those that were fitted, {self.names}")
        if not 0 < level < 1:
            raise ValueError(f"level={level}: a probability between 0 and 1, such as 0.95")
        mean, std = self.coefficients[name]
        reach = NormalDist().inv_cdf((1 + level) / 2) * std
        return mean - reach, mean + reach

    @without_autocast
    def field(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the fields at (n, d) points of the domain: two (n, fields) tensors, in float64.

        The deviation is that of the field itself; a new reading adds its own noise to the variance.
        Raises ValueError for points outside the domain.
        """
        values = field_problem(self._problem)
        rows = dict.fromkeys(values.names, points)
        found = factors(self._network, values, rows)
        points = next(iter(values.check(rows).values()))
        check_rows(self._network, values, dict.fromkeys(values.names, points), found)
        mean = torch.from_numpy(self._problem.predict(self._network, points.detach().cpu().numpy()))
        std = [self._spread.variance(found[name].matrix(), self.covariance).sqrt() for name in values.names]
        return mean, torch.stack(std, 1).cpu()

    def __repr__(self) -> str:
        shown = ", ".join(f"{name} = {mean:.6g} +- {std:.2g}" for name, (mean, std) in self.coefficients.items())
        return f"Posterior({shown or 'no coefficients'}; {self.form} form)"


@without_autocast
@with_threads_for(of_step)
def posterior(
    network: nn.Module,
    problem: Problem,
    points: Points,
    noise: Mapping[str, float],
    *,
    prior: float | Mapping[str, float] = 1.0,
    form: str = "auto",
) -> Posterior:
    r"""The linearized Laplace posterior of a fitted network's parameters and of the problem's coefficients.

    Precision = sum_i J_i^T J_i / s_i^2 + Lambda, with J_i = d e_i / d theta at the fit and Lambda the prior's precision.

    points: {condition: (n_i, d)}, as the network was fitted on
    noise: s_i > 0 of every condition in `points`. Of data: the measurements' standard deviation. Of all others: how
        strictly they hold. A residual with a large s_i lets the field leave the equation and so widens what is said of the
        coefficients; with s_i small against what the noise of the data could do to the residual the equation is a
        constraint, and their uncertainty is that of the data alone
    prior: standard deviation of the network's parameters around the fit; or {"network": 1.0, "kappa": 0.5}, with those of
        single coefficients too. A coefficient without one has a flat prior, whatever its unit
    form: "kernel" works on (n, n) arrays (n points in all), "parameters" on (p, p), "auto" on the smaller ones. Both use
        J itself, (n, p), and are the same to rounding

    The intervals hold their level if the network is at the minimum of sum_i |e_i|^2 / s_i^2, which is the loss with
    weights lambda_i proportional to n_i / s_i^2, if the noise is independent and normal, and if the errors are about linear
    in the parameters across it.

    Neither form squares the condition number: with J~ = S^-1 J Lambda^-1/2, "parameters" takes R^T R = I + J~^T J~ from the
    QR factorization of [J~; I]; "kernel" takes J~^T = Q T, and with it the covariance I - Q Q^T + Q (I + T T^T)^-1 Q^T of
    the identity of Woodbury, in which nothing cancels.

    Raises ValueError for missing, unknown or non-positive standard deviations, and as `pinntk.kernel` does, MemoryError
    beforehand where J does not fit;
    UnidentifiedError where the data do not determine a coefficient with a flat prior.
    Sources: MacKay 1992 (Neural Computation 4:448); Immer, Korzepa & Bauer 2021 (AISTATS, arXiv 2008.08400).

    >>> import pinntk
    >>> problem = pinntk.load("heat_inverse")
    >>> network = pinntk.nn.MLP(problem, width=4, depth=1)
    >>> points = problem.sample(residual=10, boundary=4, initial=4, seed=0)
    >>> fitted = pinntk.posterior(network, problem, points, dict.fromkeys(points, 0.1))
    >>> mean, deviation = fitted.coefficients["kappa"]
    >>> low, high = fitted.interval("kappa", 0.95)
    >>> low < mean < high
    True
    """
    check_form(form)
    points = problem.check(points)
    check_network(network, problem, points)
    _check_noise(noise, tuple(points))
    width, deviations = _priors(prior, problem)
    _check_errors_and_memory(network, problem, points, form)
    found = compute_factors(network, problem, points)
    check_rows(network, problem, points, found)
    J = torch.cat([part.matrix() / noise[name] for name, part in found.items()])
    names = tuple(name for name, value in problem.coefficients.items() if value.requires_grad)
    p = J.shape[1] - len(names)  # the coefficients' columns are the last ones (`trained_parameters`)
    if form == "auto":
        form = "kernel" if len(J) < p else "parameters"
    with threads_for(of_factorization(J)):
        C, spread = J[:, p:], _Spread.of(J[:, :p] * width, J[:, p:], width, form)
    held = torch.tensor([1 / deviations[name] for name in names], dtype=J.dtype, device=J.device)
    covariance = _inverse_gram(torch.cat([spread.precision_root, held.diag()]), C.norm(dim=0), names)
    values = torch.tensor([float(problem.coefficients[name].detach()) for name in names], dtype=J.dtype, device=J.device)
    return Posterior(names, values, covariance, form, spread, deepcopy(network), problem)


@dataclass(frozen=True, eq=False)
class _Spread:
    """The covariance V = (I + J~^T J~)^-1 of the network's parameters at fixed coefficients, and how these move them.

    With J~^T = Q T, C the coefficients' columns of S^-1 J, and Sigma = I + J~ J~^T = I + T^T T:

    Q: (p, k) orthonormal, or None for the identity
    R: (k, k) upper triangle, R^T R = I + T T^T
    precision_root: (n + k, q) P with P^T P = C^T Sigma^-1 C, the precision that the errors give the coefficients
    response: (k, q), T Sigma^-1 C: as the coefficients change by c, the network's parameters follow by -width Q response c
    width: the prior's standard deviation, by which J~ was scaled
    """

    Q: Tensor | None
    R: Tensor
    precision_root: Tensor
    response: Tensor
    width: float

    @classmethod
    def of(cls, J: Tensor, C: Tensor, width: float, form: str) -> _Spread:
        Q, T = torch.linalg.qr(J.T) if form == "kernel" else (None, J.T)
        k, n = T.shape
        # [C - T^T X; -X] with X = T Sigma^-1 C is what the least squares of [T^T; I] X = [C; 0] leave over; its squared norm
        # is C^T Sigma^-1 C without a difference of large numbers.
        basis, R = torch.linalg.qr(torch.cat([T.T, torch.eye(k).to(T)]))
        precision_root = torch.cat([C, C.new_zeros(k, C.shape[1])])
        for _ in range(2):  # the second time removes the rounding of the first
            precision_root = precision_root - basis @ (basis.T @ precision_root)
        return cls(Q, R, precision_root, -precision_root[n:], width)

    def variance(self, rows: Tensor, covariance: Tensor) -> Tensor:
        """Variance (m,) of quantities whose gradients are `rows` (m, p) in the network's parameters and zero in the
        coefficients, whose covariance (q, q) is given.
        """
        A = self.width * rows.T
        inside = A if self.Q is None else self.Q.T @ A  # (k, m)
        total = torch.linalg.solve_triangular(self.R.T, inside, upper=False).square().sum(0)
        if self.Q is not None:  # no error depends on the rest: its variance is the prior's
            total = total + (A - self.Q @ inside).square().sum(0)
        slopes = self.response.T @ inside  # (q, m)
        return total + (slopes * (covariance @ slopes)).sum(0)


def _inverse_gram(X: Tensor, scale: Tensor, names: tuple[str, ...]) -> Tensor:
    """(X^T X)^-1, (q, q). scale: (q,) below whose rounding a column of X is zero. Raises UnidentifiedError."""
    R = torch.linalg.qr(X, mode="r").R
    for name, pivot, size in zip(names, R.diagonal().abs().tolist(), scale.tolist(), strict=True):
        if pivot <= len(X) * torch.finfo(X.dtype).eps * size:
            raise UnidentifiedError(
                f"the errors do not determine coefficient {name!r}, or only a combination of it with those before it: "
                f"add data, or give it a prior, as in prior={{{name!r}: 1.0}}"
            )
    inverse = torch.linalg.solve_triangular(R, torch.eye(len(R)).to(R), upper=True)
    return inverse @ inverse.T


def _check_errors_and_memory(network: nn.Module, problem: Problem, points: Points, form: str) -> None:
    """Raises ValueError for complex parameters, NonFiniteError for errors with NaN, MemoryError where J does not fit."""
    trained = trained_parameters(network, problem)
    check_real_parameters(trained, "posterior")
    with torch.no_grad():
        check_finite(network, problem, points, errors(network, problem, points))
    n, p = sum(map(len, points.values())), sum(parameter.numel() for parameter in trained.values())
    k = {"kernel": n, "parameters": p}.get(form, min(n, p))
    require(
        8 * (3 * n * p + 3 * k**2),  # J, scaled, and its factors with k more rows
        f"the Jacobian of {n} errors in {p} parameters, with its factors,",
        "give fewer points, or freeze layers of the network",
        next(iter(trained.values())).device,
    )


def _check_noise(noise: Mapping[str, float], names: tuple[str, ...]) -> None:
    if missing := [name for name in names if name not in noise]:
        raise ValueError(f"noise for {missing} is missing; give a standard deviation for each of {names}")
    if unknown := [name for name in noise if name not in names]:
        raise ValueError(f"noise for {unknown}: there are no points of such conditions, only of {names}")
    for name, deviation in noise.items():
        if not 0 < deviation < inf:
            raise ValueError(f"noise {name}={deviation!r}: a standard deviation, finite and above 0")


def _priors(prior: float | Mapping[str, float], problem: Problem) -> tuple[float, dict[str, float]]:
    """Standard deviations of the network's parameters, and of every coefficient (infinite where none is given)."""
    given = dict(prior) if isinstance(prior, Mapping) else {NETWORK: prior}
    for name, deviation in given.items():
        if name != NETWORK and name not in problem.coefficients:
            raise ValueError(f"prior for {name!r}: use {NETWORK!r} or a coefficient of {tuple(problem.coefficients)}")
        if not 0 < deviation < inf:
            raise ValueError(f"prior {name}={deviation!r}: a standard deviation, finite and above 0")
    return given.get(NETWORK, 1.0), {name: given.get(name, inf) for name in problem.coefficients}
