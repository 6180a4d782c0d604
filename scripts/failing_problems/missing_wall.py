"""Poisson's equation with one wall forgotten: -(u_xx + u_yy) = 2 pi^2 sin(pi x) sin(pi y) on [0, 1]^2, nothing said at x = 1.

u = 0 at x = 0, y = 0 and y = 1. `exact` is the solution that was meant, u = sin(pi x) sin(pi y), 0 at x = 1 too; any
multiple of sinh(pi x) sin(pi y) may be added to it.
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

    @boundary(domain.at(x=0))
    def left(u):
        return u

    @boundary(domain.ends("y"))
    def floor_and_ceiling(u):
        return u

    return Problem(domain, [poisson, left, floor_and_ceiling], exact=exact)
