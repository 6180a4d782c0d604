"""A network's last layer by least squares: a start that has what is linear in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from pinntk.nn._embedded import EmbeddedNetwork
from pinntk.problem import Points, Problem
from pinntk.residuals import check_network
from pinntk.residuals._points import to_network
from pinntk.solvers._jacobian import ScaledJacobian, check_start, loss_weights, losses_by_condition, scaled_errors
from pinntk.solvers._vector import assign, flatten

_LINEAR = 1e-3  # of the errors' size: what the errors may be off from what a linear condition's would be


def fit_last_layer(
    network: nn.Module, problem: Problem, points: Points, weights: Mapping[str, float] | None = None
) -> dict[str, float]:
    """Gives a network's last layer the weights and biases of the smallest loss there is with its other parameters as they are.

    Conditions that are linear in the fields are linear in the last layer, so that this is one least-squares problem. Wang, Li,
    Chen & Perdikaris 2024 (arXiv 2402.00326) so start a `PirateNet`, which is linear in its features then, from an initial
    condition, measurements, or a linear equation.

    network: an `MLP`, `ModifiedMLP`, `PirateNet` or `Siren`
    points: of the conditions to fit, {name: (n, d)}
    weights: lambda_i of the loss sum_i lambda_i mean(e_i^2); 1 each by default

    Returns {name: mean(e_i^2)} at that start. Singular values below the rounding of the network's dtype count as zero. Raises
    ValueError for a condition that is not linear in the fields, TypeError for another network, and leaves it as it was then.

    >>> import pinntk
    >>> problem = pinntk.load("burgers")
    >>> network = pinntk.nn.PirateNet(problem, width=16, fourier=(32, 0.3), dtype=torch.float64)
    >>> points = problem.sample(initial=100, boundary=20, method="sobol")
    >>> losses = fit_last_layer(network, problem, {name: points[name] for name in ("start", "walls")})
    >>> {name: loss < 1e-6 for name, loss in losses.items()}
    {'start': True, 'walls': True}
    """
    if not isinstance(network, EmbeddedNetwork):
        raise TypeError(
            f"{type(network).__name__} has no last layer that is known; give an MLP, ModifiedMLP, PirateNet or Siren"
        )
    points = to_network(network, problem.check(points))
    check_network(network, problem, points)
    lam, by_point = loss_weights(weights or dict.fromkeys(points, 1.0), network, problem, points, None)
    last = network.last_layer()
    with _trained_alone(network, problem, last):
        r = scaled_errors(network, problem, points, by_point)
        check_start(network, problem, points, r)
        A = ScaledJacobian(network, problem, points, by_point).matrix
        start = flatten(last, r.device)
        rounding = torch.finfo(last[0].dtype).eps * max(A.shape)
        step = torch.linalg.lstsq(A.cpu(), -r.cpu()[:, None], rcond=rounding, driver="gelsd").solution[:, 0].to(r)
        assign(last, start + step)
        found = scaled_errors(network, problem, points, by_point)
        losses = losses_by_condition(network, problem, points, found, lam)
    off, sizes = found - (r + A @ step), [len(rows) for rows in points.values()]
    size = _LINEAR * float(torch.stack([r.norm(), (A @ step).norm()]).max())
    if bent := [name for name, part in zip(points, off.split(sizes), strict=True) if not float(part.norm()) <= size]:
        assign(last, start)
        raise ValueError(f"condition {bent[0]!r} is not linear in the fields; leave its points out, or let a solver fit it")
    return losses


@contextmanager
def _trained_alone(network: nn.Module, problem: Problem, chosen: Sequence[Tensor]) -> Iterator[None]:
    """Inside, nothing else requires gradients."""
    every = [*network.parameters(), *problem.coefficients.values()]
    before = [p.requires_grad for p in every]
    kept = {id(p) for p in chosen}
    try:
        for p in every:
            p.requires_grad_(id(p) in kept)
        yield
    finally:
        for p, was in zip(every, before, strict=True):
            p.requires_grad_(was)
