"""Values on the boundaries of shapes, met by construction."""

import pickle

import numpy as np
import pytest
import torch
from torch import cos, exp, sin

import pinntk
from pinntk import Box, Problem, boundary, initial, residual
from pinntk.geometry import Ball, Cylinder, Disk, Ellipse, Polygon
from pinntk.nn import MLP
from tests.support import reference
from tests.support.constrained import F64, SMALL, largest, quietly
from tests.support.sweeps import sweep

DISK = Disk(x=0.3, y=-0.2, radius=0.7)
CORNER = Polygon([(0, 0), (2, 0), (2, 1), (1, 1), (1, 2), (0, 2)])
SHAPES = {
    "disk": DISK,
    "ball": Ball(x=0, y=0.1, z=0, radius=0.8),
    "ball4": Ball(a=0, b=0.1, c=0, d=0, radius=0.8),
    "ellipse": Ellipse(x=0.1, y=0, radii=(1.5, 0.4), angle=0.4),
    "polygon": CORNER,
    "turned": Polygon([(0, 0), (2, 0.3), (1.7, 1.4), (0.8, 0.6), (-0.5, 1.2)]),
    "holes": Box(x=(-1, 1), y=(-1, 1)) - Disk(x=0.3, y=0.3, radius=0.2) - Ellipse(x=-0.4, y=-0.3, radii=(0.3, 0.1)),
    "bitten": Box(x=(0, 2), y=(0, 1)) - Disk(x=0, y=0, radius=0.5),
    "lens": Disk(x=-0.5, y=0, radius=1) & Disk(x=0.5, y=0, radius=1),
    "pair": Disk(x=-0.5, y=0, radius=1) | Disk(x=0.5, y=0, radius=1),
    "tongue": Box(x=(0, 1), y=(0, 1)) | Disk(x=1, y=0.5, radius=0.3),
    "cylinder": Cylinder(x=0, y=0, z=(0, 2), radius=0.5),
    "hollow": Box(x=(-1, 1), y=(-1, 1), z=(-1, 1)) - Ball(x=0, y=0, z=0, radius=0.5),
}


def smooth(points):
    return sin(points).sum(1) + cos(points @ torch.arange(1.0, 1 + points.shape[1]).to(points))


def problem_on(domain, where=None):
    @residual(domain)
    def inside(lap_u, u):
        return lap_u + u

    @boundary(domain.boundary() if where is None else where)
    def walls(u, points):
        return 2 * (u - smooth(points))

    return Problem(domain, [inside, walls])


@pytest.mark.parametrize("name", sweep(SHAPES, "disk", "polygon", "holes", "cylinder", "hollow"))
def test_values_on_the_whole_boundary(name):
    problem = problem_on(SHAPES[name])
    network = MLP(problem, **SMALL, hard=("walls",))
    assert largest(network, problem)["walls"] < 2e-14
    assert largest(MLP(problem, **SMALL), problem, ["walls"])["walls"] > 0.05
    points = problem.sample(inside=6, walls=3, seed=1, **F64)
    slow = reference.errors(network, problem, points)["inside"]
    for method in ("taylor", "autograd"):
        found = pinntk.errors(network, problem, points, method)["inside"]
        assert (found - slow).abs().max() < 1e-11 * (1 + slow.abs().max())
    factor = network.constraint.factor(problem.sample(inside=500, seed=2, **F64)["inside"])
    assert factor.min() > 0
    assert 0.5 < factor.max() < 1.5


@pytest.mark.parametrize("name", ["holes", "tongue"])
def test_kernels_are_those_of_the_rows(name):
    problem = problem_on(SHAPES[name])
    network = MLP(problem, **SMALL, hard=("walls",))
    points = problem.sample(inside=5, walls=4, seed=3, **F64)
    K, expected = pinntk.kernel(network, problem, points), reference.kernel(network, problem, points)
    assert (K.values - expected).abs().max() < 1e-12 * expected.abs().max()
    assert {origin.path for origin in K.origins.values()} == {"taylor"}
    assert K.trace("walls") < 1e-26 * K.trace("inside")
    errors = pinntk.errors(network, problem, points, "autograd")["inside"]
    rows = [
        torch.cat([g.ravel() for g in torch.autograd.grad(e, list(network.parameters()), retain_graph=True)]) for e in errors
    ]
    J = torch.stack(rows)
    assert (J @ J.T - expected[:5, :5]).abs().max() < 1e-12 * expected.abs().max()


def test_a_disk_has_the_factor_of_its_formula():
    problem = problem_on(DISK)
    network = MLP(problem, **SMALL, hard="auto")
    x, y = points = problem.sample(inside=9, seed=0, **F64)["inside"].T
    d = (0.49 - (x - 0.3) ** 2 - (y + 0.2) ** 2) / 1.4
    factor = network.constraint.factor(points.T)[:, 0]
    ratio = factor / (d / (d**2 + network.constraint.fields[0]._blend._height ** 2).sqrt())
    assert (ratio / ratio[0] - 1).abs().max() < 1e-14
    offset = network.constraint.offset(points.T)[:, 0]
    assert (offset - smooth(points.T)).abs().max() < 1e-14


def test_parts_that_do_not_meet_have_values_of_their_own():
    domain = Disk(x=0, y=0, radius=2) - Disk(x=0.5, y=0, radius=0.5, name="hole")

    @residual(domain)
    def inside(lap_u):
        return lap_u

    @boundary(domain.boundary("hole"))
    def hot(u, x):
        return u - exp(x)

    @boundary(domain.boundary(without="hole"))
    def cold(u, y):
        return 3 * u + y

    problem = Problem(domain, [inside, hot, cold])
    network = MLP(problem, **SMALL, hard="auto")
    assert network.hard == ("hot", "cold")
    assert max(largest(network, problem).values()) < 2e-14
    points = problem.sample(inside=5, seed=1, **F64)["inside"]
    outer, inner = (4 - points.square().sum(1)) / 4, torch.linalg.vector_norm(points - torch.tensor([0.5, 0.0]), dim=1) - 0.5
    height = network.constraint.fields[0]._blend._height
    outer, inner = (d / (d**2 + height**2).sqrt() for d in (outer, inner))
    expected = (exp(points[:, 0]) * outer - points[:, 1] / 3 * inner) / (outer + inner)
    assert torch.allclose(network.constraint.offset(points)[:, 0], expected, rtol=1e-13, atol=1e-13)
    assert largest(MLP(problem, **SMALL, hard="hot"), problem, ["hot"])["hot"] < 1e-14


def test_parts_that_meet_share_a_function_that_has_the_values_of_both():
    """An inflow that is 0 at the walls: it continues as itself, and the cylinder has 0."""
    channel = Box(x=(0, 2), y=(0, 1)) - Disk(x=0.5, y=0.5, radius=0.2, name="cylinder")

    @residual(channel)
    def inside(lap_u):
        return lap_u

    @boundary(channel.boundary("x=0"))
    def inflow(u, y):
        return u - 4 * y * (1 - y)

    @boundary(channel.boundary("y=0", "y=1", "cylinder"))
    def held(u):
        return u

    problem = Problem(channel, [inside, held, inflow])
    network = MLP(problem, **SMALL, hard="auto")
    assert network.hard == ("held", "inflow")
    assert max(largest(network, problem).values()) < 1e-15
    free = torch.tensor([[2.0, 0.3], [2.0, 0.8]], **F64)
    assert (network.constraint.factor(free) > 0.1).all()


def test_shapes_with_time():
    domain = DISK * Box(t=(0, 2))

    @residual(domain)
    def heat(u_t, lap_u):
        return u_t - lap_u

    @initial(domain.at(t=0))
    def start(u, x, y):
        return u - (0.49 - (x - 0.3) ** 2 - (y + 0.2) ** 2)

    @boundary(domain.boundary())
    def rim(u, x, t):
        return u - sin(t) * exp(x) - t * (0.49 - 1)

    problem = Problem(domain, [heat, start, rim])
    network = quietly(problem)
    assert network.hard == ("start", "rim")
    assert max(largest(network, problem).values()) < 1e-14
    points = problem.sample(heat=6, seed=1, **F64)
    slow = reference.errors(network, problem, {"heat": points["heat"]})["heat"]
    assert (pinntk.errors(network, problem, points, "taylor")["heat"] - slow).abs().max() < 1e-12 * slow.abs().max()


def test_conditions_that_contradict_are_left_with_a_warning():
    domain = DISK * Box(t=(0, 2))

    @initial(domain.at(t=0))
    def start(u):
        return u - 1

    @boundary(domain.boundary())
    def rim(u):
        return u

    problem = Problem(domain, [start, rim])
    with pytest.warns(UserWarning, match="'rim' and 'start' ask for different things where they meet: u = 0 and 1"):
        assert MLP(problem, **SMALL, hard="auto").hard == ("start",)
    with pytest.raises(ValueError, match="ask for different things"):
        MLP(problem, **SMALL, hard=("start", "rim"))


@pytest.mark.parametrize(
    ("where", "reason"),
    [
        (
            {"left": lambda x, y: (y == 0) & (x < 1)},
            r"ends at x = 0, y = 0, where the wall goes on, and derivatives of order",
        ),
        ({"left": lambda x, y: x == 0}, None),
        ({"left": lambda x, y: x == 1}, r"ends at x = 1, y = 1, where the wall goes on"),  # beside an inward corner
    ],
)
def test_where_a_factor_would_not_be_smooth(where, reason):
    """A part of an edge, and an edge beside an inward corner: its line goes on into the domain."""
    domain = CORNER.named(**where)
    network = quietly(problem := problem_on(domain, domain.boundary("left")))
    if reason is None:
        assert network.hard == ("walls",)
        assert largest(network, problem)["walls"] < 1e-14
        return
    assert network.hard == ()
    with pytest.raises(ValueError, match=reason):
        MLP(problem, **SMALL, hard=("walls",))


def test_values_of_different_functions_that_meet():
    domain = Polygon([(0, 0), (2, 0), (1, 2)], edges={0: "floor"})

    @residual(domain)
    def inside(lap_u):
        return lap_u

    @boundary(domain.boundary("floor"))
    def floor(u, x):
        return u - x * (2 - x)

    @boundary(domain.boundary(without="floor"))
    def roof(u, y):
        return u - y

    problem = Problem(domain, [inside, floor, roof])
    network = quietly(problem)
    assert network.hard == ("floor",)
    assert "'floor' and 'roof' meet at x = 2, y = 0 with values of different functions" in network.soft["roof"]


def test_inward_corners_are_left_unless_they_are_asked_for():
    network = quietly(problem_on(CORNER))
    assert network.hard == ()
    assert "cut off at a corner that points into the domain, (1, 1), where solutions are not smooth" in network.soft["walls"]


def test_slopes_of_a_field_on_walls_where_it_is_met():
    """At points of the boundary, where rounding decides on which side of it they are, slopes are those of the domain's side."""
    problem = problem_on(CORNER)
    network = MLP(problem, **SMALL, hard=("walls",))
    walls = problem.sample(walls=200, seed=4, **F64)["walls"].requires_grad_()
    (slope,) = torch.autograd.grad(network.constraint.factor(walls).sum(), walls)
    inward = -(slope * problem["walls"].region.normals(walls)).sum(1)
    assert (inward > 0).all()
    step = 1e-6 * -problem["walls"].region.normals(walls)
    difference = network.constraint.factor(walls + step)[:, 0] / 1e-6
    assert (inward - difference).abs().max() < 1e-3 * difference.max()


def test_a_polygon_of_many_edges_is_left():
    angles = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    problem = problem_on(Polygon(np.stack([np.cos(angles), np.sin(angles)], 1)))
    assert "the boundary has 200 pieces, each with a distance of its own, at most 100" in quietly(problem).soft["walls"]


def test_a_network_on_a_shape_can_be_pickled():
    problem = pinntk.load("poisson_holes")
    network = MLP(problem, **SMALL, hard="auto")
    again = pickle.loads(pickle.dumps(network))
    x = problem.sample(residual=5, **F64)["laplace"]
    assert torch.equal(again(x), network(x))
    assert network.float()(x.float()).dtype == torch.float32
