"""u_xxxx = -1 on [0, 1], clamped at x = 0 (u = u_x = 0), free at x = 1 (u_xx = u_xxx = 0).

Exact: -x^4 / 24 + x^3 / 6 - x^2 / 4. DeepXDE's demo Euler_beam.
"""

from pinntk import Box, Problem, boundary, residual


def problem() -> Problem:
    domain = Box(x=(0, 1))

    @residual(domain)
    def beam(u_xxxx):
        return u_xxxx + 1

    @boundary(domain.at(x=0))
    def clamped(u):
        return u

    @boundary(domain.at(x=0))
    def clamped_slope(u_x):
        return u_x

    @boundary(domain.at(x=1))
    def free_moment(u_xx):
        return u_xx

    @boundary(domain.at(x=1))
    def free_shear(u_xxx):
        return u_xxx

    conditions = [beam, clamped, clamped_slope, free_moment, free_shear]
    return Problem(domain, conditions, exact=lambda x: -(x**4) / 24 + x**3 / 6 - x**2 / 4)
