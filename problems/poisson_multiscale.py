"""Multiscale Poisson equation: u_xx = f on [0, 1], u = 0.1 sin(50 pi x) + sin(2 pi x) at both ends, f from that u.

Wang, Wang & Perdikaris 2021 (CMAME 384:113938). Exact solution: u = sin(low pi x) + amplitude sin(high pi x); as the residual
has it, the high frequency is amplitude (high / low)^2 = 62.5 times the low one.
"""

from math import pi

from torch import sin

from pinntk import Box, Problem, boundary, residual


def problem(low: float = 2, high: float = 50, amplitude: float = 0.1) -> Problem:
    domain = Box(x=(0, 1))

    def exact(x):
        return sin(low * pi * x) + amplitude * sin(high * pi * x)

    @residual(domain)
    def poisson(u_xx, x):
        return u_xx + (low * pi) ** 2 * sin(low * pi * x) + amplitude * (high * pi) ** 2 * sin(high * pi * x)

    @boundary(domain.ends("x"))
    def ends(u, x):
        return u - exact(x)

    return Problem(domain, [poisson, ends], exact=exact)
