"""What the conditions leave undetermined, with all of them and with some left out."""

import pytest
import torch

import pinntk
from pinntk.diagnostics import undetermined
from tests.support.small_problems import LINE, diffusion, equation, heat, left, mlp, poisson, right, sample, start, walls


@pytest.mark.parametrize("choices", [{}, {"width": 100, "depth": 1, "parametrization": "ntk"}, {"width": 40, "depth": 4}])
def test_a_missing_boundary_condition_leaves_the_solution_open(choices):
    full = poisson()
    network = mlp(full, **choices)
    healthy = undetermined(network, full, sample(full))["u"]
    assert healthy.share < 2e-3
    assert healthy.rate > 0.9
    for conditions in ([equation, left], [equation]):
        problem = poisson(*conditions)
        failing = undetermined(network, problem, sample(problem))["u"]
        assert failing.share > 0.2
        assert failing.rate < 0.1


def test_the_free_function_is_that_of_the_equation():
    problem = poisson(equation, left)
    found = undetermined(mlp(problem), problem, sample(problem))["u"]
    x = found.points[:, 0]
    assert (found.free - x / x.max()).abs().max() < 0.01  # u_xx = 0, u(0) = 0
    assert (found.deviation[x < 0.01] < 0.02).all() and (found.deviation[x > 0.5] > 0.2).all()


def test_heat_without_initial_values_or_walls():
    shares = {}
    for lacking in (None, start, walls):
        problem = diffusion(*(condition for condition in (heat, start, walls) if condition is not lacking))
        network = mlp(problem, width=100, depth=1, parametrization="ntk")
        shares[lacking and lacking.name] = undetermined(network, problem, sample(problem, 300))["u"]
    assert shares[None].share < 0.005 and shares[None].rate > 0.7
    assert shares["start"].share > 10 * shares[None].share and shares["start"].rate < 0.5
    assert shares["walls"].share > 10 * shares[None].share and shares["walls"].rate < 0.5


def test_a_field_known_up_to_a_constant_is_open_and_the_other_is_not():
    @pinntk.residual(LINE)
    def momentum(p_x, x):
        return p_x - x

    @pinntk.residual(LINE)
    def motion(u_xx, p):
        return u_xx

    def gauge(p):
        return p

    network = None
    found = {}
    for name, extra in {"open": [], "held": [pinntk.boundary(LINE.at(x=0))(gauge)]}.items():
        problem = pinntk.Problem(LINE, [momentum, motion, left, right, *extra], fields=("u", "p"))
        network = network or mlp(problem)
        found[name] = undetermined(network, problem, sample(problem))
    assert found["open"]["p"].share > 0.2 > 0.005 > found["open"]["u"].share
    assert found["held"]["p"].share < 0.005
    assert (found["open"]["p"].free - 1).abs().max() < 0.05


def test_too_few_points_for_a_rough_network_look_alike_until_there_are_more():
    problem = poisson()
    network = mlp(problem, fourier=(32, 1.0))
    few, many = (undetermined(network, problem, sample(problem, n))["u"] for n in (10, 400))
    assert few.share > 0.2
    assert many.share < 0.1 * few.share
    assert undetermined(network, problem, sample(problem, 400), most=10)["u"].share > 0.2


def test_it_is_the_posterior_of_fields_given_the_errors():
    problem = poisson(equation, left)
    network, points = mlp(problem, width=6, depth=1), sample(problem, 12)
    found = undetermined(network, problem, points, tolerance=0.1, samples=16)["u"]
    K = pinntk.kernel(network, problem, points)
    noise = {name: 0.1 * (K.trace(name) / len(points[name])) ** 0.5 for name in points}
    _, std = pinntk.posterior(network, problem, points, noise).field(found.points)

    @pinntk.residual(LINE)
    def value(u):
        return u

    plain = pinntk.Problem(LINE, [value])
    prior = pinntk.kernel(network, plain, {"value": found.points}).diagonal().sqrt()
    assert found.deviation == pytest.approx((std[:, 0] / prior).tolist(), rel=1e-6)
    assert found.share == pytest.approx((std.square().sum() / prior.square().sum()).sqrt().item(), rel=1e-6)


def test_conditions_met_by_construction_and_many_points():
    problem = poisson()
    network = pinntk.nn.HardConstraint(problem, mlp(problem), factor=lambda x: x * (1 - x))
    points = sample(problem, 800)
    found = undetermined(network, problem, points, most=100)["u"]
    assert found.share < 5e-3


@pytest.mark.parametrize("wrong", [{"tolerance": 0.0}, {"tolerance": 1.0}, {"samples": 1}, {"most": 0}])
def test_undetermined_checks_its_arguments(wrong):
    problem = poisson()
    with pytest.raises(ValueError, match=f"{next(iter(wrong))}="):
        undetermined(mlp(problem), problem, sample(problem), **wrong)


def test_a_float32_network_is_measured_as_well():
    full, open_end = poisson(), poisson(equation, left)
    network = mlp(full, dtype=torch.float32)
    assert undetermined(network, full, full.sample())["u"].share < 2e-3
    assert undetermined(network, open_end, open_end.sample())["u"].share > 0.2


def test_a_network_that_has_blown_up_is_refused():
    problem = poisson()
    network = mlp(problem)
    with torch.no_grad():
        network.dense.weights[1][0, 0] = torch.nan
    with pytest.raises(pinntk.NonFiniteError, match=r"condition 'equation'.*has blown up, its parameter 'dense.weights.1'"):
        undetermined(network, problem, sample(problem))
