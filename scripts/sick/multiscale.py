"""Two scales in one solution: u_xx = f on [0, 1], u = 0 at both ends, u = sin(2 pi x) + 0.1 sin(k pi x).

The multiscale Poisson problem of Wang, Wang & Perdikaris 2021 (CMAME 384:113938) with k = 50.
"""

from math import pi

from torch import sin

from pinntk import Box, Problem, boundary, residual


def problem(k: int = 50) -> Problem:
    domain = Box(x=(0, 1))

    def exact(x):
        return sin(2 * pi * x) + 0.1 * sin(k * pi * x)

    @residual(domain)
    def poisson(u_xx, x):
        return u_xx + (2 * pi) ** 2 * sin(2 * pi * x) + 0.1 * (k * pi) ** 2 * sin(k * pi * x)

    @boundary(domain.ends("x"))
    def ends(u, x):
        return u - exact(x)

    return Problem(domain, [poisson, ends], exact=exact)
