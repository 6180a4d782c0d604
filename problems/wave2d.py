"""2D wave equation: u_tt = c^2 (u_xx + u_yy) on [0, 1] x [0, 1]^2, at rest at t = 0, u = 0 on the walls.

The two standing waves of `wave1d` on a membrane: u(0) = sin(pi x) sin(pi y) + a sin(3 pi x) sin(4 pi y). Exact solution: the
one times cos(sqrt(2) pi c t) plus the other times cos(5 pi c t).
"""

from math import pi, sqrt

from torch import cos, sin

from pinntk import Box, Problem, boundary, initial, residual


def problem(c: float = 1.0, a: float = 0.5) -> Problem:
    domain = Box(t=(0, 1), x=(0, 1), y=(0, 1))

    def low(x, y):
        return sin(pi * x) * sin(pi * y)

    def high(x, y):
        return a * sin(3 * pi * x) * sin(4 * pi * y)

    @residual(domain)
    def wave(u_tt, lap_u):
        return u_tt - c**2 * lap_u

    @initial(domain.at(t=0))
    def start(u, x, y):
        return u - low(x, y) - high(x, y)

    @initial(domain.at(t=0))
    def start_velocity(u_t):
        return u_t

    @boundary(domain.boundary())
    def walls(u):
        return u

    def exact(t, x, y):
        return low(x, y) * cos(sqrt(2) * pi * c * t) + high(x, y) * cos(5 * pi * c * t)

    return Problem(domain, [wave, start, start_velocity, walls], exact=exact)
