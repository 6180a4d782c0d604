"""Laplace equation in a plate with four holes: lap u = 0 on [-0.5, 0.5]^2 less disks, u = 1 on the outside, u = 0 on the disks.

Radius 0.1, centers (+-0.3, +-0.3): the 2D Poisson problem "classic" of PINNacle (Hao et al. 2023). No formula is known; the
reference is a sum of harmonic functions, fitted on the boundary to 1e-12, which by the maximum principle bounds its error.
Computed once, in a second, and kept in the user's cache folder. PINNacle's own data are 3e-5 away from it.
"""

import numpy as np

from pinntk import Box, GridSolution, Problem, boundary, cached, residual
from pinntk.geometry import Disk, Domain

RADIUS = 0.1
CENTERS = [(0.3, 0.3), (-0.3, 0.3), (-0.3, -0.3), (0.3, -0.3)]


def problem() -> Problem:
    domain: Domain = Box(x=(-0.5, 0.5), y=(-0.5, 0.5))
    for x, y in CENTERS:
        domain = domain - Disk(x=x, y=y, radius=RADIUS, name="hole")

    @residual(domain)
    def laplace(lap_u):
        return lap_u

    @boundary(domain.boundary(without="hole"))
    def walls(u):
        return u - 1

    @boundary(domain.boundary("hole"))
    def holes(u):
        return u

    def reference():
        arrays = cached("poisson_holes-v1", lambda: fitted(domain))
        return GridSolution((arrays["points"],), arrays["u"])

    return Problem(domain, [laplace, walls, holes], reference=reference)


def fitted(domain: Domain) -> dict[str, np.ndarray]:
    """points (n, 2) of a grid of 101 x 101 that lie in the plate, and u (n,) there."""
    rng = np.random.default_rng(0)
    walls, holes = (part.sample(400, "grid", rng) for part in (domain.boundary(without="hole"), domain.boundary("hole")))
    u = np.repeat([1.0, 0.0], [len(walls), len(holes)])
    c = np.linalg.lstsq(harmonics(np.concatenate([walls, holes])), u, rcond=1e-15)[0]
    grid = domain.grid((101, 101))
    points = grid[domain.distance(grid) < 1e-5]
    return {"points": points, "u": harmonics(points) @ c}


def harmonics(points: np.ndarray, degree: int = 40, order: int = 18) -> np.ndarray:
    """Harmonic functions at points (n, 2), one a column: parts of z^n, and of log w and w^-n around every hole, less their
    mirror images at the walls, so that what is left for z^n is smooth.
    """
    x, y = points.T
    columns = [((x + 1j * y) / 2**-0.5) ** n for n in range(degree + 1)]
    images = [(sx, sy) for sx in (-1, 0, 1) for sy in (-1, 0, 1)]
    for a, b in CENTERS:
        around = np.zeros((order + 1, len(points)), complex)
        for sx, sy in images:
            w = ((sx - x if sx else x) - a + 1j * ((sy - y if sy else y) - b)) / RADIUS
            around += (-1) ** (sx + sy) * np.stack([np.log(abs(w)), *(w**-n for n in range(1, order + 1))])
        columns += list(around)
    A = np.stack(columns, 1)
    return np.concatenate([A.real, A.imag], 1)
