"""The wave equation with half of its start forgotten: u_tt = u_xx on [0, 1]^2, u = sin(pi x) at t = 0, u = 0 at x = 0 and 1.

`exact` is the solution that was meant, sin(pi x) cos(pi t), which starts at rest; any multiple of sin(pi x) sin(pi t) may be
added to it.
"""

from math import pi

from torch import cos, sin

from pinntk import Box, Problem, boundary, initial, residual


def problem() -> Problem:
    domain = Box(t=(0, 1), x=(0, 1))

    def exact(t, x):
        return sin(pi * x) * cos(pi * t)

    @residual(domain)
    def wave(u_tt, u_xx):
        return u_tt - u_xx

    @initial(domain.at(t=0))
    def start(u, x):
        return u - sin(pi * x)

    @boundary(domain.ends("x"))
    def walls(u):
        return u

    return Problem(domain, [wave, start, walls], exact=exact)
