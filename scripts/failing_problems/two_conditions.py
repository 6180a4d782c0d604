"""Poisson's equation with two conditions on each wall: u = 0 and, too much, u_n = 0 around [0, 1]^2.

-(u_xx + u_yy) = 2 pi^2 sin(pi x) sin(pi y). `exact` is the solution that was meant, u = sin(pi x) sin(pi y); its u_n is not 0.
"""

from math import pi

from torch import sin

from pinntk import Box, Problem, boundary, residual


def problem() -> Problem:
    domain = Box(x=(0, 1), y=(0, 1))

    def exact(x, y):
        return sin(pi * x) * sin(pi * y)

    @residual(domain)
    def poisson(lap_u, x, y):
        return -lap_u - 2 * pi**2 * exact(x, y)

    @boundary(domain.boundary())
    def walls(u):
        return u

    @boundary(domain.boundary())
    def insulation(u_n):
        return u_n

    return Problem(domain, [poisson, walls, insulation], exact=exact)
