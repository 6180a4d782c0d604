"""Kernels of foreign conditions against the oracle, row by row, and against the same problem in pinntk's operators."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch

import pinntk
from pinntk.problem import ForeignCondition, PointSet
from tests.support import reference
from tests.support.foreign import TWINS, Twins, smooth_network


@pytest.fixture(params=TWINS)
def twins(request) -> Twins:
    return TWINS[request.param](0)


def test_errors_are_those_of_the_same_problem_in_pinntk(twins):
    found = pinntk.errors(twins.network, twins.foreign, twins.points)
    expected = reference.errors(twins.network, twins.own, twins.points)
    for name, e in expected.items():
        assert reference.relative(found[name], e) < 1e-13, name


def test_the_kernel_is_that_of_the_oracle_and_of_pinntk(twins):
    K = pinntk.kernel(twins.network, twins.foreign, twins.points)
    assert reference.relative(K.values, reference.kernel(twins.network, twins.own, twins.points)) < 1e-12
    own = pinntk.kernel(twins.network, twins.own, twins.points)
    assert reference.relative(K.values, own.values) < 1e-12
    for name in twins.foreign.foreign:
        assert K.origins[name].path == "graph" or len(twins.points[name]) == 1
    assert own.origins[twins.own.names[0]].path == "taylor"


def test_traces_cross_kernels_and_operators_agree_with_the_kernel(twins):
    K = pinntk.kernel(twins.network, twins.foreign, twins.points)
    for name, trace in pinntk.traces(twins.network, twins.foreign, twins.points).items():
        assert trace == pytest.approx(K.trace(name), rel=1e-12)
    few = {name: rows[::2] for name, rows in twins.points.items()}
    blocks = pinntk.cross_kernel(twins.network, twins.foreign, few, twins.points)
    for (i, j), block in blocks.items():
        assert reference.relative(block, K[i, j][::2]) < 1e-12
    operator = pinntk.KernelOperator(twins.network, twins.foreign, twins.points)
    v = torch.randn(operator.shape[0], dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    assert reference.relative(operator.matvec(v), K.values @ v) < 1e-12


def test_a_copy_has_its_own_kernel_and_the_network_at_home_stays_as_it_is(twins):
    other = deepcopy(twins.network)
    with torch.no_grad():
        for p in other.parameters():
            p.mul_(1.3)
    before = {name: p.clone() for name, p in twins.network.named_parameters()}
    expected = reference.kernel(other, twins.own, twins.points)
    found = pinntk.kernel(other, twins.foreign, twins.points).values
    assert reference.relative(found, expected) < 1e-12
    assert reference.relative(found, reference.kernel(twins.network, twins.own, twins.points)) > 0.1
    for name, p in twins.network.named_parameters():
        assert torch.equal(p, before[name])


def test_another_network_is_refused(twins):
    foreign = {name: twins.points[name] for name in twins.foreign.foreign}
    zero = pinntk.residuals._fields.Zero(len(twins.foreign.fields))
    with pytest.raises(pinntk.problem.ForeignNetworkError, match="or a copy of it"):
        pinntk.errors(zero, twins.foreign, foreign)


def test_rows_that_are_known_to_belong_to_errors_are_taken_as_given():
    """Errors of a few points from one batch of all of them, in another order."""
    twins = TWINS["mixed"](0)
    domain, network = twins.foreign.domain, twins.network
    every = torch.linspace(0, 1, 6, dtype=torch.float64).unsqueeze(1)

    def errors(other, points):
        u = other(every.flip(0)).squeeze(1)
        return u[5 - points[:, 1].long()] ** 2

    def owners(points):
        found = torch.full((6,), -1)
        found[5 - points[:, 1].long()] = torch.arange(len(points))
        return found

    region = pinntk.problem.PointSet(domain, every, {"row": torch.arange(6)})
    problems = [
        pinntk.Problem(domain, [pinntk.problem.ForeignCondition("squares", "data", region, errors, owners=given)])
        for given in (owners, None)
    ]
    points = {"squares": problems[0].sample(dtype=torch.float64)["squares"][[4, 1, 2, 5, 0]]}
    expected = reference.rows(network(every[[4, 1, 2, 5, 0]]).squeeze(1) ** 2, dict(network.named_parameters()))
    for problem in problems:
        K = pinntk.kernel(network, problem, points)
        assert reference.relative(K.values, expected @ expected.T) < 1e-12
        assert K.origins["squares"].path == "graph"


def test_errors_that_are_rounding_are_not_taken_for_mixed_points():
    network, domain = smooth_network(1, 1, width=64), pinntk.Box(x=(0, 1))
    x = torch.tensor([[0.2], [0.9]], dtype=torch.float64)
    seen = torch.cat([network(row) for row in x.split(1)]).detach()
    seen *= 1 + torch.tensor([[2e-16], [0.0]], dtype=torch.float64)  # as met as a training can meet them
    region = PointSet(domain, x, {"seen": seen})
    met = ForeignCondition("met", "data", region, lambda net, p: net(p[:, :1])[:, 0] - p[:, 1])
    problem = pinntk.Problem(domain, [met])
    e = pinntk.errors(network, problem, problem.sample(dtype=torch.float64))["met"]
    assert 0 < e.abs().max() < 1e-15
    assert pinntk.kernel(network, problem, problem.sample(dtype=torch.float64)).values.diagonal().min() > 0

    def mixing(net, p):
        return net(p[:, :1])[:, 0] - net(p[:, :1])[:, 0].detach().mean()

    mixed = pinntk.Problem(domain, [ForeignCondition("mixed", "data", region, mixing)])
    with pytest.raises(pinntk.DependentPointsError, match="mixes points"):
        pinntk.kernel(network, mixed, mixed.sample(dtype=torch.float64))
