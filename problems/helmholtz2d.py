"""2D Helmholtz equation: u_xx + u_yy + k^2 u = q on [-1, 1]^2, u = 0 on the boundary.

The benchmark of Wang, Teng & Perdikaris 2021 and McClenny & Braga-Neto 2023 (a1 = 1, a2 = 4, k = 1). q is such that the
exact solution is u = sin(a1 pi x) sin(a2 pi y), which vanishes on the boundary for whole a1 and a2.
"""

from math import pi

from torch import sin

from pinntk import Box, Problem, boundary, residual


def problem(a1: int = 1, a2: int = 4, k: float = 1.0) -> Problem:
    domain = Box(x=(-1, 1), y=(-1, 1))

    def exact(x, y):
        return sin(a1 * pi * x) * sin(a2 * pi * y)

    @residual(domain)
    def helmholtz(u, lap_u, x, y):
        q = (k**2 - (a1**2 + a2**2) * pi**2) * exact(x, y)
        return lap_u + k**2 * u - q

    @boundary(domain.boundary())
    def walls(u, x, y):
        return u - exact(x, y)

    return Problem(domain, [helmholtz, walls], exact=exact)
