"""Two scales in one solution: u_x = f on [0, 1], u(0) = 0, u = sin(2 pi x) + a sin(k pi x).

The solution of the multiscale Poisson problem of Wang, Wang & Perdikaris 2021 (CMAME 384:113938), a = 0.1 and k = 50, under
a first derivative: under u_xx the slow wave's residual is 60 times smaller than the fast one's, a failure of its own.
"""

from math import pi

from torch import cos, sin

from pinntk import Box, Problem, boundary, residual


def problem(a: float = 0.1, k: int = 50) -> Problem:
    domain = Box(x=(0, 1))

    def exact(x):
        return sin(2 * pi * x) + a * sin(k * pi * x)

    @residual(domain)
    def slope(u_x, x):
        return u_x - 2 * pi * cos(2 * pi * x) - a * k * pi * cos(k * pi * x)

    @boundary(domain.at(x=0))
    def end(u):
        return u

    return Problem(domain, [slope, end], exact=exact)
