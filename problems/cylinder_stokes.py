"""Stokes flow past a cylinder in a channel: -nu lap u + p_x = 0, -nu lap v + p_y = 0, u_x + v_y = 0 on [0, 2.2] x [0, 0.41].

The channel of the DFG benchmark (Schaefer & Turek 1996) less a disk of radius 0.05 around (0.2, 0.2), as in jaxpi (nu = 1e-3).
A parabola of height 0.3 enters at x = 0, walls and cylinder hold the fluid, and no force acts at the outflow. No formula is
known; the reference is Poiseuille's flow and point forces outside of the fluid, fitted on the boundary to 1e-6. Computed once,
in a second, and kept in the user's cache folder. jaxpi's own data (Taylor-Hood elements) are 2e-4 away from it.
"""

import numpy as np

from pinntk import Box, GridSolution, Problem, cached, residual
from pinntk.geometry import Disk, Domain
from pinntk.problem import channel_conditions

LENGTH, HEIGHT, SPEED = 2.2, 0.41, 0.3
X, Y, RADIUS = 0.2, 0.2, 0.05


def problem(nu: float = 1e-3) -> Problem:
    if not nu > 0:
        raise ValueError(f"nu={nu}: a positive number, the viscosity")
    domain = Box(x=(0, LENGTH), y=(0, HEIGHT)) - Disk(x=X, y=Y, radius=RADIUS, name="cylinder")
    inflow, outflow = domain.boundary("x=0"), domain.boundary(f"x={LENGTH}")
    solid = domain.boundary("y=0", f"y={HEIGHT}", "cylinder")

    @residual(domain)
    def momentum_x(lap_u, p_x):
        return p_x - nu * lap_u

    @residual(domain)
    def momentum_y(lap_v, p_y):
        return p_y - nu * lap_v

    @residual(domain)
    def continuity(u_x, v_y):
        return u_x + v_y

    def reference():
        arrays = cached("cylinder_stokes-v1", lambda: fitted(domain))
        return GridSolution((arrays["points"],), arrays["fields"] * [1, 1, nu])

    conditions = [momentum_x, momentum_y, continuity, *channel_conditions(inflow, solid, outflow, profile, nu)]
    return Problem(domain, conditions, ("u", "v", "p"), reference=reference, solution_accuracy=1e-5)


def profile(y):
    """Poiseuille's velocity."""
    return 4 * SPEED * y * (HEIGHT - y) / HEIGHT**2


def fitted(domain: Domain) -> dict[str, np.ndarray]:
    """points (n, 2) of a grid of 221 x 42 that lie in the fluid, and u, v and p (n, 3) there for nu = 1.

    The cylinder's disturbance has died out at the outflow, by exp(-4.2 * 2 / 0.41): there it is held, in place of the force.
    """
    s = (1 - np.cos(np.pi * (np.arange(80) + 0.5) / 80)) / 2
    t = LENGTH * (np.arange(300) + 0.5) / 300
    near = HEIGHT * np.exp(-np.linspace(1, 16, 40))  # to the corners of the inflow
    sides = [(t, 0 * t), (t, 0 * t + HEIGHT), (0 * s, HEIGHT * s), (0 * s + LENGTH, HEIGHT * s)]
    sides += [(near, 0 * near), (near, 0 * near + HEIGHT), (0 * near, near), (0 * near, HEIGHT - near)]
    walls = np.concatenate([np.stack(side, 1) for side in sides])
    cylinder = domain.boundary("cylinder").sample(120, "grid", np.random.default_rng(0))
    places = np.concatenate([walls, cylinder])
    held = np.zeros((2, len(places)))
    held[0, len(walls) :] = -profile(cylinder[:, 1])
    A = forces(places)[:2].reshape(2 * len(places), -1)
    size = np.linalg.norm(A, axis=0)
    f = np.linalg.lstsq(A / size, held.ravel(), rcond=1e-14)[0] / size
    outlet = np.stack([np.full(50, LENGTH), HEIGHT * s[15:65]], 1)
    grid = domain.grid((221, 42))
    points = grid[domain.distance(grid) < 1e-5]
    u, v, p = forces(points) @ f
    p += 8 * SPEED / HEIGHT**2 * (LENGTH - points[:, 0]) - (forces(outlet)[2] @ f).mean()
    return {"points": points, "fields": np.stack([u + profile(points[:, 1]), v, p], 1)}


def forces(points: np.ndarray, gap: float = 0.1) -> np.ndarray:
    """u, v and p (3, n, m) at points (n, 2) of unit forces along x and y: on a frame around the channel, closer and closer to
    the corners of the inflow, and inside the cylinder.
    """
    along, across = np.linspace(-gap, LENGTH + gap, 120), np.linspace(-gap, HEIGHT + gap, 24)[1:-1]
    angle, close = 2 * np.pi * np.arange(40) / 40, gap * np.exp(-np.linspace(0, 8, 16))
    parts = [(along, 0 * along - gap), (along, 0 * along + HEIGHT + gap)]
    parts += [(0 * across - gap, across), (0 * across + LENGTH + gap, across)]
    parts += [(-close, -close), (-close, HEIGHT + close)]
    parts += [(X + RADIUS / 2 * np.cos(angle), Y + RADIUS / 2 * np.sin(angle))]
    x, y = points.T[:, :, None] - np.concatenate([np.stack(part) for part in parts], 1)[:, None]
    r2 = x**2 + y**2
    log, xy = -np.log(r2 / HEIGHT**2) / 2, x * y / r2
    along_x = np.stack([log + x**2 / r2, xy, 2 * x / r2])
    along_y = np.stack([xy, log + y**2 / r2, 2 * y / r2])
    return np.concatenate([along_x, along_y], 2)
