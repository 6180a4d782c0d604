"""Klein-Gordon equation: u_tt - u_xx + u^3 = f on [0, 1] x [0, 1], u, u_t at t = 0 and u at both walls given.

Wang, Teng & Perdikaris 2021, section 4.2. Exact solution: u = x cos(5 pi t) + (t x)^3, which f and the conditions are made
from. Second order in time, two and a half oscillations, and conditions whose gradients differ by orders of magnitude.
"""

from math import pi

from torch import cos

from pinntk import Box, Problem, boundary, initial, residual


def problem(k: float = 5.0) -> Problem:
    domain = Box(t=(0, 1), x=(0, 1))

    def exact(t, x):
        return x * cos(k * pi * t) + (t * x) ** 3

    @residual(domain)
    def klein_gordon(u, u_tt, u_xx, t, x):
        f = -((k * pi) ** 2) * x * cos(k * pi * t) + 6 * t * x**3 - 6 * t**3 * x + exact(t, x) ** 3
        return u_tt - u_xx + u**3 - f

    @initial(domain.at(t=0))
    def start(u, x):
        return u - x

    @initial(domain.at(t=0))
    def start_velocity(u_t):
        return u_t

    @boundary(domain.ends("x"))
    def walls(u, t, x):
        return u - exact(t, x)

    return Problem(domain, [klein_gordon, start, start_velocity, walls], exact=exact)
