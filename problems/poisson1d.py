"""1D Poisson equation: u_xx = -(k pi)^2 sin(k pi x) on [0, 1], u = sin(k pi x) at both ends.

The model problem of Wang, Yu & Perdikaris 2022 (JCP 449:110768), section 7.1. Exact solution: u = sin(k pi x).
"""

from math import pi

from torch import sin

from pinntk import Box, Problem, boundary, residual


def problem(k: float = 4) -> Problem:
    domain = Box(x=(0, 1))

    def exact(x):
        return sin(k * pi * x)

    @residual(domain)
    def poisson(u_xx, x):
        return u_xx + (k * pi) ** 2 * sin(k * pi * x)

    @boundary(domain.ends("x"))
    def ends(u, x):
        return u - exact(x)

    return Problem(domain, [poisson, ends], exact=exact)
