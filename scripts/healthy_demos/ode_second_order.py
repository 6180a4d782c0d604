"""u_tt - 10 u_t + 9 u = 5 t on [0, 0.25], u = -1 and u_t = 2 at t = 0.

Exact: 50 / 81 + 5 t / 9 - 2 exp(t) + 31 / 81 exp(9 t). DeepXDE's demo ode_2nd.
"""

from torch import exp

from pinntk import Box, Problem, initial, residual


def problem() -> Problem:
    domain = Box(t=(0, 0.25))

    @residual(domain)
    def ode(u, u_t, u_tt, t):
        return u_tt - 10 * u_t + 9 * u - 5 * t

    @initial(domain.at(t=0))
    def start(u):
        return u + 1

    @initial(domain.at(t=0))
    def start_slope(u_t):
        return u_t - 2

    def exact(t):
        return 50 / 81 + 5 * t / 9 - 2 * exp(t) + 31 / 81 * exp(9 * t)

    return Problem(domain, [ode, start, start_slope], exact=exact)
