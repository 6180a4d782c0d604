"""References of problems on shapes: they meet equation and boundary values, and what is published of them."""

import numpy as np
import pytest

import pinntk
from pinntk.geometry import Part


def table(problem, count: int) -> tuple[np.ndarray, float]:
    """The reference on a grid of its domain's box (count, count), NaN outside, and the distance of two places."""
    low, high = problem.domain.low, problem.domain.high
    steps = (problem.solution_points - low) / (high - low) * (count - 1)
    i, j = np.rint(steps).astype(int).T
    assert np.abs(steps - np.rint(steps)).max() < 1e-9
    found = np.full((count, count), np.nan)
    found[i, j] = problem.solution.values[:, 0]
    return found, (high - low)[0] / (count - 1)


def laplacian(u: np.ndarray, h: float) -> np.ndarray:
    """By nine places, whose error is of order h^6 for functions with a constant Laplacian."""
    sides = u[2:, 1:-1] + u[:-2, 1:-1] + u[1:-1, 2:] + u[1:-1, :-2]
    corners = u[2:, 2:] + u[2:, :-2] + u[:-2, 2:] + u[:-2, :-2]
    return (4 * sides + corners - 20 * u[1:-1, 1:-1]) / (6 * h**2)


def on(part: Part, problem) -> np.ndarray:
    """Values of the reference at those of its points that lie on a part of the boundary."""
    return problem.solution.values[part.distance(problem.solution_points) < 1e-5, 0]


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
