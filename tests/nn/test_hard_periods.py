"""Periodic conditions that a network meets by construction, and what contradicts them."""

import pytest
import torch
from torch import pi, sin

import pinntk
from pinntk import Box, Problem, boundary, initial, periodic, residual
from pinntk.nn import MLP
from pinntk.nn._embeddings import Periodic, bernoulli
from pinntk.taylor import Basis, Jet
from tests.support.constrained import F64, SMALL, largest, quietly


def wave_train(start, slope=True, curvature=False):
    domain = Box(t=(0, 1), x=(-1, 2))

    @residual(domain)
    def equation(u_t, u_xx):
        return u_t - u_xx

    @initial(domain.at(t=0))
    def begin(u, x):
        return u - start(x)

    @periodic(domain.ends("x"))
    def wrap(u):
        return 3 * u

    @periodic(domain.ends("x"))
    def wrap_slope(u_x, u_t, t):
        return t * u_x * u_t

    @periodic(domain.ends("x"))
    def wrap_curvature(u_xx):
        return u_xx

    return Problem(domain, [equation, begin, wrap] + [wrap_slope] * slope + [wrap_curvature] * curvature)


def derivatives(network, x, order=3):
    jet = network(Jet.seed(Basis.spanning([(0, order)], 2), torch.tensor([[0.4, x]], **F64)))
    return [jet.derivative((0, k)).item() for k in range(order + 1)]


def test_a_smooth_start_repeats_with_all_derivatives():
    problem = wave_train(lambda x: sin(2 * pi * x / 3), slope=False)
    network = MLP(problem, **SMALL, hard="auto")
    assert network.hard == ("begin", "wrap")
    assert derivatives(network, -1.0) == pytest.approx(derivatives(network, 2.0), rel=1e-12)
    assert MLP(problem, **SMALL, hard="auto").dense.weights[0].shape[1] == 3  # t, cosine, sine


def test_a_start_with_a_kink_at_the_seam_leaves_slopes_free():
    problem = wave_train(lambda x: (x + 1) * (2 - x), slope=False)
    network = MLP(problem, **SMALL, hard="auto")
    assert network.hard == ("begin", "wrap")
    assert network.dense.weights[0].shape[1] == 4
    left, right = derivatives(network, -1.0), derivatives(network, 2.0)
    assert left[0] == pytest.approx(right[0], rel=1e-14)
    inner = MLP(problem, **SMALL, hard="wrap")
    left, right = derivatives(inner, -1.0), derivatives(inner, 2.0)
    assert left[0] == right[0]
    assert abs(left[1] - right[1]) > 0.1


def test_conditions_that_are_not_asked_for_stay_within_reach():
    problem = wave_train(lambda x: sin(2 * pi * x / 3), slope=True)
    network = MLP(problem, **SMALL, hard="wrap")
    assert network.hard == ("wrap",)
    assert largest(network, problem, ["wrap", "wrap_slope"])["wrap_slope"] > 1e-3
    both = MLP(problem, **SMALL, hard=("wrap", "wrap_slope"))
    assert max(largest(both, problem).values()) < 1e-13
    third = wave_train(lambda x: sin(2 * pi * x / 3), slope=True, curvature=True)
    network = MLP(third, **SMALL, hard=("wrap", "wrap_slope"))
    found = largest(network, third, ["wrap", "wrap_slope", "wrap_curvature"])
    assert max(found["wrap"], found["wrap_slope"]) < 1e-13 < 1e-3 < found["wrap_curvature"]


def test_a_start_that_contradicts_the_period_is_left_with_a_warning():
    problem = wave_train(lambda x: (x + 1) * (2 - x))
    with pytest.warns(
        UserWarning, match=r"condition 'begin' is left to training.* as 'wrap_slope' asks for: .* 3 at x = -1 and -3"
    ):
        network = MLP(problem, **SMALL, hard="auto")
    assert network.hard == ("wrap", "wrap_slope")
    with pytest.raises(ValueError, match="'begin' cannot be met by construction: what it prescribes does not repeat in x"):
        MLP(problem, **SMALL, hard=("begin", "wrap", "wrap_slope"))
    network = MLP(problem, **SMALL, hard=("begin", "wrap"))  # one that repeats less smoothly can have both
    assert max(largest(network, problem).values()) < 1e-14


def test_harmonics_of_the_users_are_kept():
    problem = pinntk.load("convection")
    network = MLP(problem, **SMALL, hard="auto", periodic={"x": 3})
    assert network.dense.weights[0].shape[1] == 7
    assert network.hard == ("start", "wrap")
    assert network.config["periodic"] == {"x": 3}
    with pytest.raises(ValueError, match="'walls' cannot be met by construction: the network repeats in x, and with a factor"):
        MLP(pinntk.load("burgers"), **SMALL, hard="walls", periodic="x")


def test_all_fields_have_to_repeat():
    domain = Box(x=(0, 1), y=(0, 1))

    @periodic(domain.ends("x"))
    def wrap(u):
        return u

    @periodic(domain.ends("x"))
    def wrap_pressure(p_y):
        return p_y

    problem = Problem(domain, [wrap, wrap_pressure], fields=("u", "p"))
    assert quietly(problem).hard == ()
    with pytest.raises(ValueError, match="for all fields alike, and no condition asks that of the value of 'p'"):
        MLP(problem, **SMALL, hard="wrap")


def test_other_quantities_that_do_not_repeat():
    domain = Box(x=(0, 1), y=(0, 1))

    @periodic(domain.ends("x"))
    def wrap(u):
        return u

    @periodic(domain.ends("x"))
    def shifted(u, x):
        return u + x

    @boundary(domain.at(x=0))
    def wall(u):
        return u

    with pytest.raises(ValueError, match="'shifted' takes x, which differs between the two faces"):
        MLP(Problem(domain, [wrap, shifted]), **SMALL, hard="wrap")
    network = quietly(Problem(domain, [wrap, wall]))
    assert network.hard == ("wall",)
    assert network.soft == {"wrap": "'wall' prescribes values where x ends"}


@pytest.mark.parametrize("k", [0, 1, 2])
def test_the_polynomial_of_a_seam(k):
    coefficients, size = bernoulli(k + 2)
    s = (torch.arange(20000, **F64) + 0.5) / 20000
    values = sum(c * s**power for power, c in enumerate(reversed(coefficients)))
    assert abs(values.mean()) < 1e-8
    assert abs(values.square().mean().sqrt() - size) < 1e-8
    embedding = Periodic(torch.tensor([[0.0, 1.0], [-1.0, 2.0]], **F64), {1: 2}, 1.0, {1: k})
    low, high = (embedding(Jet.seed(Basis.spanning([(0, k + 1)], 2), torch.tensor([[0.3, x]], **F64))) for x in (-1.0, 2.0))
    assert low.shape == (1, embedding.features) == (1, 6)
    for order in range(k + 1):
        assert torch.equal(low.derivative((0, order)), high.derivative((0, order)))
    assert (low.derivative((0, k + 1)) - high.derivative((0, k + 1))).abs().max() > 1
