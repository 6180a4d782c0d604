"""Steady flow over a backward-facing step: the incompressible Navier-Stokes equations on [0, 8] x [0, 2] less [0, 2] x [1, 2].

A parabola of height 1 enters at x = 0 into a channel of height 1, which is twice as high from x = 2 on; walls hold the fluid,
and no force acts at the outflow (Armaly, Durst, Pereira & Schoenung 1983; Re = 100 by height and largest velocity of the inflow
with nu = 0.01). The fluid leaves the wall at the step and comes back to it 3.6 heights further on; in between it turns slowly.
At the corner of the step the slopes of u and the pressure are infinite. No formula is known; the reference is a spectral
element solution (elements of degree 7, smaller and smaller towards the corner, Newton's method), computed once, in seconds,
and kept in the user's cache folder, to 1e-5 of one of degree 8. At nu = 1/75 (Re = 100 by twice the inflow's height and its
mean) the flow comes back after 2.92 heights, where Erturk 2008 has 2.922. PINNacle's `NS2D_BackStep` ends at x = 4, where the
fluid still turns.
"""

from itertools import pairwise

import numpy as np

from pinntk import Box, GridSolution, Problem, cached, residual
from pinntk.problem import SpectralElements, channel_conditions, rectangle, steady_flow

LENGTH, STEP, HEIGHT = 8.0, 2.0, 1.0  # HEIGHT of the inflow


def problem(nu: float = 0.01) -> Problem:
    if not 0.01 <= nu <= 1:
        raise ValueError(f"nu={nu}: from 0.01 (below, what turns behind the step comes close to the outflow) to 1")
    domain = Box(x=(0, LENGTH), y=(0, 2 * HEIGHT)) - Box(x=(0, STEP), y=(HEIGHT, 2 * HEIGHT))
    ends = ("x=0", f"x={LENGTH:g}")
    inflow, outflow = (domain.boundary(end) for end in ends)

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
        arrays = cached(f"backward_step-v1-nu{nu:.17g}", lambda: table(nu))
        return GridSolution((arrays["points"],), arrays["fields"])

    walls = channel_conditions(inflow, domain.boundary(without=ends), outflow, profile, nu)
    conditions = [momentum_x, momentum_y, continuity, *walls]
    return Problem(domain, conditions, ("u", "v", "p"), reference=reference, solution_accuracy=1e-5)


def profile(y):
    """Poiseuille's velocity."""
    return 4 * y * (HEIGHT - y) / HEIGHT**2


def cells(layers: int) -> list[tuple[float, float, float, float]]:
    """(left, right, bottom, top), in `layers` of a fifth of the size each towards the corner of the step."""
    close = 0.5 * 0.2 ** np.arange(layers)
    xs = np.concatenate([[0, 1], STEP - close, [STEP], STEP + close[::-1], np.arange(STEP + 1, LENGTH + 1)])
    ys = np.concatenate([[0], HEIGHT - close, [HEIGHT], HEIGHT + close[::-1], [2 * HEIGHT]])
    return [(a, b, c, d) for a, b in pairwise(xs) for c, d in pairwise(ys) if a >= STEP or c < HEIGHT]


def flow(mesh: SpectralElements, nu: float, start: np.ndarray | None = None) -> np.ndarray:
    """u, v and p (elements, nodes, 3)."""
    x, y = mesh.places.T
    velocity = np.full((len(x), 2), np.nan)
    velocity[(y == 0) | (y == 2 * HEIGHT) | ((x <= STEP) & (y >= HEIGHT))] = 0
    velocity[x == 0] = np.stack([profile(y), 0 * y], 1)[x == 0]
    return steady_flow(mesh, nu, velocity, start)


def table(nu: float, degree: int = 7, layers: int = 4, spacing: float = 0.04) -> dict[str, np.ndarray]:
    """points (n, 2) in the middles of squares of side `spacing`, and u, v and p (n, 3) there."""
    squares = cells(layers)
    coarse, mesh = (SpectralElements([rectangle(*square) for square in squares], n) for n in (5, degree))
    fields = flow(mesh, nu, coarse.interpolated(flow(coarse, nu), mesh.x, mesh.x))
    middles = [spacing * (np.arange(round(length / spacing)) + 0.5) for length in (LENGTH, 2 * HEIGHT)]
    points, values = [], []
    for (left, right, bottom, top), here in zip(squares, fields, strict=True):
        x, y = (m[(m >= low) & (m < high)] for m, low, high in zip(middles, (left, bottom), (right, top), strict=True))
        points.append(np.stack([a.ravel() for a in np.meshgrid(x, y, indexing="ij")], 1))
        values.append(mesh.interpolated(here, 2 * (x - left) / (right - left) - 1, 2 * (y - bottom) / (top - bottom) - 1))
    return {"points": np.concatenate(points), "fields": np.concatenate(values)}
