"""Two fields on either side of an interface: jump conditions, kernels, errors that count each field where it lives."""

from math import pi

import numpy as np
import pytest
import torch

import pinntk
from pinntk import Box, Problem, boundary, integral, residual
from pinntk.geometry import Ball, Disk, interface
from pinntk.reporting.plot import solution_panels
from pinntk.reporting.plot._panel import single_figure
from tests.support import reference
from tests.support.reference import relative

F64 = {"dtype": torch.float64}
RADIUS, INNER, OUTER = 0.5, 5.0, 1.0  # of a round core, and the conductivities of it and of what lies around it
CORE = Disk(x=0, y=0, radius=RADIUS, name="core")
PLATE = Box(x=(-1, 1), y=(-1, 1))
AROUND = PLATE - CORE


# Where two domains meet.


def test_normals_point_out_of_the_left():
    points = torch.as_tensor(interface(CORE, AROUND).sample(50, "uniform", np.random.default_rng(0)))
    for part, sign in ((interface(CORE, AROUND), 1), (interface(AROUND, CORE), -1)):
        assert part.measure == pytest.approx(pi, rel=1e-12)
        assert (part.normals(points) - sign * points / RADIUS).abs().max() < 1e-15
    assert "the interface of the disk" in interface(CORE, AROUND).describe()


LEFT, RIGHT = Box(x=(0, 0.5)), Box(x=(0.5, 1))
DISK = Disk(x=0, y=0, radius=1)
ROOM = Box(x=(-1, 1), y=(-1, 1), z=(-1, 1))
BALL = Ball(x=0, y=0, z=0, radius=0.5)


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        (LEFT, RIGHT, 1.0),
        (LEFT * Box(t=(0, 2)), RIGHT * Box(t=(0, 2)), 2.0),
        (LEFT * Box(y=(0, 1)), RIGHT * Box(y=(0.1, 0.7)), 0.6),
        (DISK & Box(x=(-1, 0), y=(-1, 1)), DISK & Box(x=(0, 1), y=(-1, 1)), 2.0),
        (CORE * Box(t=(0, 2)), AROUND * Box(t=(0, 2)), 2 * pi),
        (BALL, ROOM - BALL, pi),
    ],
    ids=["line", "line in time", "beside a lower one", "halves", "curve in time", "sphere"],
)
def test_measures(left, right, expected):
    assert interface(left, right).measure == pytest.approx(expected, rel=1e-12)


def test_refused():
    for other in (PLATE, Box(x=(0.6, 1), y=(0, 1))):
        with pytest.raises(ValueError, match="have nothing in common; they overlap, or are apart"):
            interface(CORE, other)
    with pytest.raises(ValueError, match=r"given were \('x', 'y'\) and \('x',\)"):
        interface(CORE, LEFT)
    with pytest.raises(TypeError, match="needs two domains"):
        interface(CORE, CORE.boundary())


# Two materials.


def solution(x, y):
    """A conductor in a uniform field, heated: outside it has a pole in the middle of the core, where it does not live."""
    r2, swing = x**2 + y**2, (OUTER - INNER) / (OUTER + INNER)
    inner = (1 + swing) * x + (r2 - RADIUS**2) / (4 * INNER) + RADIUS**2 / (4 * OUTER)
    return inner, x * (1 + swing * RADIUS**2 / r2) + r2 / (4 * OUTER)


def materials(**options) -> Problem:
    @residual(CORE)
    def inside(lap_u1):
        return INNER * lap_u1 - 1

    @residual(AROUND)
    def outside(lap_u2):
        return OUTER * lap_u2 - 1

    @boundary(interface(CORE, AROUND))
    def continuous(u1, u2):
        return u1 - u2

    @boundary(interface(CORE, AROUND))
    def flux(u1_n, u2_n):
        return INNER * u1_n - OUTER * u2_n

    @boundary(AROUND.boundary(without="core"))
    def walls(u2, x, y):
        return u2 - solution(x, y)[1]

    given = {"fields": ("u1", "u2"), "exact": solution, "where": {"u1": CORE, "u2": AROUND}, **options}
    return Problem(PLATE, [inside, outside, continuous, flux, walls], **given)


COUNTS = {"residual": 12, "boundary": 9}


class Exact(torch.nn.Module):
    """The solution, with a parameter."""

    def __init__(self, beside: float = 0.0):
        super().__init__()
        self.one, self.beside = torch.nn.Parameter(torch.ones((), **F64)), beside

    def forward(self, points):
        x, y = points.unbind(1)
        inner, outer = solution(x, y + 1e-300)
        within = (x**2 + y**2 <= RADIUS**2) if not isinstance(x, pinntk.Jet) else None
        if within is not None and self.beside:  # wrong where it does not count
            inner, outer = torch.where(within, inner, self.beside), torch.where(within, self.beside, outer)
        return self.one * torch.stack([inner, outer], 1)


def test_the_exact_solution_has_no_errors():
    problem = materials()
    for error in pinntk.errors(Exact(), problem, problem.sample(COUNTS, **F64), "autograd").values():
        assert error.detach().abs().max() < 1e-12


def test_kernel_across_the_interface():
    problem = materials()
    network = pinntk.nn.MLP(problem, width=6, depth=2, **F64)
    points = problem.sample(COUNTS, **F64)
    assert points["continuous"] is points["flux"]
    found = pinntk.kernel(network, problem, points)
    assert relative(found.values, reference.kernel(network, problem, points)) < 1e-12
    assert float(found["inside", "flux"].norm()) > 0 and float(found["outside", "flux"].norm()) > 0


def test_each_field_counts_where_it_lives():
    problem = materials()
    assert problem.relative_error(Exact(beside=1e3)) < 1e-15
    assert problem.relative_error_by_field(Exact(beside=1e3)) == pytest.approx({"u1": 0, "u2": 0}, abs=1e-15)
    points = np.array([[0.0, 0.1], [0.9, 0.0]])
    assert problem.lives(points).tolist() == [[True, False], [False, True]]
    shown = problem.at_home(points, np.ones((2, 2)))
    assert np.isnan(shown).tolist() == [[False, True], [True, False]]

    def numbers(problem):
        network = pinntk.nn.MLP(problem, width=6, depth=1, seed=3, **F64)
        return problem.relative_error(network), network

    error, network = numbers(problem)
    grid = problem.solution_points
    off = problem.predict(network, grid) - problem.exact_array(grid)
    core = (grid**2).sum(1) <= RADIUS**2
    truth = problem.exact_array(grid)
    by_hand = (off[core, 0] ** 2).sum() + (off[~core, 1] ** 2).sum()
    size = (truth[core, 0] ** 2).sum() + (truth[~core, 1] ** 2).sum()
    assert error == pytest.approx((by_hand / size) ** 0.5, rel=1e-12)


@pytest.mark.slow
def test_solved_and_judged():
    problem = materials()
    network = pinntk.nn.MLP(problem, width=10, depth=2, seed=0, **F64)
    settings = {"optimizer": "gauss-newton", "points": {"residual": 100, "boundary": 30}, "progress": False}
    run = pinntk.train(problem, network, steps=45, eval_every=0, snapshot_every=0, **settings)
    assert run.relative_error < 2e-3
    x = pinntk.examine(run)
    assert run.relative_error / 3 < x.estimate.relative < 3 * run.relative_error
    assert all(len(part.points) < 200 and part.share < 0.1 for part in x.undetermined.values())
    assert x.output_scale.solution["u1"] == pytest.approx(0.11, rel=0.2)
    assert not pinntk.diagnose(x)
    (first, _), titles = solution_panels(problem, network), "network u1"
    assert any(titles in panel.title for panel in first)
    for panel in first:
        single_figure(panel)


def test_a_missing_jump_is_seen():
    problem = materials()
    assert not pinntk.check(problem)
    others = [condition for condition in problem.conditions if condition.name != "walls"]
    (missing,) = pinntk.check(materials_of(others))
    assert "undetermined by a constant" in missing.sentence


def materials_of(conditions):
    return Problem(PLATE, conditions, ("u1", "u2"), solution, where={"u1": CORE, "u2": AROUND})


def test_in_time():
    """A core that cools into what lies around it, and its first slab; the heat that leaves through the interface."""
    time = Box(t=(0, 1))
    core, around = CORE * time, AROUND * time

    @residual(core)
    def inside(u1_t, lap_u1):
        return u1_t - lap_u1

    @residual(around)
    def outside(u2_t, lap_u2):
        return u2_t - lap_u2

    @boundary(interface(core, around))
    def flux(u1_n, u2_n):
        return u1_n - u2_n

    @boundary(interface(core, around))
    def continuous(u1, u2):
        return u1 - u2

    @integral(interface(core, around), t=[0.2, 0.8], points=40)
    def loss(u1_n):
        return u1_n

    @pinntk.initial(core.at(t=0))
    def hot(u1):
        return u1 - 1

    @pinntk.initial(around.at(t=0))
    def cold(u2):
        return u2

    problem = Problem(
        PLATE * time, [inside, outside, flux, continuous, loss, hot, cold], ("u1", "u2"), where={"u1": core, "u2": around}
    )
    network = pinntk.nn.MLP(problem, width=5, depth=1, **F64)
    points = problem.sample(residual=6, boundary=5, initial=4, **F64)
    assert relative(pinntk.kernel(network, problem, points).values, reference.kernel(network, problem, points)) < 1e-12
    second = pinntk.slab(problem, 1, 2, network)
    assert second.where["u1"].bounds[2] == (0.5, 1) and len(second["loss"].region.rows) == 1
    rows = second["flux"].region.sample(20, "uniform", np.random.default_rng(0))
    assert rows[:, 2].min() >= 0.5 and np.allclose(np.hypot(rows[:, 0], rows[:, 1]), RADIUS)


def test_refused_problems():
    with pytest.raises(ValueError, match=r"condition 'inside' asks for u1, which lives on .* only, and holds on the disk"):
        materials(where={"u1": AROUND})
    with pytest.raises(ValueError, match=r"where has a field 'u3'; the problem's fields are \('u1', 'u2'\)"):
        materials(where={"u3": CORE})
    with pytest.raises(ValueError, match=r"where\['u1'\]: a domain with coordinates \('x', 'y'\)"):
        materials(where={"u1": LEFT})
