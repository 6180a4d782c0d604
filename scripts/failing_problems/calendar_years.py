"""A driven decay dated by calendar years: u_t = cos(t - first) - u / 2 on [first, first + 10], u(first) = 1.

Exact solution, with s = t - first: u = exp(-s / 2) 3 / 5 + (2 cos(s) + 4 sin(s)) / 5.
"""

from torch import cos, exp, sin

from pinntk import Box, Problem, initial, residual


def problem(first: float = 2000.0) -> Problem:
    domain = Box(t=(first, first + 10))

    def exact(t):
        s = t - first
        return 0.6 * exp(-s / 2) + 0.4 * cos(s) + 0.8 * sin(s)

    @residual(domain)
    def decay(u, u_t, t):
        return u_t - cos(t - first) + u / 2

    @initial(domain.at(t=first))
    def start(u):
        return u - 1

    return Problem(domain, [decay, start], exact=exact)
