"""Judgments on domains that are no boxes: what is asked for lies inside, and what is well posed there is not complained of."""

from math import pi, sqrt

import numpy as np
import pytest
import torch

import pinntk
from pinntk import Box, Problem
from pinntk.diagnostics._corners import corners
from pinntk.diagnostics._outside import Potentials
from pinntk.diagnostics._solvability import Decomposed
from pinntk.diagnostics._statement import Statement
from pinntk.diagnostics._trial import trial_space
from pinntk.geometry import Ball, Disk, Ellipse, Polygon
from pinntk.geometry._loops import holes_and_corners
from pinntk.residuals import _scales
from pinntk.residuals._agreement import _inside
from pinntk.residuals._legendre import Legendre
from pinntk.taylor import Basis

THIN = Disk(x=0, y=0, radius=1, name="outer") - Disk(x=0, y=0, radius=0.9, name="inner")
CORNER = Polygon([(0, 0), (2, 0), (2, 1), (1, 1), (1, 2), (0, 2)], edges={0: "floor"})
SHELL = Ball(x=0, y=0, z=0, radius=1, name="outer") - Ball(x=0, y=0, z=0, radius=0.6, name="inner")
PLATE = Box(x=(0, 1), y=(0, 1)) - Disk(x=0.5, y=0.5, radius=0.2, name="hole")
TIME = Box(t=(0, 0.5))
DOMAINS = {"thin": THIN, "corner": CORNER, "shell": SHELL, "thin in time": THIN * TIME}


def laplace(domain, values, **options):
    """lap u = -1 with u at parts of the boundary."""

    @pinntk.residual(domain)
    def poisson(lap_u):
        return lap_u + 1

    def on(name, value):
        def operator(u):
            return u - value

        operator.__name__ = f"on_{name}"
        return pinntk.boundary(domain.boundary(name))(operator)

    return Problem(domain, [poisson, *(on(name, value) for name, value in values.items())], **options)


def cooling(domain, start_at=0.0, wall_at=0.0):
    @pinntk.residual(domain)
    def heat(u_t, lap_u):
        return u_t - lap_u

    @pinntk.boundary(domain.boundary())
    def walls(u):
        return u - wall_at

    @pinntk.initial(domain.at(t=0))
    def start(u):
        return u - start_at

    return Problem(domain, [heat, walls, start])


@pytest.mark.parametrize("name", DOMAINS)
def test_polynomials_of_a_coarse_solution_are_orthonormal_on_the_domain(name):
    domain = DOMAINS[name]
    basis = Legendre(domain)
    points = torch.as_tensor(domain.sample(20_000, "sobol", np.random.default_rng(1)))
    values = basis.derivative(points, (0,) * domain.dimension)
    assert (values[:, 0] - 1).abs().max() < 1e-12
    assert _even(values)


def _even(values):
    """Whether functions of size 1 are about 1 on other points than those that they were made orthonormal on; on the box around
    the domain they are up to 1e6.
    """
    found = torch.linalg.eigvalsh(values.T @ values / len(values))
    return found[0] > 0.2 and found[-1] < 5


def test_sizes_are_those_inside():
    """T = 300 + 40 (1 - r^2) in a thin annulus: on the box around it the same polynomial has another mean."""
    problem = laplace(THIN, {"outer": 300.0, "inner": 300.0 + 40 * 0.19}, fields=("u",))

    @pinntk.residual(THIN)
    def poisson(lap_u):
        return lap_u + 160

    problem = Problem(THIN, [poisson, *problem.conditions[1:]])
    mean, deviation = _scales.scales(problem).fields["u"]
    square = 40 * (1 - (1 + 0.81) / 2)  # r^2 is uniform between 0.81 and 1
    assert mean == pytest.approx(300 + square, rel=0.02)
    assert deviation == pytest.approx(max(40 * 0.19 / sqrt(12), 0.01 * mean), rel=0.05)


WELL_POSED = {
    "thin": (THIN, ("outer", "inner")),
    "corner": (CORNER, ("floor", "outer")),
    "shell": (SHELL, ("outer", "inner")),
}


@pytest.mark.parametrize("name", WELL_POSED)
def test_what_is_well_posed_on_a_shape_is_not_complained_of(name):
    domain, parts = WELL_POSED[name]
    assert pinntk.check(laplace(domain, dict.fromkeys(parts, 0.0))) == []


def test_a_part_of_the_boundary_without_a_condition_is_named():
    square = Polygon([(0, 0), (1, 0), (1, 1), (0, 1)], edges={0: "floor"})
    (found,) = pinntk.check(laplace(square, {"outer": 0.0}))
    assert found.code == "wrong-problem" and "one is missing" in found.sentence
    assert "the part 'floor'" in str(found.prescriptions) + found.sentence


def test_values_that_disagree_in_the_corner_of_a_polygon():
    problem = laplace(CORNER, {"floor": 1.0, "outer": 0.0})
    (found,) = corners(problem, problem.names)
    assert found.conditions == ("on_floor", "on_outer") and found.values == (1.0, 0.0) and found.gap == 1.0
    assert found.place in ({"x": 0.0, "y": 0.0}, {"x": 2.0, "y": 0.0})
    assert [one.code for one in pinntk.check(problem)] == ["conflict"]
    assert corners(laplace(THIN, {"outer": 1.0, "inner": 0.0}), ("on_outer", "on_inner")) == []


def test_a_start_and_a_wall_that_disagree_on_a_shape():
    problem = cooling(PLATE * TIME, start_at=1.0)
    (found,) = corners(problem, problem.names)
    assert found.conditions == ("walls", "start") and found.place == {"t": 0.0} and found.values == (0.0, 1.0)
    assert found.part is problem["walls"].region
    (one,) = pinntk.check(problem)
    assert one.code == "conflict" and "at t = 0" in one.sentence
    assert corners(cooling(PLATE * TIME), ("walls", "start")) == []


def test_operators_are_asked_inside_only():
    """A start that is not defined in the hole, checked, examined and diagnosed."""
    domain = PLATE * TIME
    seen = []

    @pinntk.residual(domain)
    def heat(u_t, lap_u, points):
        seen.append(points.detach())
        return u_t - lap_u

    @pinntk.boundary(domain.boundary())
    def walls(u, points):
        seen.append(points.detach())
        return u

    @pinntk.initial(domain.at(t=0))
    def start(u, points):
        seen.append(points.detach())
        return u - torch.sin(pi * points[:, 1]) * torch.sin(pi * points[:, 0])

    problem = Problem(domain, [heat, walls, start])
    assert {one.code for one in pinntk.check(problem)} <= {"conflict"}  # at the edge of the hole they do disagree
    network = pinntk.nn.MLP(problem, width=4, depth=1)
    x = pinntk.examine(network, problem, problem.sample(residual=30, boundary=10, initial=10))
    pinntk.diagnose(x)
    pinntk.diagnostics.scales(problem)
    points = torch.cat([rows.double() for rows in seen]).numpy()
    assert len(points) > 1000 and domain.distance(points).max() < 1e-3


def test_points_on_which_a_network_is_tried_stay_inside():
    generator = np.random.default_rng(0)
    for domain in (*DOMAINS.values(), PLATE):
        rows = torch.as_tensor(domain.sample(200, "uniform", generator))
        moved = _inside(domain, rows)
        assert domain.contains(moved.numpy()).all()
        assert (moved != rows).any(1).double().mean() > 0.5


def test_causal_weights_in_space_and_time():
    problem = cooling(PLATE * TIME, start_at=1.0)
    assert pinntk.weighting.Causal(1.0).names(problem) == ["heat"]
    network = pinntk.nn.MLP(problem, width=4, depth=1)
    points = {"residual": 20, "boundary": 5, "initial": 5}
    run = pinntk.train(problem, network, steps=2, causal=pinntk.weighting.Causal(1.0), points=points, progress=False)
    assert np.isfinite(run.history[-1]["loss"])


def test_what_only_a_box_has_is_refused_in_a_line():
    with pytest.raises(TypeError, match=r"no pair of opposite faces, which only a box has; .*MLP"):
        pinntk.periodic(PLATE.ends("x"))


# Holes and inward corners, where solutions of elliptic equations are not those of polynomials.


HOLED = Box(x=(0, 1), y=(0, 1)) - Disk(x=0.45, y=0.5, radius=0.02, name="hole")
SQUARE_HOLE = Box(x=(0, 1), y=(0, 1)) - Polygon([(0.4, 0.4), (0.6, 0.45), (0.55, 0.6)], edges={0: "floor"})
INWARD = Polygon([(0, 0), (2, 0), (2, 1), (1, 1), (1, 2), (0, 2)], edges={2: "step", 3: "wall"})
WALLS = {"x=0": 0.0, "x=1": 0.0, "y=0": 0.0, "y=1": 0.0}


@pytest.mark.parametrize(
    ("domain", "given", "left_out"),
    [
        (HOLED, {**WALLS, "hole": 1.0}, "hole"),
        (SQUARE_HOLE, {**WALLS, "floor": 1.0, "outer": 1.0}, "floor"),
        (INWARD, {"outer": 0.0, "step": 0.0, "wall": 0.0}, "step"),
    ],
    ids=["small hole", "edge of a hole", "edge at an inward corner"],
)
def test_a_condition_that_is_missing_in_a_hole_or_at_an_inward_corner(domain, given, left_out):
    assert pinntk.check(laplace(domain, given)) == []
    (found,) = pinntk.check(laplace(domain, {name: value for name, value in given.items() if name != left_out}))
    assert found.code == "wrong-problem" and f"the part {left_out!r}" in found.sentence


@pytest.mark.parametrize(("width", "seen"), [(0.1, 2), (0.001, 0)])
def test_the_place_beside_an_inward_corner_lies_outside(width, seen):
    """Also at the end of a slit that is too narrow for one."""
    low, high = 0.5 - width / 2, 0.5 + width / 2
    shape = Polygon([(0, 0), (1, 0), (1, 1), (high, 1), (high, 0.5), (low, 0.5), (low, 1), (0, 1)])
    corners = holes_and_corners(shape)[1]
    assert len(corners) == seen and not any(
        shape.contains(np.stack([corner.beside for corner in corners or ()])) if seen else ()
    )


SLIT = Box(x=(0, 1), y=(0, 1)) - Ellipse(x=0.45, y=0.5, radii=(0.2, 0.2 / 15), angle=0.7, name="hole")


def test_functions_around_a_long_hole_reach_into_it_as_far_as_solutions_do():
    """To the foci of an ellipse; what is well posed around it is then met."""
    (hole,), _ = holes_and_corners(SLIT)
    assert abs(complex(*hole.half)) == pytest.approx(0.2 * sqrt(1 - 1 / 15**2), rel=2e-3)
    assert np.angle(complex(*hole.half)) % pi == pytest.approx(0.7, abs=1e-6)
    (disk,), _ = holes_and_corners(HOLED)
    assert disk.center == pytest.approx([0.45, 0.5]) and not disk.half.any()
    whole = Statement(laplace(SLIT, {**WALLS, "hole": 1.0}), functions=60)
    left = Decomposed(whole.views.zero).remaining().norm() / whole.views.zero.e.norm()
    assert left < 2e-3  # by powers of the distance from the center 0.05


@pytest.mark.parametrize("domain", [SLIT, INWARD], ids=["hole", "corner"])
def test_places_around_holes_and_corners_are_as_dense_as_is_said(domain):
    one = trial_space(domain, 1, 60).singular[0]
    spread = one.spread(np.random.default_rng(0).random((20_000, 2)))
    dense = one.density(domain.sample(20_000, "sobol", np.random.default_rng(1)))
    assert dense.mean() * domain.measure == pytest.approx(domain.contains(spread).mean(), rel=0.03)


def insulated(domain, flux):
    """lap u = -1 with the same slope all around, which fits if it carries off what is made."""

    @pinntk.residual(domain)
    def poisson(lap_u):
        return lap_u + 1

    @pinntk.boundary(domain.boundary())
    def slope(u_n):
        return u_n + flux

    return Problem(domain, [poisson, slope])


@pytest.mark.parametrize("domain", [HOLED, INWARD], ids=["small hole", "inward corner"])
def test_slopes_that_do_not_fit_what_is_made_inside(domain):
    fitting = domain.measure / domain.boundary().measure
    assert {one.code for one in pinntk.check(insulated(domain, fitting))} == {"wrong-problem"}  # a constant is free
    assert {one.code for one in pinntk.check(insulated(domain, 0.0))} == {"wrong-problem", "conflict"}


LONG = Box(x=(0, 1), y=(0, 1)) - Ellipse(x=0.45, y=0.5, radii=(0.2, 0.2 / 8), angle=0.7, name="hole")
NOTCH = Box(x=(0, 1), y=(0, 1)) - Ellipse(x=0, y=0.5, radii=(0.5, 0.5 / 15), name="notch")


@pytest.mark.parametrize(("domain", "told"), [(LONG, True), (NOTCH, False)], ids=["long hole", "narrow notch"])
def test_a_contradiction_is_told_where_trial_functions_follow_solutions(domain, told):
    """In a notch they leave as much of problems that have a solution."""
    found = Statement(insulated(domain, 0.0), functions=100)
    assert found.untold is not told and (found.contradiction is not None) is told


@pytest.mark.slow
def test_a_contradiction_that_is_not_told_is_named():
    found = pinntk.check(insulated(NOTCH, 0.0))
    assert [one.code for one in found] == ["wrong-problem"] and [one.code for one in found.unjudged] == ["conflict"]
    assert pinntk.check(insulated(LONG, 0.0)).unjudged == ()


@pytest.mark.slow
def test_a_slit_with_all_its_conditions_is_not_complained_of():
    """Trial functions that are large in it seem open on the points of the conditions, and leave 0.6 of the errors."""
    given = {0: "outer", 3: "right", 4: "floor", 5: "left"}
    corners = [(0, 0), (1, 0), (1, 1), (0.505, 1), (0.505, 0.5), (0.495, 0.5), (0.495, 1), (0, 1)]
    slit = Polygon(corners, edges={edge: name for edge, name in given.items() if edge})
    found = pinntk.check(laplace(slit, dict.fromkeys(given.values(), 0.0)))
    assert found == [] and [one.code for one in found.unjudged] == ["conflict", "wrong-problem"]


@pytest.mark.parametrize("domain", [NOTCH, SHELL], ids=["plane", "space"])
def test_potentials_of_what_lies_outside(domain):
    """Harmonic, of charges that lie outside, and with the slopes of their differences."""
    found, d = Potentials(domain, domain.shape_axes), domain.dimension
    assert found.size == (d + 1) * (d + 2) // 2 and not domain.contains(found.places.numpy()).any()
    x = torch.as_tensor(domain.sample(20, "uniform", np.random.default_rng(0)))
    unit = [tuple(int(i == axis) for i in range(d)) for axis in range(d)]
    basis = Basis.spanning([*unit, *(tuple(2 * i for i in one) for one in unit)], d)
    values = found.coefficients(x, basis)
    step = 1e-6 * torch.eye(d, dtype=torch.float64)
    for one, h in zip(unit, step, strict=True):
        differences = (found.coefficients(x + h, basis)[0] - found.coefficients(x - h, basis)[0]) / 2e-6
        assert (values[basis.position(one)] - differences).abs().max() < 1e-6 * differences.abs().max()
    second = torch.stack([values[basis.position(tuple(2 * i for i in one))] for one in unit])
    assert second.sum(0).abs().max() < 1e-9 * second.abs().max()


@pytest.mark.slow
def test_cooling_through_a_hole_without_a_condition():
    domain = (Box(x=(0, 1), y=(0, 1)) - Disk(x=0.5, y=0.5, radius=0.1, name="hole")) * TIME

    def problem(*parts):
        @pinntk.residual(domain)
        def heat(u_t, lap_u):
            return u_t - lap_u

        @pinntk.boundary(domain.boundary(*parts))
        def walls(u):
            return u

        @pinntk.initial(domain.at(t=0))
        def start(u, x, y):
            return u - torch.sin(pi * x) * torch.sin(pi * y) * ((x - 0.5) ** 2 + (y - 0.5) ** 2 - 0.01)

        return Problem(domain, [heat, walls, start])

    assert pinntk.check(problem()) == []
    (found,) = pinntk.check(problem(*WALLS))
    assert found.code == "wrong-problem" and "the part 'hole'" in found.sentence


@pytest.mark.parametrize("time_first", [False, True])
def test_derivatives_of_functions_that_are_singular_outside(time_first):
    """Against differences of their values and of their slopes."""
    shape = INWARD - Ellipse(x=0.4, y=0.5, radii=(0.2, 0.05), angle=0.4)
    domain = TIME * shape if time_first else shape * TIME
    space = trial_space(domain, 1)
    assert sorted(part.power for part in space.singular) == [-1.0, 0.0, pytest.approx(1 / 3)]
    x, axes = torch.as_tensor(domain.sample(4, "uniform", np.random.default_rng(0))), domain.shape_axes
    unit = [tuple(int(i == axis) for i in range(3)) for axis in range(3)]
    first = Basis.spanning(unit, 3, axes)
    found = space.coefficients(x, first)
    laplacian = 0
    for axis, step in enumerate(1e-5 * torch.eye(3, dtype=torch.float64)):
        place = first.position(unit[axis])
        after, before = (space.coefficients(x + sign * step, first) for sign in (1, -1))
        slopes, bends = ((after[k] - before[k]) / 2e-5 for k in (0, place))
        assert (found[place] - slopes).abs().max() < 1e-6 * slopes.abs().max()
        laplacian = laplacian + (bends if axis in axes else 0)
    assert (found[-1] - laplacian).abs().max() < 1e-6 * laplacian.abs().max()
