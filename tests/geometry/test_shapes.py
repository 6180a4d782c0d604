"""Shapes and what is made of them: measures, points, boundaries, normals, names."""

from functools import cache
from math import pi

import numpy as np
import pytest
import shapely
import torch
from scipy.integrate import quad
from scipy.stats import chi2

import pinntk
from pinntk.geometry import Ball, Box, Cylinder, Disk, Domain, Ellipse, Polygon
from pinntk.geometry._sampling import METHODS, generator
from pinntk.problem._rows import check_points

SQUARE = Box(x=(0, 1), y=(0, 1))
L_SHAPE = [(0, 0), (2, 0), (2, 1), (1, 1), (1, 2), (0, 2)]


def around_ellipse(a: float, b: float) -> float:
    return 4 * quad(lambda angle: ((a * np.sin(angle)) ** 2 + (b * np.cos(angle)) ** 2) ** 0.5, 0, pi / 2, epsabs=1e-13)[0]


@cache
def shapes() -> dict[str, tuple[Domain, float, float]]:
    """A shape, its measure and that of its boundary."""
    tall, wide = Box(x=(0, 1), y=(0, 2)), Box(x=(0, 2), y=(0, 1))
    cube = Box(x=(-1, 1), y=(-1, 1), z=(-1, 1))
    a, b = Disk(x=0, y=0, radius=1), Disk(x=1, y=0, radius=1)
    lens = 2 * pi / 3 - 3**0.5 / 2
    return {
        "overlapping boxes": (tall | wide, 3, 8),
        "boxes side by side": (tall | Box(x=(1, 2), y=(0, 1)), 3, 8),
        "box less a corner": (Box(x=(0, 2), y=(0, 2)) - Box(x=(1, 2), y=(1, 2)), 3, 8),
        "box less a notch": (Box(x=(0, 3), y=(0, 2)) - Box(x=(1, 2), y=(0, 1)), 5, 12),
        "quarter hole": (SQUARE - Disk(x=0, y=0, radius=0.5), 1 - pi / 16, 3 + pi / 4),
        "annulus": (Disk(x=0, y=0, radius=2) - Disk(x=0.5, y=0, radius=1), 3 * pi, 6 * pi),
        "two disks": (a | b, 2 * pi - lens, 8 * pi / 3),
        "lens": (a & b, lens, 4 * pi / 3),
        "crescent": (a - b, pi - lens, 2 * pi),
        "three operations": ((tall | wide) - Disk(x=0.5, y=0.5, radius=0.25), 3 - pi / 16, 8 + pi / 2),
        "polygon with a hole": (Polygon(L_SHAPE, [[(0.2, 0.2), (0.6, 0.2), (0.6, 0.6), (0.2, 0.6)]]), 2.84, 9.6),
        "polygon less a disk": (Polygon(L_SHAPE[::-1]) - Disk(x=1, y=1, radius=0.5), 3 - 0.75 * pi / 4, 7 + 0.75 * pi),
        "ellipse": (Ellipse(x=1, y=2, radii=(2, 1), angle=0.3), 2 * pi, around_ellipse(2, 1)),
        "narrow ellipse": (Ellipse(x=0, y=0, radii=(0.02, 1)), 0.02 * pi, around_ellipse(0.02, 1)),
        "ball": (Ball(x=0, y=0, z=0, radius=2), 32 * pi / 3, 16 * pi),
        "ball in 5": (Ball(**{f"x{i}": 0.5 for i in range(5)}, radius=1), 8 * pi**2 / 15, 8 * pi**2 / 3),
        "cylinder": (Cylinder(x=0, z=(0, 3), y=1, radius=0.5), 0.75 * pi, 3.5 * pi),
        "cube with a cavity": (cube - Ball(x=0, y=0, z=0, radius=0.5), 8 - pi / 6, 24 + pi),
    }


@pytest.fixture(params=list(shapes()))
def case(request):
    return shapes()[request.param]


def test_measures(case):
    shape, measure, around = case
    exact = shape.dimension == 2 or len(shape.members) == 1
    assert shape.measure == pytest.approx(measure, rel=1e-12 if exact else 1e-3)
    assert shape.boundary().measure == pytest.approx(around, rel=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_points_lie_inside_and_are_reproducible(case, method):
    shape = case[0]
    for region in (shape, shape.boundary(), shape * Box(t=(0, 2)), (shape * Box(t=(0, 2))).boundary()):
        rows = region.sample(60, method, generator(1, "here"))
        assert rows.shape == (len(rows), region.domain.dimension)
        assert len(rows) == 60 or (method == "grid" and 1 <= len(rows) <= 60)
        check_points("here", rows, region)
        check_points("in float32", rows.astype(np.float32).astype(float), region)
        assert np.array_equal(rows, region.sample(60, method, generator(1, "here")))


def test_normals_are_unit_and_point_out(case):
    shape = case[0]
    part = shape.boundary()
    rows = part.sample(300, "uniform", generator(0, "normals"))
    normals = part.normals(torch.as_tensor(rows)).numpy()
    assert np.linalg.norm(normals, axis=1) == pytest.approx(1, abs=1e-14)
    step = 1e-6 * shape.extent
    assert shape.contains(rows - step * normals).mean() > 0.99  # but for those next to corners
    assert shape.contains(rows + step * normals).mean() < 0.01


def test_gauss_theorem(case):
    """The mean of x . n over the boundary against d times the measure: points, areas and normals together."""
    shape, measure, around = case
    part = shape.boundary()
    rows = part.sample(2**14, "sobol", generator(0, "gauss"))
    flux = around * (rows * part.normals(torch.as_tensor(rows)).numpy()).sum(1).mean()
    assert flux == pytest.approx(shape.dimension * measure, rel=5e-3)


@pytest.mark.parametrize("region", ["inside", "boundary"])
def test_points_are_uniform(case, region):
    """Chi-square of counts in cells against the measure of each cell, which dense grids give."""
    shape = case[0]
    part = shape if region == "inside" else shape.boundary()
    directions = np.random.default_rng(2).standard_normal((3, shape.dimension))
    dense = part.sample(2**15, "sobol", generator(7, "dense")) if shape.dimension > 2 or region == "boundary" else None
    dense = shape.sample(200_000, "grid", generator(0)) if dense is None else dense

    def cells(rows):
        return ((rows - shape.low) @ directions.T > (shape.high - shape.low) @ directions.T / 2) @ [1, 2, 4]

    expected = np.bincount(cells(dense), minlength=8) / len(dense)
    found = np.bincount(cells(part.sample(4000, "uniform", generator(3, "chi"))), minlength=8)
    here = expected * 4000 > 20
    statistic = ((found - 4000 * expected)[here] ** 2 / (4000 * expected)[here]).sum()
    assert statistic < chi2.ppf(1 - 1e-4, max(here.sum() - 1, 1))


def test_points_next_to_the_boundary_count_as_on_it_and_others_do_not():
    shape = SQUARE - Disk(x=0.5, y=0.5, radius=0.25)
    rows = np.array([[0.1, 0.1], [1 + 1e-7, 1 + 1e-7], [0.5, 0.75 - 1e-7], [0.5, 0.5], [1.1, 0.5], [0.5, 0.74]])
    assert (shape.distance(rows) <= 1e-5).tolist() == [True, True, True, False, False, False]
    assert shape.distance(rows)[3:5] == pytest.approx([0.25, 0.1])
    assert (shape.boundary("disk").distance(rows) <= 1e-5).tolist() == [False, False, True, False, False, False]


def test_a_wall_that_was_removed_is_no_boundary():
    shape = Box(x=(0, 2), y=(0, 1)) - Box(x=(1, 3), y=(0.25, 0.75))
    assert shape.boundary("x=2").distance(np.array([[2, 0.5], [2, 0.1]])).tolist() == pytest.approx([0.25, 0])


# Names.


def test_parts_by_name():
    channel = Box(x=(0, 2), y=(0, 1)) - Disk(x=0.5, y=0.5, radius=0.1, name="cylinder")
    channel = channel.named(inlet="x=0", walls=("y=0", "y=1"), lip=lambda x, y: (x > 1.5) & (y == 1))
    assert channel.boundary("inlet", "walls").measure == pytest.approx(5)
    assert channel.boundary("lip").measure == pytest.approx(0.5, abs=1e-12)
    assert channel.boundary(without=("walls", "cylinder")).measure == pytest.approx(2)
    assert channel.boundary("walls", without="lip").measure == pytest.approx(3.5, abs=1e-12)
    assert channel.at(x=2).measure == channel.ends("x").measure / 2 == 1
    assert channel.boundary("walls") == channel.boundary("walls")
    smaller = channel - Box(x=(1, 2), y=(0, 0.5))
    assert smaller.boundary("walls").measure == pytest.approx(3)
    assert (channel * Box(t=(0, 3))).boundary("inlet").measure == pytest.approx(3)


@pytest.mark.parametrize("order", [("t", "x", "y", "k"), ("x", "y", "t", "k")])
def test_names_in_a_box_with_time_and_parameters(order):
    bounds = {"t": (0, 2), "x": (0, 1), "y": (0, 3), "k": (0, 5)}
    box = Box(**{name: bounds[name] for name in order[:3]}) * Box.of_parameters(k=bounds["k"])
    named = box.named(wall="x=0", low=lambda y: y < 1)
    assert named.coordinates == order
    assert named.bounds == box.bounds
    assert named.space == box.space
    assert named.boundary().measure == pytest.approx(8 * 10)
    assert named.boundary("wall").measure == box.boundary("x=0").measure == pytest.approx(3 * 10)
    assert named.boundary("low").measure == pytest.approx(3 * 10)
    assert (named.at(t=0).sample(5, "sobol", generator(0))[:, order.index("t")] == 0).all()
    disk = (Disk(x=0, y=0, radius=1) * Box(t=(0, 2))).named(right=lambda x: x > 0)
    assert disk.boundary("right").measure == pytest.approx(2 * pi)
    assert disk.at(t=0).sample(5, "uniform", generator(0)).shape == (5, 3)


def test_edges_of_a_polygon_by_name():
    for corners in (L_SHAPE, L_SHAPE[::-1]):
        names = {i: ("wall" if corners[i][0] == corners[(i + 1) % 6][0] else "floor") for i in range(6)}
        shape = Polygon(corners, edges=names)
        assert shape.boundary("wall").measure == shape.boundary("floor").measure == 4
        rows = torch.as_tensor(shape.boundary("wall").sample(50, "uniform", generator(0)))
        assert (shape.boundary("wall").normals(rows)[:, 1] == 0).all()
    given = shapely.Polygon(L_SHAPE, [[(0.2, 0.2), (0.4, 0.2), (0.4, 0.4)]])
    assert Polygon(given, coordinates=("a", "b")).boundary("hole").measure == pytest.approx(0.4 + 0.08**0.5)


def test_an_edge_that_is_shared_counts_once():
    both = Disk(x=0, y=0, radius=1, name="one") & Disk(x=0, y=0, radius=1, name="other")
    assert both.boundary().measure == pytest.approx(2 * pi)
    assert both.boundary("other").measure == pytest.approx(2 * pi)


# Time and parameters.


def test_products():
    shape = SQUARE - Disk(x=0.5, y=0.5, radius=0.2)
    domain = Box(t=(0, 2)) * shape * Box.of_parameters(nu=(0.1, 0.3))
    assert domain.coordinates == ("t", "x", "y", "nu")
    assert domain.space == (1, 2)
    assert domain.measure == pytest.approx(0.4 * shape.measure)
    rows = domain.at(t=2).sample(40, "sobol", generator(0))
    assert (rows[:, 0] == 2).all()
    assert shape.contains(rows[:, 1:3]).all()
    assert np.ptp(rows[:, 3]) > 0.15
    normals = domain.boundary("disk").normals(torch.as_tensor(domain.boundary("disk").sample(9, "uniform", generator(0))))
    assert (normals[:, [0, 3]] == 0).all()
    assert (domain.at(t=0) | domain.at(t=2)).sample(7, "uniform", generator(0))[:, 0].tolist() == [0] * 4 + [2] * 3
    assert Box(t=(0, 1)) * Box(x=(0, 2)) == Box(t=(0, 1), x=(0, 2))
    assert domain.with_interval("t", 1, 2).bounds[0] == (1, 2)


def test_a_parameter_has_no_part_in_space():
    domain = Box(x=(0, 1)) * Box.of_parameters(k=(1, 3))
    assert domain.boundary().pieces == (((0, 0.0),), ((0, 1.0),))

    @pinntk.residual(domain)
    def helmholtz(lap_u, u, k):
        return lap_u + k**2 * u

    @pinntk.boundary(domain.boundary())
    def ends(u_n):
        return u_n

    problem = pinntk.Problem(domain, [helmholtz, ends])
    assert problem.basis(["helmholtz"]).laplacian_axes == (0,)


# Mistakes.


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: SQUARE - Box(x=(-1, 2), y=(-1, 2)), "a difference is empty: .* has none of 65536 points"),
        (lambda: SQUARE & Disk(x=5, y=0, radius=1), "an intersection is empty"),
        (lambda: Polygon([(0, 0), (1, 1), (1, 0), (0, 1)]), r"Self-intersection\[0.5 0.5\]; edges must not cross"),
        (lambda: Polygon(L_SHAPE, [[(5, 5), (6, 5), (6, 6)]]), "Hole lies outside shell"),
        (lambda: Polygon([(0, 0), (1, 1)]), "vertices are 2 corners; a polygon has three or more"),
        (lambda: Polygon([(0, 0, 0), (1, 1, 0), (2, 0, 0)]), r"vertices have shape \(3, 3\); corners are \(m, 2\)"),
        (lambda: Polygon([(0, 0), (1, 0), (1, 0), (1, 1)]), r"vertices have the corner \(1, 0\) twice in a row"),
        (lambda: Box(x=(0, 1), t=(0, 1), y=(0, 1)).named(wall="x=0"), "put time and parameters before or behind the places"),
        (lambda: (SQUARE * Box(t=(0, 1))).boundary("t=0"), "there are 'x=0', 'x=1', 'y=0', 'y=1'"),
        (lambda: (Disk(x=0, y=0, radius=1) * Box(t=(0, 1))).named(a=lambda t: t > 0), "asks for 't'"),
        (lambda: (Disk(x=0, y=0, radius=1) * Box(t=(0, 1))).ends("t"), r"t is no place; its ends are at\(t=0\)"),
        (lambda: Polygon(L_SHAPE, edges={6: "wall"}), "there are corners 0 to 5"),
        (lambda: Polygon(L_SHAPE, coordinates=("x", "x")), "names of two coordinates"),
        (lambda: Disk(x=0, y=0, radius=0), r"Disk\(radius=0\): a positive number"),
        (lambda: Disk(x=0, y=0, z=0, radius=1), "a center has two coordinates, not 3; a Ball has more"),
        (lambda: Disk(x=(0, 1), y=0, radius=1), "the center's coordinate is a number"),
        (lambda: Ball(x=0, radius=1), "two coordinates or more; an interval is a Box"),
        (lambda: Cylinder(x=0, y=0, z=0, radius=1), "two numbers and one interval"),
        (lambda: Cylinder(x=0, y=0, z=(1, 0), radius=1), "the lower end first"),
        (lambda: Ellipse(x=0, y=0, radii=(1, -1)), "a positive number"),
        (lambda: SQUARE - Disk(a=0, b=0, radius=1), r"the same coordinates; given were \('x', 'y'\) and \('a', 'b'\)"),
        (lambda: Box(x=(0, 1)) - Box(x=(0.2, 0.3)), "on a line give each piece as a Box of its own"),
        (lambda: SQUARE * Box(t=(0, 1)) - Disk(x=0, y=0, radius=1), "multiply by those at the end"),
        (lambda: Disk(x=0, y=0, radius=1) * Box(z=(0, 1)), "by time and parameters, .*, and not by places"),
        (lambda: SQUARE * SQUARE, "both factors have the coordinate 'x'"),
        (lambda: (SQUARE - Disk(x=0, y=0, radius=0.5)).boundary("inlet"), "no part .* is named 'inlet'; there are 'x=0'"),
        (lambda: (SQUARE - Disk(x=0, y=0, radius=0.5)).at(x=0.5), "named 'x=0.5'.*did you mean 'x=0'"),
        (lambda: (SQUARE - Disk(x=0, y=0, radius=0.5)).named(far=lambda x: x > 3), r"named\(far=...\): selects no part"),
        (lambda: (SQUARE - Disk(x=0, y=0, radius=0.5)).named(far=lambda z: z > 3), "asks for 'z'; coordinates are"),
        (lambda: (SQUARE * Box(t=(0, 1)) * Box.of_parameters(k=(0, 1))).at(k=2), "outside the domain"),
        (lambda: (Disk(x=0, y=0, radius=1) * Box(t=(0, 1))).at(t=2), "outside the domain, where t runs from 0 to 1"),
        (lambda: (Disk(x=0, y=0, radius=1) * Box(t=(0, 1))).at(t=0, x=0), "fix time and parameters, .* or a place, not both"),
    ],
)
def test_bad_shapes(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_an_operand_that_is_no_domain():
    with pytest.raises(TypeError, match="a union needs two domains; the second is a int"):
        SQUARE | 3
    with pytest.raises(TypeError, match=r"\* 2: multiply by intervals"):
        Disk(x=0, y=0, radius=1) * 2


def test_a_surface_with_the_domain_on_either_side_has_no_boundary():
    disk = Disk(x=0, y=0, radius=1)
    other = Disk(x=1, y=0, radius=1, name="other")
    either = (disk - other) | (other - disk)
    with pytest.raises(ValueError, match=r"the surface 'disk' bounds .* from either side"):
        either.boundary().sample(5, "uniform", generator(0))
