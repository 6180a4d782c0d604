"""Values and slopes of all kinds on faces of a box, met by construction."""

import pytest
import torch
from torch import cos, exp, sin

import pinntk
from pinntk import Box, Problem, boundary, initial, residual
from pinntk.nn import MLP
from tests.support import reference
from tests.support.constrained import F64, SMALL, largest, rise


def cube(exact, d=3, **settings):
    """A problem with the values of a function on all faces of a box of different sides."""
    domain = Box(**{f"x{i}": (-0.5 * i, 1.0 + i) for i in range(1, d + 1)})

    @residual(domain)
    def inside(lap_u):
        return lap_u

    @boundary(domain.boundary())
    def walls(u, points):
        return settings.get("factor", 1.0) * (u - exact(points))

    return Problem(domain, [inside, walls])


@pytest.mark.parametrize("d", [1, 2, 3, 4])
def test_values_on_all_faces_of_a_box(d):
    problem = cube(lambda points: sin(points).prod(1) + cos(points @ torch.arange(1.0, 1 + points.shape[1]).to(points)), d)
    network = MLP(problem, **SMALL, hard="auto")
    assert network.hard == ("walls",)
    assert largest(network, problem)["walls"] < 1e-14
    points = problem.sample(inside=8, seed=1, **F64)
    taylor, slow = pinntk.errors(network, problem, points, "taylor"), reference.errors(network, problem, points)
    assert torch.allclose(taylor["inside"], slow["inside"], rtol=1e-12, atol=1e-12)


def test_a_function_that_transfinite_interpolation_reproduces():
    """Sums of functions of all coordinates but one: the offset is the function itself, in the whole domain."""
    problem = cube(lambda points: sin(points[:, 0]) * exp(points[:, 1]) + cos(points[:, 1] * points[:, 2]) + points[:, 2], 3)
    network = MLP(problem, **SMALL, hard="auto")
    points = torch.as_tensor(problem.domain.grid((4, 5, 6)))
    offset = network.constraint.offset(points)[:, 0]
    expected = sin(points[:, 0]) * exp(points[:, 1]) + cos(points[:, 1] * points[:, 2]) + points[:, 2]
    assert torch.allclose(offset, expected, rtol=1e-13, atol=1e-13)


@pytest.mark.slow
def test_many_faces_are_met_where_they_are_asked_for_by_name():
    problem = pinntk.load("poisson_nd")
    network = MLP(problem, **SMALL, hard=("walls",))
    assert largest(network, problem, n=10)["walls"] < 1e-13
    with pytest.raises(ValueError, match=r"evaluated 2186 times in every pass of the network, at most 1000; leave it out"):
        MLP(pinntk.load("poisson_nd", d=7), **SMALL, hard=("walls",))
    network = MLP(pinntk.load("poisson_nd", d=60), **SMALL, hard="auto")  # at once
    assert "evaluated 4e+28 times" in network.soft["walls"]


def test_one_value_everywhere_is_met_in_any_dimension():
    domain = Box.cube(12)  # 531,440 corners, edges and faces are not looked at

    @boundary(domain.boundary())
    def walls(u):
        return 2 * u - 6

    problem = Problem(domain, [walls])
    network = MLP(problem, **SMALL, hard="auto")
    assert network.constraint.offset(torch.rand(2, 12)) == 3
    assert largest(network, problem, n=8)["walls"] == 0


def test_a_factor_that_differs_from_point_to_point():
    domain = Box(x=(0, 1), y=(0, 2))

    @boundary(domain.ends("x"))
    def sides(u, y):
        return (1 + y) * u - sin(3 * y)

    @boundary(domain.at(y=0))
    def floor(u, x):
        return 0.3 * (u - x * (1 - x))

    problem = Problem(domain, [sides, floor])
    network = MLP(problem, **SMALL, hard="auto")
    assert network.hard == ("sides", "floor")
    assert max(largest(network, problem).values()) < 1e-15


def test_start_and_velocity_beside_walls_that_move():
    """u = sin(t) (1 + x) + x^2: the walls' own velocity is that of the start where they meet."""
    domain = Box(x=(0, 2), t=(0, 3))

    @boundary(domain.ends("x"))
    def walls(u, t, x):
        return u - sin(t) * (1 + x) - x**2

    @initial(domain.at(t=0))
    def velocity(u_t, x):
        return 4 * u_t - 4 * (1 + x)

    @initial(domain.at(t=0))
    def start(x, u):
        return x**2 - u

    problem = Problem(domain, [walls, velocity, start])
    network = MLP(problem, **SMALL, hard="auto")
    assert network.hard == ("walls", "velocity", "start")
    assert max(largest(network, problem).values()) < 1e-14
    points = torch.rand(9, 2, **F64)
    x, t = points.T
    assert torch.allclose(network.constraint.factor(points)[:, 0], x * (2 - x) * rise(t / 3), rtol=1e-14)
    with pytest.raises(
        ValueError, match="'velocity' cannot be met by construction: it prescribes a slope where no value is met"
    ):
        MLP(problem, **SMALL, hard=("walls", "velocity"))


def test_values_and_slopes_at_both_ends():
    domain = Box(x=(1, 3))
    conditions = []
    for name, operator, end in (
        ("left", lambda u: u - 1, 1),
        ("left_slope", lambda u_x: u_x - 2, 1),
        ("right", lambda u: u + 3, 3),
        ("right_slope", lambda u_x: u_x + 4, 3),
    ):
        operator.__name__ = name
        conditions.append(boundary(domain.at(x=end))(operator))
    problem = Problem(domain, conditions)
    network = MLP(problem, **SMALL, hard="auto")
    assert network.hard == problem.names
    assert max(largest(network, problem, n=2).values()) < 1e-13
    middle = torch.tensor([[2.0]], **F64)
    assert network.constraint.factor(middle).item() == 1  # its maximum
    assert network.constraint.offset(middle).item() == pytest.approx((1 - 3) / 2 + 2 * (2 + 4) / 8)  # of Hermite's cubic


def test_time_may_run_backward_and_have_any_name():
    domain = Box(s=(0, 2), x=(0, 1))

    @residual(domain)
    def heat(u_s, u_xx):
        return u_s + u_xx

    @initial(domain.at(s=2))
    def end(u, x):
        return u - x

    problem = Problem(domain, [heat, end])
    network = MLP(problem, **SMALL, hard="auto")
    assert largest(network, problem)["end"] == 0
    assert network.constraint.factor(torch.tensor([[0.5, 0.3]], **F64)).item() == 0.75
