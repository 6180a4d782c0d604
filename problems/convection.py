"""Convection equation: u_t + beta u_x = 0 on [0, 1] x [0, 2 pi], u(0, x) = sin(x), periodic in x.

Krishnapriyan et al. 2021 with beta = 30, where plain PINNs start to fail; Rathore et al. 2024 with beta = 40. Exact solution:
u = sin(x - beta t).
"""

from math import pi

from torch import sin

from pinntk import Box, Problem, initial, periodic, residual


def problem(beta: float = 30.0) -> Problem:
    domain = Box(t=(0, 1), x=(0, 2 * pi))

    def exact(t, x):
        return sin(x - beta * t)

    @residual(domain)
    def convection(u_t, u_x):
        return u_t + beta * u_x

    @initial(domain.at(t=0))
    def start(u, x):
        return u - sin(x)

    @periodic(domain.ends("x"))
    def wrap(u):
        return u

    return Problem(domain, [convection, start, wrap], exact=exact)
