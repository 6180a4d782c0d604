"""Fisher-KPP equation: u_t = d u_xx + rho u (1 - u) on [0, 1] x [-1, 1], u given at t = 0 and at both walls.

The travelling wave of Ablowitz & Zeppetella 1979: u = (1 + exp(z))^-2 with z = sqrt(rho / (6 d)) (x - x0) - 5 rho t / 6, here
from x0 = -1/2. Stable and unstable states with a front of width sqrt(6 d / rho) between them, 0.077 for the default, which
runs 0.65 to the right: a network that is flat in between satisfies the equation almost everywhere.
"""

from math import sqrt

from torch import sigmoid

from pinntk import Box, Problem, boundary, initial, residual


def problem(d: float = 0.01, rho: float = 10.0) -> Problem:
    if not (d > 0 and rho > 0):
        raise ValueError(f"d={d}, rho={rho}: two positive numbers, or there is no front")
    domain = Box(t=(0, 1), x=(-1, 1))
    steepness = sqrt(rho / (6 * d))

    def exact(t, x):
        return sigmoid(5 * rho / 6 * t - steepness * (x + 0.5)) ** 2

    @residual(domain)
    def fisher_kpp(u, u_t, u_xx):
        return u_t - d * u_xx - rho * u * (1 - u)

    @initial(domain.at(t=0))
    def start(u, t, x):
        return u - exact(t, x)

    @boundary(domain.ends("x"))
    def walls(u, t, x):
        return u - exact(t, x)

    return Problem(domain, [fisher_kpp, start, walls], exact=exact)
