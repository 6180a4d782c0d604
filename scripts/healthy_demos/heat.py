"""u_t = 0.4 u_xx on [0, 1] x [0, 1], u = 0 at both ends, u = sin(pi x) at t = 0. Exact: exp(-0.4 pi^2 t) sin(pi x).

DeepXDE's demo heat.
"""

from math import pi

from torch import exp, sin

from pinntk import Box, Problem, boundary, initial, residual


def problem() -> Problem:
    domain = Box(x=(0, 1), t=(0, 1))

    @residual(domain)
    def heat(u_t, u_xx):
        return u_t - 0.4 * u_xx

    @boundary(domain.ends("x"))
    def ends(u):
        return u

    @initial(domain.at(t=0))
    def start(u, x):
        return u - sin(pi * x)

    return Problem(domain, [heat, ends, start], exact=lambda x, t: exp(-0.4 * pi**2 * t) * sin(pi * x))
