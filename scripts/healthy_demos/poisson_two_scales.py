"""u_xx = -(2 pi)^2 sin(2 pi x) - 0.1 (50 pi)^2 sin(50 pi x) on [0, 1], u = 0 at both ends.

Exact: sin(2 pi x) + 0.1 sin(50 pi x). Multiscale Fourier features of Wang, Wang & Perdikaris 2021.
DeepXDE's demo Poisson_multiscale_1d.
"""

from math import pi

from torch import nn, sin

from pinntk import Box, Problem, boundary, residual
from pinntk.nn import MultiscaleFourier


def problem() -> Problem:
    domain = Box(x=(0, 1))

    @residual(domain)
    def poisson(u_xx, x):
        return u_xx + (2 * pi) ** 2 * sin(2 * pi * x) + 0.1 * (50 * pi) ** 2 * sin(50 * pi * x)

    @boundary(domain.ends("x"))
    def ends(u):
        return u

    return Problem(domain, [poisson, ends], exact=lambda x: sin(2 * pi * x) + 0.1 * sin(50 * pi * x))


def network(problem: Problem, **options) -> nn.Module:
    return MultiscaleFourier(problem, sigmas=(1.0, 10.0), features=50, **options)
