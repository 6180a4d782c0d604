"""2D Poisson equation: -(u_xx + u_yy) = 2 (k pi)^2 sin(k pi x) sin(k pi y) on [0, 1]^2, u = 0 on the boundary.

The first example of Mueller & Zeinhofer 2023 (energy natural gradient), who take k = 1. Exact solution:
u = sin(k pi x) sin(k pi y), which vanishes on the boundary for whole k.
"""

from math import pi

from torch import sin

from pinntk import Box, Problem, boundary, residual


def problem(k: int = 1) -> Problem:
    if k == 0 or k % 1 != 0:
        raise ValueError(f"k={k}: a whole number other than 0, or sin(k pi x) does not vanish at x = 1")
    domain = Box(x=(0, 1), y=(0, 1))

    def exact(x, y):
        return sin(k * pi * x) * sin(k * pi * y)

    @residual(domain)
    def poisson(lap_u, x, y):
        return -lap_u - 2 * (k * pi) ** 2 * exact(x, y)

    @boundary(domain.boundary())
    def walls(u):
        return u

    return Problem(domain, [poisson, walls], exact=exact)
