"""Places and weights of integrals: over domains, slices and parts of boundaries."""

from math import e, pi, sin, sinh

import numpy as np
import pytest
import torch

from pinntk import Box
from pinntk.geometry import Ball, Cylinder, Disk, Domain, Ellipse, Polygon
from pinntk.geometry._quadrature import quadrature

PLATE = Box(x=(0, 1), y=(0, 1)) - Disk(x=0.5, y=0.5, radius=0.2, name="hole")
LINE = Box(t=(0, 1), x=(0, 1))
HEATED = PLATE * Box(t=(0, 1))
LSHAPE = Polygon([(0, 0), (2, 0), (2, 1), (1, 1), (1, 2), (0, 2)])
TURNED = Ellipse(x=1, y=2, radii=(2, 0.7), angle=0.6)


@pytest.mark.parametrize(
    ("region", "function", "expected"),
    [
        (Box(x=(0, 2)), lambda x: np.sin(5 * pi * x / 2) + 1, 2 + 4 / (5 * pi)),
        (Box(x=(0, 1), y=(0, 1)), lambda x, y: np.exp(x) * np.cos(6 * y), (e - 1) * sin(6) / 6),
        (Box(x=(0, 1), y=(0, 1), z=(0, 2)), lambda x, y, z: np.exp(x) * np.cos(6 * y) * z, (e - 1) * sin(6) / 3),
        (LINE.at(t=0.5), lambda t, x: t * np.exp(x), (e - 1) / 2),
        (Box(x=(0, 1), y=(0, 1)).ends("x"), lambda x, y: x * np.exp(y) + 1, e + 1),
        (PLATE.boundary("hole"), lambda x, y: (x - 0.5) ** 2, pi * 0.2**3),
        (PLATE.boundary(without="hole"), lambda x, y: x**2, 2 / 3 + 1),
        (HEATED.boundary("hole"), lambda x, y, t: np.exp(t), 0.4 * pi * (e - 1)),
        (PLATE, lambda x, y: x**2 + 0 * y, 1 / 3 - pi * 0.2**2 * (0.25 + 0.01)),
        (LSHAPE, lambda x, y: np.exp(x) * y, (e**2 - 1) / 2 + 1.5 * (e - 1)),
        (HEATED.at(t=0.5), lambda x, y, t: t + 0 * x, (1 - pi * 0.2**2) / 2),
        (TURNED, lambda x, y: (x - 1) ** 2 + (y - 2) ** 2, pi * 2 * 0.7 * (4 + 0.49) / 4),
        (Disk(x=0, y=0, radius=2) & Box(x=(0, 3), y=(0, 3)), lambda x, y: x * y, 2.0),
        (Ball(x=0, y=0, z=0, radius=1).boundary(), lambda x, y, z: np.exp(x), 4 * pi * sinh(1)),
        (Cylinder(x=0, y=0, z=(0, 1), radius=1).boundary(), lambda x, y, z: x**2 + z, 3.5 * pi),
    ],
    ids=[
        *("line", "plane", "box", "slice", "faces", "arc", "edges", "arc in time", "plate", "L-shape", "plate at a time"),
        *("ellipse", "quarter", "sphere", "cylinder"),
    ],
)
def test_gauss(region, function, expected):
    found = quadrature(region, 1024)
    assert found.by_gauss and len(found) <= 1024
    assert found.weights @ function(*found.places.T) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("region", "function", "expected", "error"),
    [
        (Box.cube(4), lambda *x: np.exp(sum(x)), (e - 1) ** 4, 1e-3),
        (Box(x=(0, 2), y=(0, 2), z=(0, 2)) - Ball(x=0, y=0, z=0, radius=1), lambda x, y, z: x, 8 - pi / 16, 1e-2),
        (
            (Box(x=(0, 1), y=(0, 1), z=(0, 1)) - Ball(x=0, y=0, z=0, radius=0.5)).boundary("ball"),
            lambda x, y, z: z,
            pi / 32,
            1e-2,
        ),
    ],
    ids=["cube", "solid", "a part of a sphere"],
)
def test_sobol_points_elsewhere(region, function, expected, error):
    found = quadrature(region, 1024)
    assert not found.by_gauss
    assert found.weights @ function(*found.places.T) == pytest.approx(expected, rel=error)


@pytest.mark.parametrize(
    ("solid", "function", "expected"),
    [
        (Ball(x=0, y=0, z=1, radius=2), lambda x, y, z: x**2 + z, 32 * pi * (4 / 5 + 1) / 3),
        (Cylinder(x=0, y=(1, 3), z=0, radius=2), lambda x, y, z: x**2 * y, 16 * pi),
    ],
    ids=["ball", "cylinder"],
)
def test_gauss_in_solids(solid, function, expected):
    found = quadrature(solid, 4096)
    assert found.by_gauss and (found.weights > 0).all() and solid.contains(found.places).all()
    assert found.weights @ function(*found.places.T) == pytest.approx(expected, rel=1e-12)


def holes(*places, radius=0.1) -> Domain:
    domain = Box(x=(0, 1), y=(0, 1))
    for number, (x, y) in enumerate(places):
        domain = domain - Disk(x=x, y=y, radius=radius, name=f"hole{number}")
    return domain


@pytest.mark.parametrize(
    "shape",
    [
        holes((0.2, 0.2), (0.7, 0.2 + 1e-9), (0.45, 0.45), (0.2, 0.75), (0.75, 0.72)),
        holes((0.3, 0.5), (0.5 + 1e-9, 0.5)),  # two that nearly touch
        holes((0.1, 0.5)),  # one that touches the wall
        holes((0.0, 0.0), (1.0, 0.5)),
        Disk(x=0, y=0, radius=1) - Ellipse(x=0.3, y=0.2, radii=(0.4, 0.1), angle=0.3),
        Disk(x=0, y=0, radius=1) | Disk(x=1, y=0.3, radius=0.8),
        Polygon([(0, 0), (1, 0.3), (1.4, 1.1), (0.5, 0.8), (-0.2, 1.3)], holes=[[(0.4, 0.4), (0.7, 0.5), (0.5, 0.65)]]),
    ],
    ids=["five holes", "nearly touching", "touching", "bitten", "crescent", "union", "polygon"],
)
def test_what_cells_of_a_shape_integrate(shape):
    """x^p y^q by the boundary, of which the cells know as little as the integral over it does of them: Gauss's theorem."""
    found = quadrature(shape, 8000)
    x, y = found.places.T
    assert found.by_gauss and (found.weights > 0).all() and shape.contains(found.places).all()
    rim = quadrature(shape.boundary(), 1)
    n_x = shape.boundary().normals(torch.as_tensor(rim.places)).numpy()[:, 0]
    for p, q in [(0, 0), (1, 0), (0, 1), (2, 3), (5, 1)]:
        expected = rim.weights @ (rim.places[:, 0] ** (p + 1) * rim.places[:, 1] ** q * n_x) / (p + 1)
        assert found.weights @ (x**p * y**q) == pytest.approx(expected, abs=1e-11 * shape.measure)
    assert found.weights.sum() == pytest.approx(shape.measure, rel=1e-12)


def test_few_places_for_many_corners():
    """Where 4 x 4 nodes in every cell are too many, Sobol points; more places bring Gauss back."""
    angles = np.linspace(0, 2 * pi, 201)[:-1]
    star = Polygon((1 + 0.3 * np.cos(7 * angles))[:, None] * np.stack([np.cos(angles), np.sin(angles)], 1))
    few, many = quadrature(star, 128), quadrature(star, 1024)
    assert not few.by_gauss and len(few) == 128
    assert many.by_gauss and len(many) <= 4 * 1024
    for found, error in ((few, 0.1), (many, 1e-12)):
        assert found.weights.sum() == pytest.approx(star.measure, rel=1e-12)
        assert found.weights @ found.places[:, 0] == pytest.approx(star.polygon.centroid.x * star.measure, abs=error)
