"""u_tt - u_xx + u^2 = -x cos(t) + x^2 cos(t)^2 on [-1, 1] x [0, 10]; u at the ends, u and u_t at t = 0 are given.

Exact: x cos(t). DeepXDE's demo Klein_Gordon.
"""

from torch import cos

from pinntk import Box, Problem, boundary, initial, residual


def problem() -> Problem:
    domain = Box(x=(-1, 1), t=(0, 10))

    @residual(domain)
    def klein_gordon(u, u_tt, u_xx, x, t):
        return u_tt - u_xx + u**2 + x * cos(t) - (x * cos(t)) ** 2

    @boundary(domain.ends("x"))
    def ends(u, x, t):
        return u - x * cos(t)

    @initial(domain.at(t=0))
    def start(u, x):
        return u - x

    @initial(domain.at(t=0))
    def start_velocity(u_t):
        return u_t

    return Problem(domain, [klein_gordon, ends, start, start_velocity], exact=lambda x, t: x * cos(t))
