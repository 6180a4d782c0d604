"""Sine-Gordon equation: u_tt - u_xx + sin(u) = 0 on [0, 10] x [-10, 10], u, u_t at t = 0 and u at both walls given.

The standing breather (Ablowitz, Kaup, Newell & Segur 1973): with e = sqrt(1 - omega^2), the exact solution is
u = 4 arctan(e sin(omega t) / (omega cosh(e x))). Only the initial velocity, and walls of 2e-3, say that u is not zero, which
meets all else. It reaches 4 arctan(e / omega), 4.2 for omega = 1/2, where sin(u) is far from linear.
"""

from math import sqrt

from torch import atan, cosh, sin

from pinntk import Box, Problem, boundary, initial, residual


def problem(omega: float = 0.5) -> Problem:
    if not 0 < omega < 1:
        raise ValueError(f"omega={omega}: between 0 and 1, where there is a breather")
    domain = Box(t=(0, 10), x=(-10, 10))
    e = sqrt(1 - omega**2)

    def exact(t, x):
        return 4 * atan(e * sin(omega * t) / (omega * cosh(e * x)))

    @residual(domain)
    def sine_gordon(u, u_tt, u_xx):
        return u_tt - u_xx + sin(u)

    @initial(domain.at(t=0))
    def start(u):
        return u

    @initial(domain.at(t=0))
    def start_velocity(u_t, x):
        return u_t - 4 * e / cosh(e * x)

    @boundary(domain.ends("x"))
    def walls(u, t, x):
        return u - exact(t, x)

    return Problem(domain, [sine_gordon, start, start_velocity, walls], exact=exact)
