"""What the conditions leave undetermined of each field: whether one is missing."""

from __future__ import annotations

from dataclasses import dataclass
from math import log

import numpy as np
import torch
from torch import Tensor, nn

from pinntk._util.precision import without_autocast
from pinntk.diagnostics._sampling import domain_points, network_points, subset, whole_number
from pinntk.ntk import kernel
from pinntk.ntk._rounding import vanishing
from pinntk.problem import Points, Problem, field_problem, with_field_values

_FINER = 1e-2  # of the tolerance, at which `undetermined` looks again


@dataclass(frozen=True, eq=False)
class Undetermined:
    """What all conditions together leave undetermined of one field, at m points of the domain where it lives.

    points: (m, d)
    deviation: (m,) posterior over prior standard deviation of the field at every point
    share: rms posterior over rms prior standard deviation: near 0 where the conditions determine the field, up to 1
    rate: by which power of the tolerance `share` falls: 1 where errors of the field are in proportion to errors of the
        conditions (well-posed), 0 where the field is open however small the errors
    free: (m,) the least determined function, the first eigenvector of the posterior covariance, with largest value 1
    """

    points: Tensor
    deviation: Tensor
    share: float
    rate: float
    free: Tensor


@without_autocast
def undetermined(
    network: nn.Module,
    problem: Problem,
    points: Points,
    *,
    tolerance: float = 1e-3,
    samples: int = 200,
    most: int = 500,
    seed: int = 0,
) -> dict[str, Undetermined]:
    r"""How far the conditions determine each field: {field: Undetermined}.

    What they leave open are directions of the parameters that change u on the domain and no error.

    The linearized posterior of u, whose prior covariance is its kernel K_uu = J_u J_u^T (parameters with unit variance), given
    that all errors vanish up to `tolerance` times their own prior standard deviation s_i = sqrt(Tr K_ii / n_i):

        C = K_uu - K_ue (K_ee + tolerance^2 diag(s^2))^-1 K_eu

    points: {condition: (n, d)}; of each condition at most `most` rows, and about 4,000 in all, chosen at random by `seed`
    tolerance: from 1e-4 to 0.1; the rate is taken between it and a hundredth of it
    samples: m Sobol points of the domain

    Two causes look alike. A missing condition leaves a smooth function free, whatever the points; too few points for a network
    that can vary between them leave rough ones. Measure again on many more points: only a missing condition stays. Coefficients
    count as parameters with unit variance. Raises as `pinntk.kernel` does.
    Source: the Laplace approximation of `pinntk.posterior`, in function space (Khan, Immer, Abedi & Korzepa 2019, NeurIPS).
    """
    whole_number("samples", samples, 2)
    whole_number("most", most)
    if not 1e-4 <= tolerance <= 0.1:
        raise ValueError(f"tolerance={tolerance!r}: from 1e-4 (below, rounding of K is all there is) to 0.1")
    points = subset(network_points(network, problem, points), most, seed)
    where = domain_points(network, problem, samples, seed)
    K = kernel(network, with_field_values(problem), points | dict.fromkeys(field_problem(problem).names, where))
    mean = torch.stack([K.diagonal(name).mean().clamp_min(0) for name in points])
    none = vanishing(network, problem, points, dict(zip(points, mean.tolist(), strict=True)))
    met = torch.tensor([name in none for name in points], device=mean.device)  # by construction, and says nothing
    sizes = torch.tensor([len(rows) for rows in points.values()], device=mean.device)
    n, dependent = int(sizes.sum()), (~met).repeat_interleave(sizes).nonzero()[:, 0]
    root = mean.rsqrt().repeat_interleave(sizes)[dependent]
    K_ee = K.values[dependent][:, dependent] * root[:, None] * root
    K_eu = K.values[dependent][:, n:] * root[:, None]
    prior = K.values[n:, n:]
    posterior = [_posterior_covariance(K_ee, K_eu, prior, part) for part in (tolerance, _FINER * tolerance)]
    found = {}
    for i, field in enumerate(problem.fields):
        here = problem.lives(where.cpu().double().numpy())[:, i].nonzero()[0] if problem.where else np.arange(samples)
        block = torch.as_tensor(i * samples + here, device=prior.device)
        before, after, finer = (C[block][:, block] for C in (prior, *posterior))
        variance = after.diagonal().clamp_min(0)
        share, least = (float((C.diagonal().clamp_min(0).sum() / before.trace()).sqrt()) for C in (after, finer))
        rate = log(share / least) / -log(_FINER) if share > 0 and least > 0 else float("nan")
        free = torch.linalg.eigh(after)[1][:, -1]
        free = free / free[free.abs().argmax()]
        found[field] = Undetermined(where[block - i * samples], (variance / before.diagonal()).sqrt(), share, rate, free)
    return found


def _posterior_covariance(K_ee: Tensor, K_eu: Tensor, K_uu: Tensor, tolerance: float) -> Tensor:
    """K_uu - K_ue (K_ee + tolerance^2)^-1 K_eu, (m, m)."""
    L = torch.linalg.cholesky(K_ee + tolerance**2 * torch.eye(len(K_ee)).to(K_ee))
    X = torch.linalg.solve_triangular(L, K_eu, upper=False)
    return K_uu - X.T @ X
