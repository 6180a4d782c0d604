"""Fields, data and precision measured, each on a healthy pair of network and problem and on a failing one."""

from copy import deepcopy
from math import pi, sqrt

import pytest
import torch
from torch import nn

import pinntk
from pinntk.diagnostics import input_scale, layers, output_scale, precision_floor, trivial, undetermined
from tests.support.small_problems import LINE, PLANE, diffusion, equation, heat, mlp, poisson, sample


class Sine(nn.Module):
    """u = a sin(pi x) + b, which solves `poisson` with a = 1, b = 0."""

    def __init__(self, a: float = 1.0, b: float = 0.0, dtype: torch.dtype = torch.float64):
        super().__init__()
        self.a, self.b = (nn.Parameter(torch.tensor(value, dtype=dtype)) for value in (a, b))

    def forward(self, x):
        return self.a * torch.sin(pi * x) + self.b


def test_sizes_of_fields_and_errors():
    problem = poisson()
    found = output_scale(Sine(0.25), problem, sample(problem))
    assert found.network["u"] == pytest.approx(0.25 / sqrt(2), rel=0.01)
    assert found.solution["u"] == pytest.approx(1 / sqrt(2), rel=0.01)
    assert found.data["equation"] == pytest.approx(pi**2 / sqrt(2), rel=0.02)
    assert found.relative["equation"] == pytest.approx(0.75)
    assert found.data["left"] == 0 and found.relative["left"] != found.relative["left"]  # homogeneous: NaN
    assert output_scale(Sine(0.0), problem, sample(problem)).relative["equation"] == pytest.approx(1)
    unknown = output_scale(mlp(diffusion()), diffusion(), sample(diffusion()))
    assert unknown.solution is None
    assert unknown.data["start"] == pytest.approx(5 / sqrt(2), rel=0.02)


def test_data_that_are_zero_to_rounding_are_homogeneous():
    @pinntk.boundary(LINE.ends("x"))
    def ends(u, x):
        return u - torch.sin(pi * x)

    for dtype in (torch.float32, torch.float64):
        problem = poisson(equation, ends)
        points = problem.sample(dtype=dtype)
        found = output_scale(Sine(b=0.1, dtype=dtype), problem, points)
        assert 0 < found.data["ends"] < 1e-6
        assert found.relative["ends"] != found.relative["ends"]


def test_a_constant_output_is_told_from_a_solution():
    problem = poisson()
    assert trivial(Sine(), problem, sample(problem))["u"].ratio == pytest.approx(1, rel=0.02)
    failing = trivial(Sine(1e-3, 0.5), problem, sample(problem))["u"]
    assert failing.ratio == pytest.approx(1e-3, rel=0.02)
    assert failing.mean == pytest.approx(0.5, abs=0.01)


def test_without_a_solution_the_data_give_the_scale():
    problem = diffusion()
    network = mlp(problem)
    found = trivial(network, problem, sample(problem))["u"]
    assert found.scale == pytest.approx(5 / sqrt(2), rel=0.02)  # of `start`; that of `walls` is 0
    with torch.no_grad():
        network.dense.weights[-1].zero_()
    assert trivial(network, problem, sample(problem))["u"].ratio == 0

    @pinntk.boundary(PLANE.ends("x"))
    def flux(u, u_x):
        return u_x - u - 1

    slopes = diffusion(heat, flux)  # no condition asks for values alone
    found = trivial(mlp(slopes), slopes, sample(slopes))["u"]
    assert (found.scale, found.ratio) == (None, None)


# precision


def test_a_network_that_solves_the_problem_is_at_the_floor_of_its_precision():
    problem = poisson()
    points = sample(problem)
    exact = precision_floor(Sine(dtype=torch.float32), problem, points)["equation"]
    assert 0.3 < exact.ratio < 3
    assert exact.noise > 1e-8
    off = precision_floor(Sine(1.01, dtype=torch.float32), problem, points)["equation"]
    assert off.ratio < 1e-4
    assert off.error == pytest.approx(0.01 * pi**2 / sqrt(2), rel=0.05)
    assert off.noise == pytest.approx(exact.noise, rel=1)
    # In float64 an error of 1e-13 is near the floor, and one of 0.07 far above it.
    assert 0.01 < precision_floor(Sine(1 + 1e-14), problem, points)["equation"].ratio < 1
    assert precision_floor(Sine(1.01), problem, points)["equation"].ratio < 1e-12


def test_precision_and_all_other_measurements_leave_the_network_alone():
    problem = poisson()
    network = mlp(problem, dtype=torch.float32)
    before = deepcopy(network.state_dict())
    points = problem.sample()
    for measure in (layers, output_scale, trivial, precision_floor, undetermined):
        measure(network, problem, points)
    input_scale(network, problem)
    for name, value in network.state_dict().items():
        assert value.dtype == before[name].dtype and torch.equal(value, before[name])
    assert all(parameter.grad is None for parameter in network.parameters())


def test_arguments_in_the_wrong_order_are_named():
    problem = poisson()
    for measure in (layers, precision_floor, undetermined):
        with pytest.raises(TypeError, match=r"\(network, problem, points\)"):
            measure(problem, mlp(problem), sample(problem))
