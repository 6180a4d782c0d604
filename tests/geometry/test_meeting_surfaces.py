"""Where surfaces touch, are the same in part, or meet in small features; sizes and places far from 1; names."""

import copy
import pickle
from math import atan, pi

import numpy as np
import pytest
import torch

from pinntk.geometry import Ball, Box, Cylinder, Disk, Domain, Ellipse, Polygon
from pinntk.geometry._part import interface
from pinntk.geometry._sampling import generator
from pinntk.problem._rows import check_points

SQUARE = Box(x=(0, 1), y=(0, 1))


def turned(low: float, high: float, bottom: float = 0, top: float = 1, shift: float = 0) -> Polygon:
    """A rectangle turned by 0.3 around the origin, then shifted."""
    corners = np.array([(low, bottom), (high, bottom), (high, top), (low, top)], float)
    return Polygon(corners @ [[np.cos(0.3), np.sin(0.3)], [-np.sin(0.3), np.cos(0.3)]] + shift)


def rounded(r: float) -> Domain:
    """The square with one corner that is an arc."""
    return SQUARE - (Box(x=(0, r), y=(0, r)) - Disk(x=r, y=r, radius=r))


ELLIPSE = Ellipse(x=0, y=0, radii=(2, 1))


@pytest.mark.parametrize(
    ("shape", "area", "around"),
    [
        (SQUARE - Disk(x=0.3, y=0, radius=1e-5), 1 - pi * 1e-10 / 2, 4 - 2e-5 + pi * 1e-5),
        (SQUARE | Disk(x=1, y=0.7, radius=1e-7), 1 + pi * 1e-14 / 2, 4 - 2e-7 + pi * 1e-7),
        (Disk(x=0, y=0, radius=1) - Box(x=(0.5, 2), y=(-1e-6, 1e-6)), pi - 1e-6, 2 * pi - 2e-6 + 1 + 2e-6),
        (SQUARE - Disk(x=0.5, y=0.5, radius=0.5), 1 - pi / 4, 4 + pi),
        (SQUARE - Disk(x=0.5, y=-0.5, radius=0.5), 1, 4),
        (SQUARE | Disk(x=0.5, y=1.5, radius=0.5), 1 + pi / 4, 4 + pi),
        (SQUARE - Disk(x=0.5, y=0.2, radius=0.2), 1 - pi * 0.04, 4 + 0.4 * pi),
        (rounded(0.1), 1 - 0.01 * (1 - pi / 4), 3.8 + 0.05 * pi),
        (rounded(1 / 3), 1 - (1 - pi / 4) / 9, 4 - 2 / 3 + pi / 6),
        (SQUARE - Polygon([(0.5, 0), (0.7, 0.2), (0.5, 0.4), (0.3, 0.2)]), 0.92, 4 + 4 * 0.08**0.5),
        (SQUARE & Polygon([(0, 0), (0.25, 0), (0.5, 0), (1, 0), (1, 0.5), (0, 0.5)]), 0.5, 3),
        (Box(x=(0, 3), y=(0, 1)) - SQUARE - Box(x=(2, 3), y=(0, 1)), 1, 4),
        (turned(0, 1) | turned(1, 2), 2, 6),
        (turned(0, 1) | turned(1, 2, 0.5, 2), 2.5, 8),
        (ELLIPSE & Ellipse(x=0, y=0, radii=(1, 2)), 8 * atan(0.5), None),
        (ELLIPSE & Ellipse(x=0, y=0, radii=(2, 1), angle=pi / 2), 8 * atan(0.5), None),
        (ELLIPSE - Disk(x=0, y=0, radius=1), pi, ELLIPSE.boundary().measure + 2 * pi),
        (Disk(x=0, y=0, radius=2) - ELLIPSE, 2 * pi, ELLIPSE.boundary().measure + 4 * pi),
        (Ellipse(x=0, y=0, radii=(1e-3, 1)) & Box(x=(0, 1), y=(-2, 2)), pi / 2000, None),
        (Ellipse(x=3, y=0, radii=(1, 0.02)) - Box(x=(2, 3), y=(-1, 1)), pi / 100, None),
        (Disk(x=0, y=0, radius=1) & Disk(x=1, y=0, radius=1) & Box(x=(-1, 2), y=(0, 1)), pi / 3 - 3**0.5 / 4, 4 * pi / 6 + 1),
    ],
)
def test_areas_and_lengths_to_rounding(shape, area, around):
    assert shape.measure == pytest.approx(area, rel=1e-12)
    if around is not None:
        assert shape.boundary().measure == pytest.approx(around, rel=1e-12)
    rows = shape.boundary().sample(200, "uniform", generator(0))
    check_points("here", rows, shape.boundary())


def test_no_point_of_a_wall_lies_in_a_small_hole_in_it():
    shape = SQUARE - Disk(x=0.3, y=0, radius=1e-5)
    rows = shape.boundary("y=0").sample(500_000, "uniform", generator(0))
    assert np.abs(rows[:, 0] - 0.3).min() >= 1e-5


@pytest.mark.parametrize("radii", [(1, 1e-3), (1e-4, 1), (3, 2)])
def test_points_of_an_ellipse_are_even_in_its_length(radii):
    surface = Ellipse(x=0, y=0, radii=radii).surfaces[0]
    rows = surface.at(np.linspace(0, 1, 40_001)[:, None])
    steps = np.linalg.norm(np.diff(rows, axis=0), axis=1)
    assert np.median(steps) == pytest.approx(surface.measure / 40_000, rel=1e-5)
    assert steps.max() < 1.001 * np.median(steps)


# Sizes and places.


@pytest.mark.parametrize("unit", [1e-9, 1e9])
@pytest.mark.parametrize("away", [0, 1e6])
def test_units_and_places_far_from_the_origin(unit, away):
    low, high, middle = away * unit, (away + 1) * unit, (away + 0.5) * unit
    shape = Box(x=(low, high), y=(low, high)) - Disk(x=middle, y=middle, radius=unit / 4)
    precision = 1e-12 if not away else 1e-9
    assert shape.measure / unit**2 == pytest.approx(1 - pi / 16, rel=precision)
    assert shape.boundary().measure / unit == pytest.approx(4 + pi / 2, rel=precision)
    assert shape.at(x=low).measure == pytest.approx(unit, rel=precision)
    assert shape.ends("x").measure == pytest.approx(2 * unit, rel=precision)
    for region in (shape, shape.boundary()):
        check_points("here", region.sample(100, "sobol", generator(0)), region)


def test_the_same_edges_far_from_the_origin():
    twice = Disk(x=1e6, y=1e6, radius=1) & Disk(x=1e6, y=1e6, radius=1, name="other")
    assert twice.boundary().measure == pytest.approx(2 * pi, rel=1e-9)
    both = turned(0, 1, shift=1e6) | turned(1, 2, shift=1e6)
    assert both.measure == pytest.approx(2, rel=1e-9)
    assert both.boundary().measure == pytest.approx(6, rel=1e-9)


def test_a_shape_that_float64_does_not_tell_apart_is_refused():
    with pytest.raises(ValueError, match="tells few of its places apart; move the origin"):
        Disk(x=1e9, y=0, radius=0.1)


def test_distances_are_relative_to_the_extent_of_each_coordinate():
    shape = Box(x=(0, 1e6), y=(0, 1)) - Disk(x=0.5, y=0.5, radius=0.1)
    assert shape.distance(np.array([[0.5, 1.5], [5e5, 3]])) == pytest.approx([0.5, 2])
    assert shape.boundary("y=0").distance(np.array([[5e5, 0.5], [5e5, 1e-7]])) == pytest.approx([0.5, 1e-7])


def test_a_place_that_is_no_boundary_is_far_from_it():
    joined = SQUARE | Box(x=(0.5, 2), y=(0.2, 0.8))
    assert joined.boundary().distance(np.array([[1, 0.5], [1, 0.1]])) == pytest.approx([0.3, 0])
    low = SQUARE.named(low=lambda y: y < 0.3).boundary("low")
    assert low.distance(np.array([[0, 0.9], [0, 0.3], [0.5, 0]])) == pytest.approx([0.6, 0, 0])
    ball = (Ball(x=0, y=0, z=0, radius=1) | Ball(x=1, y=0, z=0, radius=1)).boundary()
    assert ball.distance(np.array([[1, 0, 0], [-1, 0, 0], [2, 0, 1e-7]])) == pytest.approx([2e-5, 0, 0], abs=5e-6)


# Which surface a place is of.


def test_a_place_on_two_surfaces_is_of_the_one_that_is_asked_for():
    one = Disk(x=0, y=0, radius=1, name="one").named(top=lambda y: y > 0)
    both = one & Disk(x=0, y=0, radius=1, name="two")
    assert both.boundary("top", "two").measure == pytest.approx(2 * pi)
    assert both.boundary("two", without="top").measure == pytest.approx(pi)
    left = SQUARE.named(inlet="x=0")
    joined = left | Box(x=(0, 2), y=(0.5, 1))
    parts = [joined.boundary("inlet"), joined.boundary(without="inlet")]
    assert [part.measure for part in parts] == pytest.approx([1, 5])
    assert (parts[1].sample(500, "uniform", generator(0))[:, 0] > 0).all()


def test_a_name_of_both_operands_is_that_of_both():
    joined = SQUARE.named(wall="x=0") | Box(x=(1, 2), y=(0, 1)).named(wall="x=2")
    assert joined.boundary("wall").measure == pytest.approx(2)
    hole = Disk(x=0.5, y=0.5, radius=0.1, name="wall")
    assert (SQUARE.named(wall="x=0") - hole).boundary("wall").measure == pytest.approx(1 + 0.2 * pi)
    assert (SQUARE.named(wall="x=0") - hole).named(wall="y=0").boundary("wall").measure == pytest.approx(1)


def test_normals_where_a_surface_is_the_same_as_another_that_faces_the_other_way_elsewhere():
    above, whole, below = turned(0, 1, 0, 1), turned(0, 2, 0, 1), turned(1, 2, -1, 0.5)
    part = (above | (below - whole)).boundary()
    up = np.array([-np.sin(0.3), np.cos(0.3)])
    along = np.array([np.cos(0.3), np.sin(0.3)])
    for dtype in (torch.float64, torch.float32):
        rows = torch.as_tensor(np.linspace(0.01, 1.99, 200)[:, None] * along, dtype=dtype)
        facing = part.normals(rows).numpy() @ up
        assert facing[:99] == pytest.approx(-1, abs=1e-6)
        assert facing[101:] == pytest.approx(1, abs=1e-6)


# Names of flat parts.


def test_names_of_flat_parts_tell_them_apart():
    shape = Box(x=(1e6, 1e6 + 1), y=(0, 1)) - Disk(x=1e6, y=0, radius=0.5)
    assert shape.at(x=1e6).measure == pytest.approx(0.5)
    assert shape.boundary("x=1000001").measure == pytest.approx(1)
    with pytest.raises(ValueError, match=r"'x=1000000.4' may be any of 'x=1e\+06', 'x=1000001.0': give all"):
        shape.boundary("x=1000000.4")
    third = Box(x=(1 / 3, 1), y=(0, 1)) - Disk(x=1, y=1, radius=0.1)
    assert third.boundary("x=0.333333").measure == third.at(x=1 / 3).measure == pytest.approx(1)
    sums = Box(x=(0, 0.1 + 0.2), y=(0, 1)) | Box(x=(0, 0.3), y=(1, 2))
    assert sums.at(x=0.3).measure == sums.boundary("x=0.3").measure == pytest.approx(2)


def test_a_name_without_places_is_refused_beside_others():
    half = Box(x=(0, 2), y=(0, 2)) - Box(x=(1, 2), y=(0, 2))
    with pytest.raises(ValueError, match=r"'x=2' of .* has no places: nothing of it bounds the domain; leave it out"):
        half.ends("x").sample(5, "uniform", generator(0))
    same = Disk(x=0, y=0, radius=1, name="one") & Disk(x=0, y=0, radius=1, name="two")
    assert same.boundary("one", "two").measure == pytest.approx(2 * pi)


# Many dimensions.


@pytest.mark.parametrize("dimension", [2, 3, 20])
def test_balls_in_many_dimensions(dimension):
    ball = Ball(**{f"x{i}": 1.0 for i in range(dimension)}, radius=2)
    shell = ball - Ball(**{f"x{i}": 1.0 for i in range(dimension)}, radius=1.9, name="core")
    assert shell.measure == pytest.approx(ball.measure * (1 - 0.95**dimension), rel=2e-3)
    rows = shell.sample(400, "sobol", generator(0))
    radii = np.linalg.norm(rows - 1, axis=1)
    assert len(rows) == 400 and radii.min() >= 1.9 and radii.max() <= 2 * (1 + 1e-12)
    assert (((radii / 2) ** dimension - 0.95**dimension) / (1 - 0.95**dimension)).mean() == pytest.approx(0.5, abs=0.02)
    assert ball.named(half=lambda x0: x0 > 1).measure == ball.measure
    assert ball.named(half=lambda x0: x0 > 1).boundary("half").measure == pytest.approx(ball.boundary().measure / 2, rel=1e-3)
    for part in (ball.boundary(), shell.boundary("core")):
        places = torch.as_tensor(part.sample(50, "uniform", generator(1)))
        outward = 1 if part is ball.boundary() else -1
        assert ((places - 1) * part.normals(places)).sum(1).numpy() == pytest.approx(2 if outward > 0 else -1.9)


def test_a_grid_in_a_ball_of_many_dimensions_is_refused():
    with pytest.raises(ValueError, match=r'of the box around it; use "sobol" points'):
        Ball(**{f"x{i}": 0.0 for i in range(20)}, radius=1).sample(100, "grid", generator(0))


def test_a_grid_on_a_part_of_an_area_is_a_whole_one():
    half = Cylinder(x=0, y=0, z=(0, 1), radius=1).named(half=lambda x: x > 0.01).boundary("half")
    for n in (40, 70, 200):
        rows = half.sample(n, "grid", generator(0))
        assert 0 < len(rows) <= n
        assert rows[:, 1].max() == pytest.approx(-rows[:, 1].min())


# Regions as keys.


def test_products_of_the_same_factors_are_equal():
    shape = SQUARE - Disk(x=0.5, y=0.5, radius=0.2)
    one, other = (shape * Box(t=(0, 1)) for _ in range(2))
    assert one == other and hash(one) == hash(other) and one != shape * Box(t=(0, 2))
    assert one.boundary("disk") == other.boundary("disk")
    assert one.boundary("disk").pieces is other.boundary("disk").pieces
    assert (one.at(t=0) | other.at(t=1)).domain == other


def test_copies():
    shape = (SQUARE - Disk(x=0.5, y=0.5, radius=0.2)).named(wall="x=0") * Box(t=(0, 1))
    for used in (False, True):
        if used:
            assert shape.boundary("wall").measure == pytest.approx(1)
        for other in (copy.deepcopy(shape), pickle.loads(pickle.dumps(shape))):
            assert other.measure == pytest.approx(1 - 0.04 * pi)
            assert other.boundary("wall", "disk").measure == pytest.approx(1 + 0.4 * pi)


def test_many_edges():
    angles = np.linspace(0, 2 * pi, 10_000, endpoint=False)
    wheel = Polygon(np.stack([np.cos(angles), np.sin(angles)], 1)) - Disk(x=1, y=0, radius=0.5)
    lens = 0.25 * np.arccos(0.25) + np.arccos(0.875) - 0.5 * (0.5 * 0.5 * 2.5 * 1.5) ** 0.5
    assert wheel.measure == pytest.approx(pi - lens, rel=1e-6)


# Mistakes.


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Cylinder(x=0, y=0, z=(0, float("inf")), radius=1), "an interval needs finite ends"),
        (lambda: Cylinder(x=0, y=0, z=(0, 1, 2), radius=1), r"Cylinder\(z=\(0, 1, 2\)\): an interval is a pair of numbers"),
        (lambda: Ellipse(x=0, y=0, radii=2), r"Ellipse\(radii=2\): two numbers"),
        (lambda: Ellipse(x=0, y=0, radii=(1, 2, 3)), "two numbers, along its own two axes"),
        (lambda: Ellipse(x=0, y=0, radii=(1, 2), angle=float("nan")), r"Ellipse\(angle=nan\): a number, in radians"),
    ],
)
def test_bad_shapes(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_a_shapely_geometry_that_is_no_polygon():
    two = turned(0, 1).polygon.union(turned(2, 3).polygon)
    with pytest.raises(TypeError, match=r"a shapely.MultiPolygon is none; give each polygon by itself, joined by \|"):
        Polygon(two)
    assert Cylinder(x=np.float32(0), y=np.int64(0), z=(0, 1), radius=1).measure == pytest.approx(pi)


def test_an_interface_ends_where_the_other_domain_does():
    corner = Polygon([(0.3, 1), (0.7, 1), (0.9, 2), (0.1, 2)])
    assert interface(SQUARE, corner).measure == pytest.approx(0.4, rel=1e-12)
    assert interface(corner, SQUARE).measure == pytest.approx(0.4, rel=1e-12)
    small = Disk(x=0.5, y=0, radius=1e-4)
    assert interface(SQUARE - small, small).measure == pytest.approx(1e-4 * pi, rel=1e-9)
    turned_pair = interface(turned(0, 1, shift=100), turned(1, 2, 0.5, 2, shift=100))
    assert turned_pair.measure == pytest.approx(0.5, rel=1e-9)
