"""The estimate of the error that decides whether anything is wrong."""

from copy import deepcopy

import pytest
import torch

import pinntk
from pinntk.diagnostics import estimate, natural_step
from tests.support.diagnosed import healthy, healthy_run, poisson

pytestmark = pytest.mark.xdist_group("diagnose")  # one worker, for what they share


def test_estimate_is_the_error_of_a_network_near_the_solution():
    """No solution is used: the same problem without one gives the same number."""
    run = healthy_run()
    error = run.relative_error
    found = healthy().estimate
    assert error < 0.02
    assert found.relative == pytest.approx(error, rel=0.2)
    blind = estimate(run.network, poisson(exact=False), run.points)
    assert blind.relative == found.relative


def test_estimate_of_a_network_that_was_moved_off_the_solution():
    """An offset of 0.1 violates the ends only; its relative error is 0.1 / rms(sin) = 0.141."""
    network = deepcopy(healthy_run().network)
    with torch.no_grad():
        network.dense.biases[-1] += 0.1
    found = estimate(network, poisson(), healthy_run().points)
    assert found.relative == pytest.approx(0.1 * 2**0.5, rel=0.1)
    assert found.parts["walls"] > 10 * found.parts["equation"]


def test_natural_step_is_where_the_linearized_loss_is_least():
    problem = poisson()
    network = pinntk.nn.MLP(problem, width=8, depth=1, dtype=torch.float64)
    points = problem.sample(residual=10, boundary=2, dtype=torch.float64)
    weights = {"equation": 1.0, "walls": 3.0}
    step = natural_step(network, problem, points, weights)
    parameters = list(network.parameters())
    e = pinntk.errors(network, problem, points)
    loss = sum(weights[name] * part.square().mean() for name, part in e.items())
    signs = torch.cat([g.sign().flatten() for g in torch.autograd.grad(loss, parameters)])
    J = {name: part.matrix() for name, part in pinntk.factors(network, problem, points).items()}

    def linear(eta):
        return float(sum(weights[n] * (e[n].detach() - eta * J[n] @ signs).square().mean() for n in e))

    assert linear(step) < min(linear(0.99 * step), linear(1.01 * step), linear(0.0))
    assert linear(2 * step) == pytest.approx(linear(0.0), rel=1e-9)
