"""Euler-Bernoulli beam: u_xxxx = -load on [0, 1], clamped at x = 0 (u = u_x = 0), free at x = 1 (u_xx = u_xxx = 0).

DeepXDE's Euler_beam: four derivatives, and conditions on all lower ones. Exact solution: u = -load x^2 (x^2 - 4x + 6) / 24.
"""

from pinntk import Box, Problem, boundary, residual


def problem(load: float = 1.0) -> Problem:
    domain = Box(x=(0, 1))

    @residual(domain)
    def beam(u_xxxx):
        return u_xxxx + load

    @boundary(domain.at(x=0))
    def held(u):
        return u

    @boundary(domain.at(x=0))
    def level(u_x):
        return u_x

    @boundary(domain.at(x=1))
    def no_moment(u_xx):
        return u_xx

    @boundary(domain.at(x=1))
    def no_force(u_xxx):
        return u_xxx

    def exact(x):
        return -load / 24 * x**2 * (x**2 - 4 * x + 6)

    return Problem(domain, [beam, held, level, no_moment, no_force], exact=exact)
