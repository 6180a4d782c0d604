"""Foreign conditions: what of them is checked, what is said where their code fails, and what is left to them."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn

import pinntk
from pinntk.problem import ForeignCondition, PointSet
from tests.support.foreign import TWINS, evaluated, smooth_network

DOMAIN = pinntk.Box(x=(0, 1))


def problem_of(code, network=None, n: int = 6, **arguments):
    network = smooth_network(1, 1) if network is None else network
    region = PointSet(DOMAIN, torch.linspace(0, 1, n, dtype=torch.float64))
    condition = ForeignCondition("pde", "residual", region, evaluated(network, lambda p: code(network, p)), **arguments)
    problem = pinntk.Problem(DOMAIN, [condition])
    return network, problem, problem.sample(dtype=torch.float64)


def test_errors_have_a_graph_only_where_gradients_are_on():
    twins = TWINS["heat"](0)
    assert all(e.requires_grad for e in pinntk.errors(twins.network, twins.foreign, twins.points).values())
    with torch.no_grad():
        assert not any(e.requires_grad for e in pinntk.errors(twins.network, twins.foreign, twins.points).values())


def test_equations_of_one_function_are_evaluated_in_one_call():
    twins = TWINS["system"](0)
    calls = []
    twins.network.register_forward_hook(lambda *_: calls.append(1))
    pinntk.errors(twins.network, twins.foreign, {name: twins.points[name] for name in ("mass", "force")})
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("code", "error", "message"),
    [
        (lambda net, p: net(p) - net(p).mean(), pinntk.DependentPointsError, "another point leaves the batch"),
        (lambda net, p: net(p).squeeze(1) + torch.rand(len(p)), pinntk.DependentPointsError, "it is random"),
        (lambda net, p: net(p), ValueError, r"returned shape \(6, 1\) for 6 points|returned shape \(4, 1\) for 4 points"),
        (lambda net, p: 1 / 0, pinntk.residuals.ForeignError, "condition 'pde': ZeroDivisionError"),
        (lambda net, p: net(p).squeeze(1) @ torch.ones(len(p)), pinntk.residuals.ForeignError, "must be in that dtype"),
    ],
)
def test_what_foreign_code_does_wrong_is_named(code, error, message):
    def flat(net, p):
        e = code(net, p)
        return e.squeeze(1) if "mean" in message or "another" in message else e

    network, problem, points = problem_of(flat)
    with pytest.raises(error, match=message):
        pinntk.kernel(network, problem, points)


def test_a_column_that_is_not_returned_is_named():
    network, problem, points = problem_of(lambda net, p: torch.cat([net(p), net(p)], 1), column=2)
    with pytest.raises(pinntk.residuals.ForeignError, match=r"column 2 of what its code returns, which is shape \(4, 2\)"):
        pinntk.kernel(network, problem, points)


def test_rounding_of_large_terms_is_no_dependence_between_points():
    """In another batch it is another, as here, and may be larger than the errors that large terms leave."""
    network = smooth_network(1, 1).float()

    def stiff(net, p):
        return (1e6 * (1 + 1e-7 * len(p)) * net(p) - 1e6 * net(p).detach()).squeeze(1)

    network, problem, _ = problem_of(stiff, network)
    pinntk.residuals.check_network(network, problem, problem.sample())


def test_modules_that_mix_points_are_refused():
    network = nn.Sequential(nn.Linear(1, 4), nn.Dropout(0.5), nn.Linear(4, 1)).double()
    network, problem, points = problem_of(lambda net, p: net(p).squeeze(1), network)
    with pytest.raises(pinntk.DependentPointsError, match="dropout in training mode"):
        pinntk.kernel(network, problem, points)


def test_what_works_on_operators_says_that_it_cannot():
    twins = TWINS["heat"](0)
    with pytest.raises(ValueError, match="condition 'equation' is foreign, and its code knows no slabs"):
        pinntk.train_slabs(twins.foreign, twins.network, slabs=2)
    with pytest.raises(TypeError, match="is foreign: its errors come from code that pinntk does not know"):
        pinntk.infinite_kernel(pinntk.InfiniteMLP(2), twins.foreign, twins.points, at=twins.network)
    with pytest.raises(ValueError, match="'start' cannot be met by construction: it is foreign"):
        pinntk.nn.MLP(twins.foreign, hard="start")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not pinntk.nn.MLP(twins.foreign, hard="auto").hard
    assert pinntk.residuals.scales(twins.foreign).open == ("u", "kappa")
    assert dict(twins.foreign.gauge) == {}


def test_conditions_of_our_own_are_judged_beside_foreign_ones():
    twins = TWINS["mixed"](0)
    assert pinntk.check(twins.foreign) == []

    @pinntk.boundary(DOMAIN.at(x=0))
    def nothing(x):
        return x - 1

    conditions = [*twins.foreign.conditions, nothing]
    found = pinntk.check(pinntk.Problem(DOMAIN, conditions))
    assert [finding.code for finding in found] == ["independent-condition"]
