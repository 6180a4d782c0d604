"""Warnings of the library name the line of the user's that called it."""

import warnings

import pytest
import torch

import pinntk
from tests.support.network_types import Then
from tests.support.residual_styles import mlp

DOMAIN = pinntk.Box(t=(0, 1), x=(0, 1))
PROBLEM = pinntk.Problem(DOMAIN, [pinntk.residual(DOMAIN)(lambda u_t, u_xx: u_t - u_xx)])
CALLS = {
    "kernel": lambda network, points: pinntk.kernel(network, PROBLEM, points),
    "errors": lambda network, points: pinntk.errors(network, PROBLEM, points),
    "operator": lambda network, points: pinntk.KernelOperator(network, PROBLEM, points),
    "train": lambda network, points: pinntk.train(PROBLEM, network, steps=1, points=points),
    "solver": lambda network, points: pinntk.solvers.GaussNewton(network, PROBLEM).step(points),
}


@pytest.mark.parametrize("name", CALLS)
def test_the_line_that_called_is_named(name):
    network = torch.nn.Sequential(mlp(), Then(lambda s, h: torch.cumsum(h, 1), torch.nn.Identity()))
    points = PROBLEM.sample(residual=8, seed=0, dtype=torch.float64)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        CALLS[name](network, points)
    told = [warning for warning in caught if "nested reverse-mode" in str(warning.message)]
    assert [warning.filename for warning in told] == [__file__]
