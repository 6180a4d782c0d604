"""Heat in a rod measured in small units: u_t = D u_xx on [0, 1] x [0, length], u(0, x) = sin(pi x / length), u = 0 at the ends.

D = (length / pi)^2 / 2, so that u = exp(-t / 2) sin(pi x / length) whatever the unit of length.
"""

from math import pi

from torch import exp, sin

from pinntk import Box, Problem, boundary, initial, residual


def problem(length: float = 100.0) -> Problem:
    domain = Box(t=(0, 1), x=(0, length))
    D = (length / pi) ** 2 / 2

    def exact(t, x):
        return exp(-t / 2) * sin(pi * x / length)

    @residual(domain)
    def heat(u_t, u_xx):
        return u_t - D * u_xx

    @initial(domain.at(t=0))
    def start(u, t, x):
        return u - exact(t, x)

    @boundary(domain.ends("x"))
    def walls(u):
        return u

    return Problem(domain, [heat, start, walls], exact=exact)
