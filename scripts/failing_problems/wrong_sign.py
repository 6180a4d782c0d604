"""Helmholtz's equation with a wrong sign: coded u_xx + u_yy - k^2 u = q on [-1, 1]^2, meant u_xx + u_yy + k^2 u = q.

u = 0 on the boundary. `exact` is the solution that was meant, u = sin(pi x) sin(pi y); what the code asks for is
(2 pi^2 - k^2) / (2 pi^2 + k^2) times that.
"""

from math import pi

from torch import sin

from pinntk import Box, Problem, boundary, residual


def problem(k: float = 2.5) -> Problem:
    domain = Box(x=(-1, 1), y=(-1, 1))

    def exact(x, y):
        return sin(pi * x) * sin(pi * y)

    @residual(domain)
    def helmholtz(u, lap_u, x, y):
        return lap_u - k**2 * u - (k**2 - 2 * pi**2) * exact(x, y)

    @boundary(domain.boundary())
    def walls(u):
        return u

    return Problem(domain, [helmholtz, walls], exact=exact)
