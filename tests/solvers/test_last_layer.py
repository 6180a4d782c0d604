"""The last layer by least squares: the minimum of the loss in it, on linear conditions alone."""

from __future__ import annotations

import pytest
import torch

import pinntk
from pinntk.nn import MLP, ModifiedMLP, PirateNet, SeparableMLP, Siren
from pinntk.solvers import fit_last_layer
from tests.support.small_problems import poisson, sample

F64 = {"dtype": torch.float64}
SIZES = {"width": 6, "depth": 1, **F64}


@pytest.mark.parametrize("kind", [MLP, ModifiedMLP, PirateNet, Siren])
def test_the_gradient_in_the_last_layer_vanishes_and_nothing_else_moves(kind):
    problem = poisson()
    network, points, weights = kind(problem, **SIZES), sample(problem, 15), {"equation": 2.0, "left": 0.5, "right": 3.0}
    last = {id(p) for p in network.last_layer()}
    others = [p.detach().clone() for p in network.parameters() if id(p) not in last]
    losses = fit_last_layer(network, problem, points, weights)
    e = pinntk.errors(network, problem, points)
    loss = sum(weight * e[name].square().mean() for name, weight in weights.items())
    assert losses == pytest.approx(
        {name: float(part.detach().square().mean()) for name, part in e.items()}, rel=1e-9, abs=1e-20
    )
    for p, g in zip(network.last_layer(), torch.autograd.grad(loss, network.last_layer()), strict=True):
        assert float(g.norm() * p.detach().norm()) < 1e-6 * (float(loss.detach()) + 1e-3)
    kept = [p for p in network.parameters() if id(p) not in last]
    assert all(torch.equal(p, was) and p.requires_grad for p, was in zip(kept, others, strict=True))


def test_the_loss_of_a_condition_of_weight_zero_is_its_own():
    problem = poisson()
    network, points = MLP(problem, **SIZES), sample(problem, 15)
    losses = fit_last_layer(network, problem, points, {"equation": 1.0, "left": 0.0, "right": 1.0})
    left = pinntk.errors(network, problem, points)["left"].detach()
    assert losses["left"] == pytest.approx(float(left.square().mean()), rel=1e-12) and losses["left"] > 0


def test_a_pirate_net_begins_with_the_solution_of_a_linear_problem():
    problem = poisson()
    network = PirateNet(problem, width=4, depth=1, fourier=(12, 0.4), **F64)
    before = problem.relative_error(network)
    fit_last_layer(network, problem, sample(problem, 40))
    assert problem.relative_error(network) < 1e-4 < 0.1 < before


def test_a_condition_that_is_not_linear_is_named_and_the_network_stays():
    problem = pinntk.load("burgers")
    network, points = PirateNet(problem, **SIZES), problem.sample(residual=9, initial=9, boundary=4, **F64)
    before = [p.detach().clone() for p in network.parameters()]
    with pytest.raises(ValueError, match="condition 'burgers' is not linear in the fields; leave its points out"):
        fit_last_layer(network, problem, points)
    assert all(torch.equal(p, was) for p, was in zip(network.parameters(), before, strict=True))
    losses = fit_last_layer(network, problem, {"start": points["start"]})
    assert list(losses) == ["start"] and losses["start"] < 1e-2


def test_mistakes():
    problem = poisson()
    with pytest.raises(TypeError, match="SeparableMLP has no last layer that is known; give an MLP"):
        fit_last_layer(SeparableMLP(problem), problem, sample(problem, 5))
    with pytest.raises(ValueError, match="weights"):
        fit_last_layer(MLP(problem, **SIZES), problem, sample(problem, 5), {"equation": 1.0})
