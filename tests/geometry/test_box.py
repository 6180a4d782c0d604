"""Domains, faces and points on them."""

import numpy as np
import pytest
import torch

from pinntk.geometry._sampling import METHODS, generator, grid, grid_counts, unit_cube
from pinntk.problem import Box, Measurements
from pinntk.problem._rows import check_points

BOX = Box(t=(0, 2), x=(-1, 1), y=(3, 4))


def regions():
    return {
        "box": BOX,
        "start": BOX.at(t=0),
        "edge": BOX.at(x=0.5, y=3),
        "ends": BOX.ends("x", "y"),
        "boundary": BOX.boundary() | BOX.at(t=2),
        "periodic": BOX.ends("y").periodic_pair(),
    }


@pytest.mark.parametrize("n", [1, 7, 30])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", regions())
def test_samples_lie_in_the_region_and_are_reproducible(name, method, n):
    region = regions()[name]
    rows = region.sample(n, method, generator(3, name))
    assert rows.shape[1] == 3
    assert 1 <= len(rows) <= n
    assert len(rows) == n or method == "grid"
    assert region.distance(rows).max() == 0
    check_points(name, rows, region)
    assert np.array_equal(rows, region.sample(n, method, generator(3, name)))


@pytest.mark.parametrize("method", ["uniform", "latin-hypercube", "sobol"])
def test_another_seed_or_key_gives_other_points(method):
    first = BOX.sample(5, method, generator(0, "a"))
    assert not np.array_equal(first, BOX.sample(5, method, generator(1, "a")))
    assert not np.array_equal(first, BOX.sample(5, method, generator(0, "b")))


def test_a_generator_is_the_same_on_every_machine():
    raw = generator(7, "heat", 3).bit_generator.random_raw(2)
    assert raw.tolist() == [6150702133399640437, 2563415427326305219]


@pytest.mark.parametrize(
    ("n", "d", "counts"), [(10, 1, (10,)), (9, 2, (3, 3)), (13, 2, (4, 3)), (30, 3, (3, 3, 3)), (1, 4, (1,) * 4)]
)
def test_grid_counts_are_the_largest_near_cube(n, d, counts):
    assert grid_counts(n, d) == counts


def test_grid_has_both_ends_and_the_middle_for_a_single_point():
    assert grid((3, 1)).tolist() == [[0, 0.5], [0.5, 0.5], [1, 0.5]]
    assert BOX.grid((1, 2, 2)).tolist() == [[1, -1, 3], [1, -1, 4], [1, 1, 3], [1, 1, 4]]


def test_latin_hypercube_puts_one_point_in_every_stratum():
    rows = unit_cube(8, 3, "latin-hypercube", generator(0))
    assert np.array_equal(np.sort(np.floor(8 * rows), 0), np.repeat(np.arange(8.0)[:, None], 3, 1))


def test_unknown_method():
    with pytest.raises(
        ValueError, match="sampling method 'halton' is unknown; use one of uniform, grid, latin-hypercube, sobol"
    ):
        BOX.sample(4, "halton", generator(0))


def test_faces_share_out_points_by_their_extent():
    rows = Box(x=(0, 3), y=(0, 1)).boundary().sample(8, "uniform", generator(0))
    on = [(rows[:, axis] == value).sum() for axis, value in [(0, 0), (0, 3), (1, 0), (1, 1)]]
    assert on == [1, 1, 3, 3]


def test_box_properties():
    assert BOX.coordinates == ("t", "x", "y")
    assert (BOX.dimension, BOX.space, BOX.axis("y")) == (3, (1, 2), 2)
    assert BOX.boundary().pieces == (((1, -1.0),), ((1, 1.0),), ((2, 3.0),), ((2, 4.0),))
    assert Box.cube(2, (0, 5), "z") == Box(z1=(0, 5), z2=(0, 5))
    assert hash(Box(x=(0, 1))) == hash(Box(x=(0.0, 1.0)))


def test_descriptions():
    assert BOX.describe() == "t in [0, 2] x x in [-1, 1] x y in [3, 4]"
    assert (BOX.at(t=0, x=1) | BOX.at(y=3)).describe() == "t = 0, x = 1 or y = 3"


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Box(), "needs at least one coordinate"),
        (lambda: Box(x=3), "an interval is a pair of numbers"),
        (lambda: Box(x=(1, 1)), "needs finite ends, the lower one first"),
        (lambda: Box(x=(0, float("inf"))), "needs finite ends"),
        (lambda: Box.cube(0), "at least one coordinate"),
        (lambda: BOX.axis("z"), r"coordinate 'z' is unknown; the domain has \('t', 'x', 'y'\)"),
        (lambda: BOX.at(), "needs a coordinate and its value"),
        (lambda: BOX.at(t=3), r"at\(t=3\): outside the domain, where t runs from 0 to 2"),
        (lambda: BOX.ends(), "ends.. needs a coordinate"),
        (lambda: BOX.at(t=0) | Box(t=(0, 1)).at(t=0), "only faces of the same domain"),
        (lambda: BOX.at(t=0).periodic_pair(), "two ends of one coordinate"),
        (lambda: BOX.ends("x", "y").periodic_pair(), "two ends of one coordinate"),
        (lambda: (BOX.at(x=-1) | BOX.at(x=0)).periodic_pair(), "two ends of one coordinate"),
    ],
)
def test_bad_domains(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_normals_point_outwards():
    rows = torch.tensor([[0.5, -1, 3.5], [0.5, 1, 3.5], [0.5, 0, 3], [0.5, 0, 4]])
    assert BOX.boundary().normals(rows).tolist() == [[0, -1, 0], [0, 1, 0], [0, 0, -1], [0, 0, 1]]
    corner = torch.tensor([[0.0, 1.0, 4.0]])
    assert BOX.boundary().normals(corner).tolist() == [[0, 1, 0]]


@pytest.mark.parametrize("faces", [BOX.at(x=0), BOX.at(x=1, y=3)])
def test_a_slice_inside_has_no_normal(faces):
    assert not faces.has_normals
    assert BOX.ends("x").has_normals


def test_periodic_pair():
    pair = BOX.ends("x").periodic_pair()
    lower = torch.as_tensor(pair.sample(5, "uniform", generator(0)))
    upper = pair.opposite(lower)
    assert (lower[:, 1] == -1).all()
    assert (upper[:, 1] == 1).all()
    assert torch.equal(lower[:, [0, 2]], upper[:, [0, 2]])
    assert pair.distance(upper.numpy()).min() == 1


def test_distance_is_relative_to_the_extent():
    rows = np.array([[1, 0, 3.5], [3, 0, 3.5], [1, 0, 2.9], [0, -1, 3.5]])
    assert BOX.distance(rows) == pytest.approx([0, 0.5, 0.1, 0])
    assert BOX.ends("x").distance(rows) == pytest.approx([0.5, 0.5, 0.5, 0])


def test_measurements():
    rows = np.array([[0.1, 0.0, 3.5], [0.5, 0.5, 3.1], [1.5, -0.5, 3.9]])
    region = Measurements(BOX, rows, {"seen": np.array([1.0, 2.0, 3.0])})
    assert region.sample(3, "uniform", generator(0)).tolist() == np.column_stack([rows, [1, 2, 3]]).tolist()
    for seed in range(5):
        drawn = region.sample(2, "grid", generator(seed))
        assert len(np.unique(drawn, axis=0)) == 2
        assert all(row in region.rows.tolist() for row in drawn.tolist())
    with pytest.raises(ValueError, match="4 data points asked for, but only 3 were measured"):
        region.sample(4, "uniform", generator(0))
