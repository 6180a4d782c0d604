"""Poisson equation on an L-shape: -lap u = 1 on [-1, 1]^2 without the quadrant x > 0 > y, u = 0 on the boundary.

The gradient is infinite at the corner that points inward: u grows as r^(2/3). No formula is known; the reference is a sum of
functions that solve the equation, fitted on the boundary to 1e-10, which by the maximum principle bounds its error (Fox,
Henrici & Moler 1967). Computed once, in a second, and kept in the user's cache folder. Its integral is 0.2140758027, where
adaptive finite elements extrapolate to 0.2140758036.
"""

import numpy as np

from pinntk import GridSolution, Problem, boundary, cached, residual
from pinntk.geometry import Domain, Polygon

CORNERS = [(0, 0), (1, 0), (1, 1), (-1, 1), (-1, -1), (0, -1)]


def problem() -> Problem:
    domain = Polygon(CORNERS)

    @residual(domain)
    def poisson(lap_u):
        return lap_u + 1

    @boundary(domain.boundary())
    def walls(u):
        return u

    def reference():
        arrays = cached("poisson_lshape-v1", lambda: fitted(domain))
        return GridSolution((arrays["points"],), arrays["u"])

    return Problem(domain, [poisson, walls], reference=reference)


def fitted(domain: Domain) -> dict[str, np.ndarray]:
    """points (n, 2) of a grid of 121 x 121 that lie in the L-shape, and u (n,) there."""
    places = domain.boundary().sample(1800, "grid", np.random.default_rng(0))
    z = places @ [1, 1j]
    c = np.linalg.lstsq(harmonics(z), abs(z) ** 2 / 4, rcond=1e-15)[0]
    grid = domain.grid((121, 121))
    points = grid[domain.distance(grid) < 1e-5]
    z = points @ [1, 1j]
    return {"points": points, "u": harmonics(z) @ c - abs(z) ** 2 / 4}


def harmonics(z: np.ndarray, degree: int = 40, order: int = 20) -> np.ndarray:
    """Harmonic functions at complex z (n,), one a column: parts of z^n, of z^(2/3 + n) and z^(4/3 + n), as the corner at 0 has
    them, and of w^2 log w for w = z - corner, which the right-hand side 1 brings forth at every corner.
    """
    inward = np.exp(0.25j * np.pi) * np.array([1j, 1j, -1, -1j, 1, 1j])  # from each corner, so that no log jumps inside
    root = np.log(np.where(z == 0, 1, z / inward[0])) + np.log(inward[0])
    columns: list[np.ndarray] = [(z / 2**0.5) ** n for n in range(degree + 1)]
    columns += [np.exp(power * root) * (z != 0) * (z / 2**0.5) ** n for power in (2 / 3, 4 / 3) for n in range(order + 1)]
    for (x, y), direction in zip(CORNERS, inward, strict=True):
        w = z - (x + 1j * y)
        columns += [w**2 * np.log(np.where(w == 0, 1, w / direction))]
    A = np.stack(columns, 1)
    return np.concatenate([A.real, A.imag], 1)
