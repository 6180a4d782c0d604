"""Reaction equation: u_t = rho u (1 - u) on [0, 1] x [0, 2 pi], u(0, x) = exp(-8 (x / pi - 1)^2), periodic in x.

The failure mode of Krishnapriyan et al. 2021 and of Rathore et al. 2024 with rho = 5: a Gaussian h of mean pi and standard
deviation pi / 4 grows logistically at every x. Exact solution: u = h exp(rho t) / (h exp(rho t) + 1 - h). Its slope differs
at the two ends; no derivative in x enters the equation, so only the value is periodic.
"""

from math import pi

from torch import exp

from pinntk import Box, Problem, initial, periodic, residual


def problem(rho: float = 5.0) -> Problem:
    domain = Box(t=(0, 1), x=(0, 2 * pi))

    def gaussian(x):
        return exp(-8 * (x / pi - 1) ** 2)

    def exact(t, x):
        h = gaussian(x)
        return h / (h + (1 - h) * exp(-rho * t))

    @residual(domain)
    def reaction(u, u_t):
        return u_t - rho * u * (1 - u)

    @initial(domain.at(t=0))
    def start(u, x):
        return u - gaussian(x)

    @periodic(domain.ends("x"))
    def wrap(u):
        return u

    return Problem(domain, [reaction, start, wrap], exact=exact)
