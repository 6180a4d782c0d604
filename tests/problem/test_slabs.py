"""Problems cut into time slabs: where each condition holds, and what cannot be cut."""

import warnings

import numpy as np
import pytest
import torch

import pinntk
from pinntk import Box, Problem, boundary, data, initial, periodic, residual
from pinntk.problem import Faces, GridSolution, Measurements, PeriodicPair
from pinntk.problem._slabs import points_within, restricted, slab_edges, slab_start

PLANE = Box(t=(0, 1), x=(0, 2))
TIMES = [0.0, 0.25, 0.3, 0.5, 0.9, 1.0]


@residual(PLANE)
def heat(u_t, u_xx):
    return u_t - u_xx


@initial(PLANE.at(t=0))
def start(u, x):
    return u - x


@boundary(PLANE.ends("x"))
def walls(u):
    return u


@data(PLANE, [[t, 1.0] for t in TIMES], seen=np.arange(6.0))
def readings(u, seen):
    return u - seen


def refused(message, *conditions, domain=PLANE, slabs=2, **settings):
    with pytest.raises(ValueError, match=message):
        slab_edges(Problem(domain, conditions, **settings), slabs)


def test_equal_slabs_end_where_the_problem_does():
    problem = Problem(Box(t=(0.1, 0.7), x=(0, 1)), [residual(Box(t=(0.1, 0.7), x=(0, 1)))(heat.operator), moved(start, 0.1)])
    edges = slab_edges(problem, 3)
    assert edges[0] == 0.1 and edges[-1] == 0.7 and edges == pytest.approx((0.1, 0.3, 0.5, 0.7))
    assert slab_edges(problem, (0.1, 0.6, 0.7)) == (0.1, 0.6, 0.7)
    assert slab_edges(problem, 1) == (0.1, 0.7)
    assert slab_edges(problem, np.int64(2)) == slab_edges(problem, np.array([0.1, 0.4, 0.7])) == (0.1, 0.4, 0.7)


def moved(condition, t):
    return initial(Box(t=(0.1, 0.7), x=(0, 1)).at(t=t))(condition.operator)


@pytest.mark.parametrize(
    "slabs",
    [0, -1, True, 2.5, "four", (0.0, 1.0, 0.5), (0.0, 0.5), (0.5, 1.0), (0.0, 0.5, 0.5, 1.0), (1.0, 0.5, 0.0), (0.0,), ()],
    ids=str,
)
def test_slabs_that_are_none(slabs):
    refused(r"slabs=", heat, start, slabs=slabs)


def test_conditions_hold_on_their_part_of_the_slab():
    @periodic(PLANE.ends("x"))
    def wrap(u):
        return u

    @residual(Box(t=(0, 0.4), x=(0, 1)))
    def early(u, u_t):
        return u_t + u

    @boundary(PLANE.at(t=0, x=0) | PLANE.at(x=2))
    def corner(u):
        return u

    problem = Problem(PLANE, [heat, start, walls, readings, wrap, early, corner])
    first, second, last = (restricted(problem, number, (0.0, 0.25, 0.5, 1.0)) for number in range(3))
    box = Box(t=(0.25, 0.5), x=(0, 2))
    assert second.domain == second["heat"].region == box
    assert second["start"].region == box.at(t=0.25)
    assert second["walls"].region == box.ends("x")
    assert second["wrap"].region == PeriodicPair(box, 1)
    assert second["early"].region == Box(t=(0.25, 0.4), x=(0, 1))
    assert first["corner"].region == Faces(first.domain, (((0, 0.0), (1, 0.0)), ((1, 2.0),)))
    assert second["corner"].region == box.at(x=2)
    assert first.names == second.names == problem.names
    assert last.names == tuple(name for name in problem.names if name != "early")
    for part in (first, second, last):
        part.check(part.sample(residual=20, seed=3))


def test_measurements_belong_to_one_slab_each():
    problem = Problem(PLANE, [heat, start, readings])
    edges = (0.0, 0.25, 0.5, 0.75, 1.0)
    parts = [restricted(problem, number, edges) for number in range(4)]
    seen = [part["readings"].region.columns["seen"].tolist() if "readings" in part.names else [] for part in parts]
    assert seen == [[0.0, 1.0], [2.0, 3.0], [], [4.0, 5.0]]
    assert parts[3]["readings"].region.points[:, 0].tolist() == [0.9, 1.0]
    assert isinstance(parts[0]["readings"].region, Measurements) and "readings" not in parts[2].names


def test_data_that_share_their_points_share_them_in_a_slab():
    other = pinntk.Condition("other", "data", readings.region, lambda u: u)
    part = restricted(Problem(PLANE, [heat, start, readings, other]), 1, (0.0, 0.25, 1.0))
    points = part.sample()
    assert points["readings"] is points["other"] and len(points["other"]) == 4


def test_the_known_solution_is_that_of_the_whole():
    exact = restricted(pinntk.load("convection"), 1, (0.0, 0.5, 1.0))
    assert exact.solution.axes[0][[0, -1]].tolist() == [0.5, 1.0]
    points = exact.domain.sample(20, "uniform", np.random.default_rng(0))
    assert np.array_equal(exact.exact_array(points), pinntk.load("convection").exact_array(points))
    t, x = np.array([0.0, 0.2, 0.5, 0.6]), np.array([0.0, 2.0])
    whole = Problem(PLANE, [heat, start], reference=lambda: GridSolution((t, x), np.arange(8.0).reshape(4, 2)))
    parts = [restricted(whole, number, (0.0, 0.5, 0.7, 1.0)) for number in range(3)]
    assert [part.has_solution for part in parts] == [True, True, False]
    assert parts[0].solution.axes[0].tolist() == [0.0, 0.2, 0.5]
    assert parts[1].solution.axes[0].tolist() == [0.5, 0.6]
    assert parts[1].solution.values[..., 0].tolist() == [[4.0, 5.0], [6.0, 7.0]]


def backward():
    domain = Box(x=(0, 1), t=(0, 1))
    conditions = [residual(domain)(heat.operator), initial(domain.at(t=1))(start.operator)]
    rows = data(domain, [[0.5, t] for t in TIMES], seen=np.arange(6.0))(readings.operator)
    return Problem(domain, [*conditions, rows])


def test_time_may_run_backward():
    problem = backward()
    edges = slab_edges(problem, 2)
    assert edges == (1.0, 0.5, 0.0)
    assert slab_edges(problem, (1.0, 0.9, 0.0)) == (1.0, 0.9, 0.0)
    with pytest.raises(ValueError, match="from t = 1 to t = 0 in this order"):
        slab_edges(problem, (0.0, 0.5, 1.0))
    first, second = (restricted(problem, number, edges) for number in range(2))
    assert first.domain == Box(x=(0, 1), t=(0.5, 1)) and second.domain == Box(x=(0, 1), t=(0, 0.5))
    assert second["start"].region == second.domain.at(t=0.5)
    assert [part["readings"].region.columns["seen"].tolist() for part in (first, second)] == [[3.0, 4.0, 5.0], [0.0, 1.0, 2.0]]


def test_time_may_have_another_name():
    domain = Box(s=(0, 1), x=(0, 1))

    @residual(domain)
    def decay(u, u_s):
        return u_s + u

    @initial(domain.at(s=0))
    def begin(u):
        return u - 1

    problem = Problem(domain, [decay, begin])
    assert restricted(problem, 1, slab_edges(problem, 2))["begin"].region == Box(s=(0.5, 1), x=(0, 1)).at(s=0.5)


def test_an_operator_is_called_with_the_time_that_it_is_written_for():
    @initial(PLANE.at(t=0))
    def start(u, t, x, points):
        return torch.where((t == 0) & (points[:, 0] == 0), u - x * points[:, 1], torch.nan)

    at = slab_start(Problem(PLANE, [heat, start]), 1, (0.0, 0.5, 1.0))
    points = at.sample(initial=5, dtype=torch.float64)
    assert set(points["start"][:, 0].tolist()) == {0.5}
    network = pinntk.nn.MLP(at, width=4, depth=1, dtype=torch.float64)
    expected = network(points["start"])[:, 0] - points["start"][:, 1] ** 2
    assert torch.allclose(pinntk.errors(network, at, points)["start"], expected, rtol=1e-14)


# What cannot be cut.


def test_trained_coefficients_are_refused_and_fixed_ones_are_not():
    with pytest.raises(
        ValueError, match="heat_inverse cannot be cut into time slabs: its coefficient 'kappa' is trained, in each anew"
    ):
        slab_edges(pinntk.load("heat_inverse"), 2)
    problem = pinntk.load("heat_inverse")
    problem.coefficients["kappa"].requires_grad_(False)
    part = restricted(problem, 1, slab_edges(problem, 2))
    assert part.coefficients["kappa"] is problem.coefficients["kappa"]


def test_conditions_that_reach_back_are_refused():
    refused("condition 'end' holds at t = 1, later than the start 0", heat, start, named_end(PLANE.at(t=1)))
    refused("condition 'end' holds at t = 0.5, later", heat, start, named_end(PLANE.at(t=0.5, x=0)))
    refused("condition 'end' is periodic in time", heat, start, named_end(PLANE.ends("t"), periodic))
    refused("condition 'end' holds at t = 1, later", heat, start, named_end(PLANE.at(t=1), initial))
    refused("initial condition 'end' holds on no slice of one time", heat, start, named_end(PLANE.at(x=0), initial))


def named_end(region, kind=boundary):
    def end(u):
        return u

    return kind(region)(end)


def test_problems_without_time_or_start_are_refused():
    with pytest.raises(ValueError, match="poisson1d cannot be cut into time slabs: it has no time"):
        slab_edges(pinntk.load("poisson1d"), 2)
    with pytest.raises(ValueError, match="convection slab_00 cannot be cut into time slabs: it is a slab itself"):
        slab_edges(pinntk.slab(pinntk.load("convection"), 0, 2), 2)
    refused(r"no initial condition that carries values over .*@initial\(domain.at\(t=0\)\)", heat, walls)


def test_what_is_not_carried_over_is_said():
    @residual(PLANE)
    def wave(u_tt, lap_u):
        return u_tt - lap_u

    @initial(PLANE.at(t=0))
    def speed(u_t):
        return u_t

    def warned(*conditions, **settings):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            problem = Problem(PLANE, conditions, **settings)
            slab_edges(problem, 2), slab_edges(problem, 3)
        return [str(warning.message) for warning in caught]

    assert warned(wave, start, speed) == []
    (message,) = warned(wave, start)
    assert message.startswith("problem: no initial condition gives u_t, so it is not carried over from slab to slab")
    (message,) = warned(wave, speed)
    assert "gives u, so" in message

    @residual(PLANE)
    def pressure(u, p_t):
        return p_t - u

    (message,) = warned(heat, start, pressure, fields=("u", "p"))
    assert "gives p, so" in message


# Points of the user's own.


def test_given_points_are_shared_out_by_their_times():
    problem = Problem(PLANE, [heat, start, walls, readings])
    points = dict(problem.sample(residual=40, boundary=8, initial=6, dtype=torch.float64))
    edges = (0.0, 0.55, 0.75, 1.0)
    parts = [points_within(problem, number, edges, points) for number in range(3)]
    for name in ("heat", "walls"):
        together = torch.cat([part[name] for part in parts])
        assert len(together) == len(points[name]) and len(together.unique(dim=0)) == len(points[name].unique(dim=0))
    assert [part["start"][:, 0].unique().tolist() for part in parts] == [[0.0], [0.55], [0.75]]
    assert all(torch.equal(part["start"][:, 1], points["start"][:, 1]) for part in parts)
    assert [len(part.get("readings", ())) for part in parts] == [4, 0, 2]
    for number, part in enumerate(parts):
        restricted(problem, number, edges).check(part)
    assert set(points["start"][:, 0].tolist()) == {0.0}
    early = {**points, "heat": points["heat"][points["heat"][:, 0] < 0.5]}
    with pytest.raises(ValueError, match=r"points\['heat'\] has no rows in slab_01, t in \[0.55, 0.75\]"):
        points_within(problem, 1, edges, early)


def test_what_conditions_share_stays_shared():
    twin = pinntk.Condition("twin", "initial", start.region, lambda u_t: u_t)
    problem = Problem(PLANE, [heat, start, twin])
    points = problem.sample(residual=40, initial=6)
    part = points_within(problem, 1, (0.0, 0.5, 1.0), points)
    assert points["start"] is points["twin"] and part["start"] is part["twin"]
