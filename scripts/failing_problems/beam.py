"""A simply supported beam: u_xxxx = (k pi)^4 sin(k pi x) on [0, 1], u = u_xx = 0 at both ends.

Euler-Bernoulli with unit stiffness; a fourth derivative costs single precision four digits and more. Exact solution for
whole k: u = sin(k pi x).
"""

from math import pi

from torch import sin

from pinntk import Box, Problem, boundary, residual


def problem(k: int = 2) -> Problem:
    domain = Box(x=(0, 1))

    def exact(x):
        return sin(k * pi * x)

    @residual(domain)
    def bending(u_xxxx, x):
        return u_xxxx - (k * pi) ** 4 * sin(k * pi * x)

    @boundary(domain.ends("x"))
    def supports(u):
        return u

    @boundary(domain.ends("x"))
    def moments(u_xx):
        return u_xx

    return Problem(domain, [bending, supports, moments], exact=exact)
