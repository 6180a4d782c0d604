"""References of problems on shapes: they meet equation and boundary values, and what is published of them."""

import numpy as np
import pytest
from numpy.polynomial import legendre
from scipy.spatial import cKDTree
from scipy.special import h1vp, hankel1, jvp

import pinntk
from pinntk.geometry import Part
from pinntk.problem import SpectralElements, rectangle
from pinntk.problem._steady_flow import weak_residual
from tests.support.few_steps import losses_of_a_few_steps
from tests.support.sweeps import sweep


def table(problem, *counts: int, field: int = 0) -> tuple[np.ndarray, float]:
    """A field of the reference on a grid of its domain's box (*counts), NaN outside, and the distance of two places in x."""
    counts = counts if len(counts) == 2 else counts * 2
    low, high = problem.domain.low, problem.domain.high
    steps = (problem.solution_points - low) / (high - low) * (np.array(counts) - 1)
    i, j = np.rint(steps).astype(int).T
    assert np.abs(steps - np.rint(steps)).max() < 1e-9
    found = np.full(counts, np.nan)
    found[i, j] = problem.solution.values[:, field]
    return found, (high - low)[0] / (counts[0] - 1)


def laplacian(u: np.ndarray, h: float) -> np.ndarray:
    """By nine places, whose error is of order h^6 for functions with a constant Laplacian."""
    sides = u[2:, 1:-1] + u[:-2, 1:-1] + u[1:-1, 2:] + u[1:-1, :-2]
    corners = u[2:, 2:] + u[2:, :-2] + u[:-2, 2:] + u[:-2, :-2]
    return (4 * sides + corners - 20 * u[1:-1, 1:-1]) / (6 * h**2)


def on(part: Part, problem, field: int = 0) -> np.ndarray:
    """A field of the reference at those of its points that lie on a part of the boundary."""
    return problem.solution.values[part.distance(problem.solution_points) < 1e-5, field]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PINNTK_CACHE", str(tmp_path))


CORNERS = [(0, 0), (1, 0), (1, 1), (-1, 1), (-1, -1), (0, -1)]


def test_poisson_lshape():
    problem = pinntk.load("poisson_lshape")
    u, h = table(problem, 121)
    off = np.abs(laplacian(u, h) + 1)
    x = np.linspace(-1, 1, 121)[1:-1]
    near = np.minimum.reduce([np.hypot(x[:, None] - a, x - b) for a, b in CORNERS])
    assert np.nanmax(off[near > 0.25]) < 1e-7  # derivatives are large at the corners
    assert np.nanmedian(off) < 1e-9
    walls = on(problem.domain.boundary(), problem)
    assert len(walls) == 480 and np.abs(walls).max() < 1e-10
    # The energy that adaptive finite elements extrapolate to is 0.2140758036; the sum is of second order.
    assert np.nansum(u) * h**2 == pytest.approx(0.2140758, abs=1e-4)


def test_poisson_holes():
    problem = pinntk.load("poisson_holes")
    u, h = table(problem, 101)
    off = np.abs(laplacian(u, h))
    assert np.isfinite(off).sum() > 8000
    assert np.nanmax(off) < 1e-3 and np.nanmedian(off) < 1e-6
    assert np.abs(on(problem.domain.boundary(without="hole"), problem) - 1).max() < 1e-11
    assert np.abs(on(problem.domain.boundary("hole"), problem)).max() < 1e-11
    assert np.nanmax(np.abs([u - u.T, u - u[::-1], u - u[:, ::-1]])) < 1e-11


def test_poisson_boltzmann():
    problem = pinntk.load("poisson_boltzmann")
    u, h = table(problem, 81)
    x, y = problem.domain.grid((81, 81)).T.reshape(2, 81, 81)
    f = 10 * (17 + x**2 + y**2) * np.sin(np.pi * x) * np.sin(4 * np.pi * y)
    b = 64 * u - f
    mean = (b[2:, 1:-1] + b[:-2, 1:-1] + b[1:-1, 2:] + b[1:-1, :-2] + 8 * b[1:-1, 1:-1]) / 12  # of order h^4 with lap u = b
    off = np.abs(laplacian(u, h) - mean)
    assert np.isfinite(off).sum() > 4000
    assert np.nanmax(off) < 0.2 and np.nanmedian(off) < 5e-3  # of terms of size 170
    assert np.abs(on(problem.domain.boundary(without="disk"), problem) - 0.2).max() < 5e-7
    assert np.abs(on(problem.domain.boundary("disk"), problem) - 1).max() < 5e-7


def test_cylinder_stokes():
    problem = pinntk.load("cylinder_stokes")
    (u, h), (v, _), (p, _) = (table(problem, 221, 42, field=field) for field in range(3))
    nu = problem.parameters["nu"]
    far = np.abs(np.linspace(0, 2.2, 221)[1:-1] - 0.2) > 0.12  # where nine places see the flow's derivatives
    momentum_x = nu * laplacian(u, h) - (p[2:, 1:-1] - p[:-2, 1:-1]) / (2 * h)
    momentum_y = nu * laplacian(v, h) - (p[1:-1, 2:] - p[1:-1, :-2]) / (2 * h)
    continuity = (u[2:, 1:-1] - u[:-2, 1:-1] + v[1:-1, 2:] - v[1:-1, :-2]) / (2 * h)
    for error, size in ((momentum_x, 0.05), (momentum_y, 0.05), (continuity, 3)):
        assert np.abs(error[far]).max() < 0.05 * size
        assert np.median(np.abs(error[far])) < 1e-4 * size
    flux = h * u[:, 1:-1].sum(1)  # by the trapezoidal rule, which errs alike where the profile is a parabola
    assert np.abs(flux[100:] / flux[0] - 1).max() < 1e-5
    domain = problem.domain
    y = np.linspace(0, 0.41, 42)
    assert np.abs(on(domain.boundary("x=0"), problem) - 1.2 * y * (0.41 - y) / 0.41**2).max() < 2e-6
    for part in ("y=0", "y=0.41", "cylinder"):
        assert all(np.abs(on(domain.boundary(part), problem, field)).max() < 2e-6 for field in (0, 1))
    assert np.abs(on(domain.boundary("x=2.2"), problem, 2)).max() < 1e-6  # where no force acts
    double = pinntk.load("cylinder_stokes", nu=2 * nu).solution.values
    assert np.array_equal(double, problem.solution.values * [1, 1, 2])


@pytest.mark.parametrize("k", [0.5, 4.0])
def test_helmholtz_scatterer(k):
    """The table solves the equation, and the plane's Green function gives the same wave from its values on the disk."""
    problem = pinntk.load("helmholtz_scatterer", k=k)
    (p, h), (q, _) = (table(problem, 121, field=field) for field in range(2))
    u = p + 1j * q
    off = laplacian(u, h) + k**2 * (1 - (k * h) ** 2 / 12) * u[1:-1, 1:-1]  # of order h^4, where lap lap u = k^4 u
    assert np.nanmax(np.abs(off)) < 0.02 * max(k**2, 1)
    assert np.isfinite(off).sum() > 8500
    angle = 2 * np.pi * np.arange(400) / 400
    place = problem.solution_points[::501]
    n = np.arange(60)
    c = np.where(n == 0, 1, 2) * 1j**n
    on_disk = sum(-c[m] * jvp(m, k) / h1vp(m, k) * hankel1(m, k) * np.cos(m * angle) for m in n)
    slope = -1j * k * np.cos(angle) * np.exp(1j * k * np.cos(angle))
    x, y = place[:, :1] - np.cos(angle), place[:, 1:] - np.sin(angle)
    r = np.hypot(x, y)
    green = 0.25j * hankel1(0, k * r)
    across = 0.25j * k * hankel1(1, k * r) * (x * np.cos(angle) + y * np.sin(angle)) / r
    expected = ((across * on_disk - green * slope).sum(1)) * 2 * np.pi / 400
    found = problem.solution.values[::501] @ [1, 1j]
    inside = np.hypot(*place.T) > 1.3  # where 400 places are enough
    assert np.abs(expected - found)[inside].max() < 1e-12


def forces(mesh: SpectralElements, fields: np.ndarray, nu: float) -> tuple[float, float, float]:
    """Drag, lift and drop of pressure of a flow: the forces that hold the cylinder balance the weak residual there."""
    found = np.zeros((2, len(mesh.places)))
    for k, g in enumerate(mesh.numbers):
        p = np.linalg.lstsq(mesh.pressure, fields[k, :, 2], rcond=None)[0]
        z = np.concatenate([fields[k, :, 0], fields[k, :, 1], p])
        e, _ = weak_residual(*mesh.operators[k], mesh.pressure, nu, z, True)
        for axis in range(2):
            np.add.at(found[axis], g, e[axis * len(g) : (axis + 1) * len(g)])
    around = np.hypot(*(mesh.places - [0.2, 0.2]).T) < 0.05 + 1e-9
    front, back = (float(mesh.interpolated(fields[k, :, 2:], np.zeros(1), -np.ones(1))[0, 0]) for k in (-2, -4))
    return (*(-500 * found[:, around].sum(1)), front - back)


@pytest.mark.parametrize(
    ("degree", "tolerance"), [(6, 2e-3), pytest.param(12, 1e-6, marks=pytest.mark.slow)], ids=("coarse", "as it is")
)
def test_cylinder_flow_has_the_benchmarks_forces(degree, tolerance):
    made = pinntk.load("cylinder_flow").reference.__globals__
    mesh = SpectralElements(made["blocks"](), degree)
    drag, lift, drop = forces(mesh, made["flow"](mesh, 1e-3), 1e-3)
    assert drag == pytest.approx(5.57953523384, rel=tolerance)
    assert lift == pytest.approx(0.010618948146, rel=500 * tolerance)
    assert drop == pytest.approx(0.11752016697, rel=40 * tolerance)


def test_backward_step_comes_back_to_the_wall_where_others_have_it():
    """Erturk 2008, Re = 100 in its units: 2.922 heights behind the step."""
    made = pinntk.load("backward_step").reference.__globals__
    mesh = SpectralElements([rectangle(*square) for square in made["cells"](1)], 6)
    fields = made["flow"](mesh, 1 / 75)
    shear = np.stack([d_y @ of[:, 0] for (_, d_y, _), of in zip(mesh.operators, fields, strict=True)])
    x, y = mesh.nodes[..., 0], mesh.nodes[..., 1]
    wall = (y == 2) & (x > 3)
    order = np.argsort(x[wall])
    assert np.interp(0, -shear[wall][order], x[wall][order] - 2) == pytest.approx(2.922, rel=3e-3)
    weights = 1 / (6 * 7 * legendre.Legendre.basis(6)(mesh.x) ** 2)  # of an integral over s, over its length
    through = 0.0
    for (left, _, bottom, top), here in zip(made["cells"](1), fields, strict=True):
        through += (left == 5) * (top - bottom) * float(weights @ mesh.interpolated(here, -np.ones(1), mesh.x)[:, 0])
    assert through == pytest.approx(2 / 3, rel=1e-6)


@pytest.mark.slow
def test_backward_step_is_as_right_as_it_says():
    problem = pinntk.load("backward_step")
    other = problem.reference.__globals__["table"](0.01, degree=6, layers=5)
    one, two = (np.lexsort(points.T.round(6)) for points in (problem.solution_points, other["points"]))
    assert np.abs(problem.solution_points[one] - other["points"][two]).max() < 1e-9
    off = problem.solution.values[one] - other["fields"][two]
    assert np.linalg.norm(off) < 5e-5 * np.linalg.norm(other["fields"])
    assert len(off) == 8750 and problem.domain.contains(problem.solution_points).all()


@pytest.mark.slow
def test_cylinder_flow_of_a_viscous_fluid_is_stokes_flow():
    """At Re 0.02, by another method."""
    slow, stokes = pinntk.load("cylinder_flow", nu=1.0), pinntk.load("cylinder_stokes", nu=1.0)
    made, series = slow.reference.__globals__, stokes.solution
    mesh = SpectralElements(made["blocks"](), 8)
    fields, points = made["flow"](mesh, 1.0), mesh.nodes
    tree = cKDTree(series.points)
    away, nearest = tree.query(points.reshape(-1, 2))
    same = away < 1e-6  # corners of elements, and what else both have
    apart = fields.reshape(-1, 3)[same] - series.values[nearest[same]]
    assert same.sum() > 50
    assert (np.abs(apart).max(0) < 3e-3 * np.abs(series.values).max(0)).all()


@pytest.mark.parametrize("name", sweep(("backward_step", "helmholtz_scatterer", "plate_with_hole"), "helmholtz_scatterer"))
def test_a_few_steps_lower_the_loss(name):
    losses = losses_of_a_few_steps(pinntk.load(name))
    assert losses[-1] < 0.99 * losses[0]
