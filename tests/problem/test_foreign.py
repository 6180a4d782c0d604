"""Foreign conditions and regions as parts of a problem."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import pinntk
from pinntk.problem import ForeignCondition, PointSet

DOMAIN = pinntk.Box(x=(0, 1), y=(0, 1))
ROWS = np.array([[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]])


def disk(n: int, rng: np.random.Generator) -> np.ndarray:
    r, phi = np.sqrt(rng.random(n)), 2 * np.pi * rng.random(n)
    return 0.5 + 0.5 * np.stack([r * np.cos(phi), r * np.sin(phi)], 1)


DISK = PointSet(DOMAIN, ROWS, draw=disk, inside=lambda p: ((p - 0.5) ** 2).sum(1) <= 0.25 + 1e-9)


def values(network, points):
    return network(points[:, :2]).squeeze(1)


def test_given_points_are_all_there_are():
    region = PointSet(DOMAIN, ROWS, {"seen": [1, 2, 3]})
    problem = pinntk.Problem(DOMAIN, [ForeignCondition("pde", "residual", region, values)])
    assert problem.default_counts() == {"pde": None}
    assert torch.equal(problem.sample(dtype=torch.float64)["pde"], torch.tensor(np.column_stack([ROWS, [1, 2, 3]])))
    assert problem.sample(pde=2)["pde"].shape == (2, 3)
    assert problem["pde"].columns == ("seen",) and problem["pde"].width == 3
    with pytest.raises(ValueError, match="4 points asked for, but only 3 were given"):
        problem.sample(pde=4)
    with pytest.raises(ValueError, match="row 0 is"):
        problem.check({"pde": [[2.0, 0.0, 1.0]]})


def test_a_foreign_geometry_draws_and_knows_its_points():
    problem = pinntk.Problem(DOMAIN, [ForeignCondition("pde", "residual", DISK, values)])
    assert problem.default_counts() == {"pde": 1000}
    points = problem.sample(pde=50, seed=1)["pde"]
    assert torch.equal(points, problem.sample(pde=50, seed=1)["pde"])
    assert not torch.equal(points, problem.sample(pde=50, seed=2)["pde"])
    assert bool(((points - 0.5).square().sum(1) <= 0.2501).all())
    with pytest.raises(ValueError, match="a geometry of its own in x in"):
        problem.check({"pde": [[0.5, 0.5], [0.01, 0.01]]})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"points": np.zeros((2, 3))}, r"points have shape \(2, 3\); expected \(n, 2\)"),
        ({"points": [[0.0, np.nan]]}, "points has NaN or infinity in row 0"),
        ({"points": ROWS, "columns": {"seen": [1, 2]}}, "column 'seen' has 2 values for 3 points"),
        ({"points": ROWS, "columns": {"seen": [1, 2, 3]}, "draw": disk}, "fresh points have no such values"),
    ],
)
def test_points_that_do_not_fit_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        PointSet(DOMAIN, **arguments)


def test_a_geometry_that_draws_too_few_is_named():
    region = PointSet(DOMAIN, ROWS, draw=lambda n, rng: disk(n - 1, rng))
    with pytest.raises(ValueError, match="draw returned 4 points where 5 were asked for"):
        region.sample(5, "uniform", np.random.default_rng(0))


def test_conditions_that_are_none_are_refused():
    with pytest.raises(ValueError, match="kind='pde'; one of"):
        ForeignCondition("pde", "pde", DISK, values)
    with pytest.raises(TypeError, match="errors is a str; give a function"):
        ForeignCondition("pde", "residual", DISK, "u_xx")


def test_conditions_of_one_region_share_their_points():
    both = [ForeignCondition(name, "residual", DISK, values) for name in ("a", "b")]
    points = pinntk.Problem(DOMAIN, both).sample(residual=7)
    assert points["a"] is points["b"]


def test_a_coefficient_may_be_known_to_foreign_code_only():
    kappa = torch.nn.Parameter(torch.tensor(2.0))
    condition = ForeignCondition("pde", "residual", DISK, lambda net, p: kappa * values(net, p))
    problem = pinntk.Problem(DOMAIN, [condition], coefficients={"kappa": kappa})
    assert problem.coefficients["kappa"] is kappa and problem.foreign == ("pde",) and problem.arguments["pde"] == ()
