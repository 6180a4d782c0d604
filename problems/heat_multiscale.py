"""Multiscale heat equation: u_t = u_xx / (500 pi)^2 + u_yy / pi^2 on [0, 5] x [0, 1]^2, ten waves in x, u = 0 on the walls.

PINNacle's Heat2d-MS: u(0) = sin(k pi x) sin(pi y) with k = 20. Exact solution: u = exp(-(1 + (k / 500)^2) t) sin(k pi x)
sin(pi y). The equation hardly sees the waves in x: they come from the start alone, and have to be carried through all of time.
"""

from math import pi

from torch import exp, sin

from pinntk import Box, Problem, boundary, initial, residual


def problem(k: int = 20) -> Problem:
    if k == 0 or k % 1 != 0:
        raise ValueError(f"k={k}: a whole number other than 0, or u(0) is not 0 on the walls")
    domain = Box(t=(0, 5), x=(0, 1), y=(0, 1))

    def exact(t, x, y):
        return exp(-(1 + (k / 500) ** 2) * t) * sin(k * pi * x) * sin(pi * y)

    @residual(domain)
    def heat(u_t, u_xx, u_yy):
        return u_t - u_xx / (500 * pi) ** 2 - u_yy / pi**2

    @initial(domain.at(t=0))
    def start(u, x, y):
        return u - sin(k * pi * x) * sin(pi * y)

    @boundary(domain.boundary())
    def walls(u):
        return u

    return Problem(domain, [heat, start, walls], exact=exact)
