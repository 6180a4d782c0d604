"""Steady flow past a cylinder in a channel: the incompressible Navier-Stokes equations on [0, 2.2] x [0, 0.41] less a disk.

The DFG benchmark 2D-1 (Schaefer & Turek 1996; Re = 20 with nu = 1e-3), as in jaxpi: a parabola of height 0.3 enters at x = 0,
walls and cylinder (radius 0.05 around (0.2, 0.2)) hold the fluid, and no force acts at the outflow. No formula is known; the
reference is a spectral element solution (24 elements of degree 12, Newton's method), computed once, in seconds, and kept in the
user's cache folder, to 3e-5 of one of degree 15. Its drag is 5.579540, its lift 0.010622, its drop of pressure 0.117522; of
degree 15 they are 5.57953529, 0.01061895 and 0.11751995, where Nabh (1998) has 5.57953523, 0.01061895 and 0.11752017.
"""

from collections.abc import Callable
from itertools import pairwise

import numpy as np

from pinntk import Box, GridSolution, Problem, cached, residual
from pinntk.geometry import Disk
from pinntk.problem import SpectralElements, channel_conditions, rectangle, steady_flow

LENGTH, HEIGHT, SPEED = 2.2, 0.41, 0.3
X, Y, RADIUS = 0.2, 0.2, 0.05

Map = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


def problem(nu: float = 1e-3) -> Problem:
    if not 5e-4 <= nu <= 1:
        raise ValueError(f"nu={nu}: from 5e-4 (below, the flow soon sheds vortices and has no steady state) to 1")
    domain = Box(x=(0, LENGTH), y=(0, HEIGHT)) - Disk(x=X, y=Y, radius=RADIUS, name="cylinder")
    inflow, outflow = domain.boundary("x=0"), domain.boundary(f"x={LENGTH}")
    solid = domain.boundary("y=0", f"y={HEIGHT}", "cylinder")

    @residual(domain)
    def momentum_x(u, v, u_x, u_y, p_x, lap_u):
        return u * u_x + v * u_y + p_x - nu * lap_u

    @residual(domain)
    def momentum_y(u, v, v_x, v_y, p_y, lap_v):
        return u * v_x + v * v_y + p_y - nu * lap_v

    @residual(domain)
    def continuity(u_x, v_y):
        return u_x + v_y

    def reference():
        arrays = cached(f"cylinder_flow-v1-nu{nu:.17g}", lambda: table(nu))
        return GridSolution((arrays["points"],), arrays["fields"])

    conditions = [momentum_x, momentum_y, continuity, *channel_conditions(inflow, solid, outflow, profile, nu)]
    return Problem(domain, conditions, ("u", "v", "p"), reference=reference, solution_accuracy=5e-5)


def profile(y):
    """Poiseuille's velocity."""
    return 4 * SPEED * y * (HEIGHT - y) / HEIGHT**2


def table(nu: float, spacing: float = 0.01) -> dict[str, np.ndarray]:
    """points (n, 2) in every element, about that far apart, and u, v and p (n, 3) there."""
    coarse, fine = SpectralElements(blocks(), 6), SpectralElements(blocks(), 12)
    fields = flow(fine, nu, coarse.interpolated(flow(coarse, nu), fine.x, fine.x))
    points, values = [], []
    for place, here in zip(blocks(), fields, strict=True):
        corners = np.stack(place(np.array([-1.0, 1, -1]), np.array([-1.0, -1, 1])), 1)
        counts = [max(2, int(np.linalg.norm(corners[i] - corners[0]) / spacing + 0.5)) for i in (1, 2)]
        r, s = (2 * (np.arange(n) + 0.5) / n - 1 for n in counts)
        points.append(np.stack(place(*(a.ravel() for a in np.meshgrid(r, s, indexing="ij"))), 1))
        values.append(fine.interpolated(here, r, s))
    return {"points": np.concatenate(points), "fields": np.concatenate(values)}


def flow(mesh: SpectralElements, nu: float, start: np.ndarray | None = None) -> np.ndarray:
    """u, v and p (elements, nodes, 3)."""
    x, y = mesh.places.T
    velocity = np.full((len(x), 2), np.nan)
    velocity[(y < 1e-9) | (y > HEIGHT - 1e-9) | (np.hypot(x - X, y - Y) < RADIUS + 1e-9)] = 0
    velocity[x < 1e-9] = np.stack([profile(y), 0 * y], 1)[x < 1e-9]
    return steady_flow(mesh, nu, velocity, start)


def blocks() -> list[Map]:
    """Rectangles, and four quarters of the square of side 0.2 around the cylinder."""
    xs, ys = [0, X - 0.1, X + 0.1, 0.45, 0.7, 1.05, 1.55, LENGTH], [0, Y - 0.1, Y + 0.1, HEIGHT]
    cells = [(a, b, c, d) for a, b in pairwise(xs) for c, d in pairwise(ys)]
    return [*(rectangle(*cell) for cell in cells if cell[::2] != (xs[1], ys[1])), *(quarter(i * np.pi / 2) for i in range(4))]


def quarter(turn: float) -> Map:
    """From the cylinder, s = -1, to the side of the square, s = 1."""

    def place(r: np.ndarray, s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        angle, share = turn + np.pi / 4 * r, (s + 1) / 2
        x = (1 - share) * RADIUS * np.cos(angle) + share * 0.1 * (np.cos(turn) - np.sin(turn) * r)
        y = (1 - share) * RADIUS * np.sin(angle) + share * 0.1 * (np.sin(turn) + np.cos(turn) * r)
        return X + x, Y + y

    return place
