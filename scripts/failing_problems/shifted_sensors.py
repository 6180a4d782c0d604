"""Poisson's equation with biased measurements: u_xx = -pi^2 sin(pi x) on [0, 1], u = 0 at both ends, readings of u + shift.

`sensors` readings at equally spaced places contradict equation and ends. Exact solution: u = sin(pi x).
"""

from math import pi

import numpy as np
from torch import sin

from pinntk import Box, Problem, boundary, data, residual


def problem(shift: float = 0.5, sensors: int = 20) -> Problem:
    domain = Box(x=(0, 1))
    places = np.linspace(0.05, 0.95, sensors)

    def exact(x):
        return sin(pi * x)

    @residual(domain)
    def poisson(u_xx, x):
        return u_xx + pi**2 * sin(pi * x)

    @boundary(domain.ends("x"))
    def ends(u):
        return u

    @data(domain, places, seen=np.sin(pi * places) + shift)
    def readings(u, seen):
        return u - seen

    return Problem(domain, [poisson, ends, readings], exact=exact)
