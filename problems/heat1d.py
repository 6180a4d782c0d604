"""Heat equation: u_t = a u_xx on [0, 1] x [0, 1], u(0, x) = sin(k pi x), u = 0 at both ends.

The first time-dependent example of most packages; DeepXDE's has a = 0.4 and k = 1. Exact solution: u = exp(-a (k pi)^2 t)
sin(k pi x), which for larger a k^2 is gone after a thin layer at t = 0.
"""

from math import pi

from torch import exp, sin

from pinntk import Box, Problem, boundary, initial, residual


def problem(a: float = 0.4, k: int = 1) -> Problem:
    if not a > 0:
        raise ValueError(f"a={a}: a positive number, or the equation is ill-posed forward in time")
    if k == 0 or k % 1 != 0:
        raise ValueError(f"k={k}: a whole number other than 0, or u(0, x) is not 0 at both ends")
    domain = Box(t=(0, 1), x=(0, 1))

    @residual(domain)
    def heat(u_t, u_xx):
        return u_t - a * u_xx

    @initial(domain.at(t=0))
    def start(u, x):
        return u - sin(k * pi * x)

    @boundary(domain.ends("x"))
    def walls(u):
        return u

    def exact(t, x):
        return exp(-a * (k * pi) ** 2 * t) * sin(k * pi * x)

    return Problem(domain, [heat, start, walls], exact=exact)
