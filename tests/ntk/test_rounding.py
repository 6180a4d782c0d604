"""A kernel is zero where it is rounding of its own size; in other units it is not."""

from math import pi

import pytest
import torch
from torch import nn

import pinntk
from pinntk import Box, Problem, boundary, residual
from pinntk.diagnostics import balance, estimate
from pinntk.ntk._rounding import vanishing
from pinntk.residuals import check_network

DTYPES = (torch.float32, torch.float64)


def short(length=1e-3) -> Problem:
    """A domain in meters whose length is a millimeter: u_xx is 1e6 times u, and its kernel 1e12 times that."""
    domain = Box(x=(0, length))

    @residual(domain)
    def poisson(u_xx, x):
        return u_xx + (pi / length) ** 2 * torch.sin(pi * x / length)

    @boundary(domain.ends("x"))
    def ends(u):
        return u

    return Problem(domain, [poisson, ends], exact=lambda x: torch.sin(pi * x / length))


class Built(nn.Module):
    """factor(x) N(x)."""

    def __init__(self, problem, factor, dtype):
        super().__init__()
        self.network, self.factor = pinntk.nn.MLP(problem, width=8, depth=2, dtype=dtype), factor

    def forward(self, x):
        return self.factor(x) * self.network(x)


def measured(network, problem):
    points = problem.sample(residual=20, boundary=2, dtype=next(network.parameters()).dtype)
    return points, vanishing(network, problem, points, pinntk.traces(network, problem, points))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("factor", [lambda x: x * (1 - x), lambda x: torch.sin(pi * x)], ids=("polynomial", "sine"))
def test_conditions_that_are_met_by_construction_vanish(factor, dtype):
    problem = short(1.0)
    network = Built(problem, factor, dtype)
    points, none = measured(network, problem)
    assert none == {"ends"}
    assert balance(network, problem, points).dependent == {"poisson"}
    assert estimate(network, problem, points).gain["ends"] == 0


@pytest.mark.parametrize("dtype", DTYPES)
def test_conditions_in_other_units_do_not(dtype):
    problem = short(1e-4)
    network = pinntk.nn.MLP(problem, width=16, depth=2, dtype=dtype)
    points, none = measured(network, problem)
    traces = pinntk.traces(network, problem, points)
    assert traces["ends"] < 1e-12 * traces["poisson"] and none == set()
    assert balance(network, problem, points).imbalance > 1e12
    assert estimate(network, problem, points).gain["ends"] > 0


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("length", [0.1, 1e-4, 10.0])
def test_a_sine_that_vanishes_at_a_point_that_is_rounded_is_rounding(length, dtype):
    """0.1 in float32 is 0.1 + 1.5e-9, and the sine there is as large in float64."""
    problem = short(length)
    network = Built(problem, lambda x: torch.sin(pi / length * x), dtype)
    assert measured(network, problem)[1] == {"ends"}


@pytest.mark.parametrize("factor", [0.1, 1e-3])
def test_roundings_up_to_a_ten_thousandth_of_the_sum_are_seen(factor):
    """In float32, beside an equation with a small coefficient."""
    domain = Box(x=(0, 100))

    @residual(domain)
    def decay(u, u_x):
        return factor * (u_x + u)

    @boundary(domain.ends("x"))
    def ends(u):
        return u

    problem = Problem(domain, [decay, ends])
    network = Built(problem, lambda x: torch.sin(pi * x), torch.float32)
    points, none = measured(network, problem)
    traces = pinntk.traces(network, problem, points)
    assert 1e-12 < traces["ends"] / traces["decay"] < 1e-4 and none == {"ends"}
    with pytest.warns(UserWarning, match="ends does not depend on the parameters"):
        run = pinntk.train(problem, network, steps=1, points={"residual": 20}, weighting="ntk", progress=False)
    assert run.weights["ends"] == 1


def test_what_cannot_be_copied_counts_as_before():
    class Locked(Built):
        def __deepcopy__(self, memo):
            raise TypeError("not this one")

    problem = short(1e-4)
    assert measured(Locked(problem, lambda x: 1, torch.float64), problem)[1] == {"ends"}


def test_training_is_the_same_in_meters_as_in_millimeters():
    """Without a false reason for a weight of 1, and without a warning."""
    errors = {}
    for length in (1.0, 1e-4):
        problem = short(length)
        network = pinntk.nn.MLP(problem, width=12, depth=1, dtype=torch.float64)
        pinntk.train(problem, network, optimizer="gauss-newton", steps=20, points={"residual": 40}, progress=False)
        errors[length] = problem.relative_error(network)
    assert errors[1e-4] < 1e-3 and errors[1e-4] < 100 * errors[1.0]


@pytest.mark.parametrize("optimizer", ["adam", "gauss-newton"])
def test_users_hard_constraints_keep_weight_one_and_are_named(optimizer):
    problem = short(1.0)
    network = Built(problem, lambda x: torch.sin(pi * x), torch.float64)
    settings = {"steps": 2, "points": {"residual": 20}, "weighting": "ntk", "progress": False}
    with pytest.warns(UserWarning, match="ends does not depend on the parameters"):
        run = pinntk.train(problem, network, optimizer=optimizer, **settings)
    assert run.weights["ends"] == 1


def test_errors_that_cancel_to_rounding_mix_no_points():
    """Pascals: 1e11 (u_x - 1) of a network that has learned u_x = 1 is rounding of 1e11."""
    domain = Box(x=(0, 1))

    @residual(domain)
    def stress(u_x):
        return 1e11 * (u_x - 1)

    class Line(nn.Module):
        """Its rounding depends on the batch, as that of matrix products does."""

        def __init__(self):
            super().__init__()
            self.slope = nn.Parameter(torch.ones(1, dtype=torch.float64))

        def forward(self, x):
            return self.slope * x * (1 + 2.3e-16 * len(x))

    problem = Problem(domain, [stress])
    check_network(Line(), problem, problem.sample(residual=50, dtype=torch.float64))
