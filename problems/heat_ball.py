"""Heat equation in a ball of d dimensions: u_t = lap u / d + f for t in [0, 1], start and slope on the sphere given.

PINNacle's heat problem in many dimensions (Hao et al. 2023, d = 5). Exact solution: u = exp(r^2 / 2 + t), with which
f = -r^2 u / d; r is the distance from the center of the ball, whose radius is 1.
"""

from typing import Any

from torch import exp

from pinntk import Box, Problem, boundary, initial, residual
from pinntk.geometry import Ball


def problem(d: int = 5) -> Problem:
    if not (isinstance(d, int) and d >= 2):
        raise ValueError(f"d={d}: a whole number of at least 2; the ball of one dimension is an interval")
    center: Any = {f"x{i}": 0 for i in range(1, d + 1)}
    domain = Box(t=(0, 1)) * Ball(**center, radius=1)

    def exact(points):
        t, x = points[:, 0], points[:, 1:]
        return exp(x.square().sum(1) / 2 + t)

    @residual(domain)
    def heat(u_t, lap_u, points):
        f = -points[:, 1:].square().sum(1) * exact(points) / d
        return u_t - lap_u / d - f

    @initial(domain.at(t=0))
    def start(u, points):
        return u - exact(points)

    @boundary(domain.boundary())
    def sphere(u_n, points):
        return u_n - exact(points)

    return Problem(domain, [heat, start, sphere], exact=exact)
