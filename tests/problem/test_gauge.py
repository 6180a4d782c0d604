"""Fields that are free by a constant: which they are, and errors without it."""

import numpy as np
import pytest
import torch
from torch import cos, nn, pi, sin

import pinntk
from pinntk import Box, Problem, boundary, data, initial, periodic, residual
from pinntk.problem import GridSolution
from pinntk.problem._gauge import Gauge, without

PLANE = Box(x=(0, 1), y=(0, 1))
FLOW = Box(t=(0, 1), x=(0, 1), y=(0, 1))
FIELDS = ("u", "v", "p")


def momentum_x(p_x, lap_u, y):
    return p_x - lap_u - y


def momentum_y(p_y, lap_v):
    return p_y - lap_v


def continuity(u_x, v_y):
    return u_x + v_y


def still(u):
    return u


def level(v):
    return v


def stokes(*more, box=PLANE, **options):
    """Stokes' equations with walls at rest: p is given nowhere."""
    fluid = [residual(box)(operator) for operator in (momentum_x, momentum_y, continuity)]
    conditions = [*fluid, boundary(box.boundary())(still), boundary(box.boundary())(level), *more]
    return Problem(box, conditions, fields=FIELDS, **options)


def corner(p):
    return p


def test_a_pressure_that_no_condition_reads_is_free():
    assert stokes().gauge == {"p": Gauge()}
    assert stokes().up_to == " up to a constant of p"
    assert pinntk.load("kovasznay").gauge == {} and pinntk.load("kovasznay").up_to == ""


@pytest.mark.parametrize(
    "operator",
    [
        lambda p: p - 3,
        lambda p, u: u + 1e-9 * p,
        lambda p, x: p * torch.exp(-20 * x**2),
        lambda p: p.detach(),
        lambda p, u: u * p,
    ],
)
def test_whatever_sees_the_constant_determines_it(operator):
    operator.__name__ = "pin"
    assert stokes(boundary(PLANE.at(x=0))(operator)).gauge == {}


def test_operators_that_read_a_field_and_do_not_see_its_constant():
    """It is found by calling them: arguments by themselves do not tell."""

    def unused(p, u):
        return u + 0 * p

    def gap(p):
        return p

    def square(p):
        return p**2

    ends, pair = boundary(PLANE.ends("x")), periodic(PLANE.ends("x"))
    assert stokes(ends(unused)).gauge == stokes(pair(gap)).gauge == {"p": Gauge()}
    assert stokes(pair(square)).gauge == {}


def test_operators_that_cannot_be_called_with_random_values_count_as_seeing():
    def strict(p, u):
        if bool((p.abs() < 1e9).any()):
            raise ValueError("not a pressure")
        return u

    def root(p_x, rho):  # of negative numbers it has none
        return torch.sqrt(rho) * p_x

    assert stokes(boundary(PLANE.at(x=0))(strict)).gauge == {}
    rest = [residual(PLANE)(root), boundary(PLANE.at(x=0))(lambda rho: rho - 1)]
    assert Problem(PLANE, rest, fields=("rho", "p")).gauge == {"p": Gauge()}


def test_one_reading_in_many_determines_it():
    places = np.random.default_rng(0).random((500, 2))
    known = (np.arange(500) == 77).astype(float)

    @data(PLANE, places, seen=np.ones(500), known=known)
    def readings(p, u, seen, known):
        return known * (p - seen) + (1 - known) * u

    assert stokes(readings).gauge == {}


def test_where_all_fields_are_free_a_condition_is_missing():
    box = Box(x=(0, 1))

    def slope(u_x, v_x):
        return u_x - v_x

    def alone(u_x):
        return u_x - 1

    assert Problem(box, [residual(box)(slope)], fields=("u", "v")).gauge == {}
    assert Problem(box, [residual(box)(alone)]).gauge == {}
    unread = Problem(box, [residual(box)(lambda u, u_x: u_x - u)], fields=("u", "w"))
    assert unread.gauge == {}  # w is no constant: no condition reads it at all


def test_a_function_of_time():
    def start(p):
        return p

    def compressible(p_t, u_x, v_y):
        return p_t + u_x + v_y

    assert stokes(box=FLOW).gauge == {"p": Gauge(0)}
    assert stokes(box=FLOW).up_to == " up to a function of t in p"
    assert stokes(initial(FLOW.at(t=0))(start), box=FLOW).gauge == {"p": Gauge(0, (0.0,))}
    assert stokes(residual(FLOW)(compressible), box=FLOW).gauge == {"p": Gauge()}
    assert stokes(boundary(FLOW.at(x=0))(corner), box=FLOW).gauge == {}


class Flow(nn.Module):
    """u = sin(pi x) cos(pi y), v = 0, p = cos(pi x) + added(t), with an error of `off` sin(pi y) in p."""

    def __init__(self, added=lambda t: 0 * t, off=0.0):
        super().__init__()
        self.added, self.off = added, off

    def forward(self, points):
        t = points[:, 0] if points.shape[1] > 2 else 0 * points[:, 0]
        x, y = points[:, -2], points[:, -1]
        u = sin(pi * x) * cos(pi * y)
        return torch.stack([u, 0 * u, cos(pi * x) + self.added(t) + self.off * (sin(pi * y) - 2 / pi)], 1)


def solution(shift):
    return lambda x, y: (sin(pi * x) * cos(pi * y), 0 * x, cos(pi * x) + shift)


@pytest.mark.parametrize("shift", [0.0, 7.0, -1e5])
def test_errors_do_not_depend_on_a_free_constant(shift):
    free, pinned = stokes(exact=solution(shift)), stokes(boundary(PLANE.at(x=0, y=0))(corner), exact=solution(shift))
    expected = (0.1**2 * (0.5 - 4 / pi**2) / (0.25 + 0.5)) ** 0.5
    for added in (0.0, 30.0):
        network = Flow(lambda t, c=added: 0 * t + c, off=0.1)
        assert free.relative_error(network) == pytest.approx(expected, rel=0.01)
        assert free.relative_error_by_field(network)["p"] == pytest.approx(expected * 1.5**0.5, rel=0.01)
        if added != shift:
            assert pinned.relative_error(network) > 0.9  # where the constant is given it counts


def test_errors_of_a_problem_that_is_determined_are_what_they_were_to_the_bit():
    problem = pinntk.load("kovasznay")
    network = pinntk.nn.MLP(problem, width=8, depth=1)
    truth = problem.solution.values.reshape(-1, 3)
    off, scale = ((problem.predict(network, problem.solution_points) - truth) ** 2).sum(0), (truth**2).sum(0)
    assert problem.relative_error(network) == float(np.sqrt(off.sum() / scale.sum()))
    values = np.ones((3, 3))
    assert problem.counted(values) is values


def test_errors_do_not_depend_on_a_free_function_of_time():
    def exact(t, x, y):
        return sin(pi * x) * cos(pi * y), 0 * x, cos(pi * x) + torch.exp(3 * t)

    problem = stokes(box=FLOW, exact=exact)
    expected = (0.1**2 * (0.5 - 4 / pi**2) / (0.25 + 0.5)) ** 0.5
    assert problem.relative_error(Flow(lambda t: sin(9 * t) + 4, off=0.1)) == pytest.approx(expected, rel=0.05)
    axes = (np.linspace(0, 1, 5), np.linspace(0, 1, 30), np.linspace(0, 1, 20))
    t, x, y = np.meshgrid(*axes, indexing="ij")
    values = np.stack([np.sin(np.pi * x) * np.cos(np.pi * y), 0 * x, np.cos(np.pi * x) + np.exp(3 * t)], -1)
    on_grid = stokes(box=FLOW, reference=lambda: GridSolution(axes, values))
    assert on_grid.relative_error(Flow(lambda t: sin(9 * t) + 4, off=0.1)) == pytest.approx(expected, rel=0.15)
    assert on_grid.relative_error(Flow(lambda t: sin(9 * t) + 4)) < 1e-12


def test_times_at_which_a_condition_sees_it_keep_their_mean():
    t = torch.tensor([0.0, 1.0, 2.0], dtype=torch.float64).repeat_interleave(4)
    values = torch.tensor([1.0, -1.0, 2.0, -2.0], dtype=torch.float64).repeat(3) + 5 + t
    left = without(Gauge(0, (0.0,)), values, t[:, None])
    assert left[:4].mean() == 5 and left[4:8].mean() == left[8:].mean() == 0


def test_at_scattered_times_a_smooth_function_is_taken_off():
    rng = np.random.default_rng(0)
    t, x = torch.as_tensor(rng.random((2, 400)))
    rough = sin(40 * x)
    left = without(Gauge(0), rough + torch.exp(3 * t), torch.stack([t, x], 1))
    assert float((left - (rough - rough.mean())).norm() / rough.norm()) < 0.25
    assert float(without(Gauge(0), torch.exp(3 * t), t[:, None]).norm()) < 1e-6


def test_a_network_that_has_blown_up_has_an_infinite_error():
    class Infinite(nn.Module):
        def forward(self, points):
            return torch.full((len(points), 3), float("inf"))

    assert stokes(exact=solution(0.0)).relative_error(Infinite()) == float("inf")
