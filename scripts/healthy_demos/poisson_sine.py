"""u_xx = -pi^2 sin(pi x) on [-1, 1], u = 0 at both ends; or, `periodic`, u(-1) = 0 and u(-1) = u(1). Exact: sin(pi x).

DeepXDE's demos Poisson_Dirichlet_1d and Poisson_periodic_1d.
"""

from math import pi

from torch import sin

from pinntk import Box, Problem, boundary, residual
from pinntk import periodic as repeated


def problem(periodic: bool = False) -> Problem:
    domain = Box(x=(-1, 1))

    @residual(domain)
    def poisson(u_xx, x):
        return -u_xx - pi**2 * sin(pi * x)

    @boundary(domain.at(x=-1) if periodic else domain.ends("x"))
    def ends(u):
        return u

    @repeated(domain.ends("x"))
    def wrap(u):
        return u

    conditions = [poisson, ends, wrap] if periodic else [poisson, ends]
    return Problem(domain, conditions, exact=lambda x: sin(pi * x))
