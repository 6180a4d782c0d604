"""u_xx = 2 on [-1, 1], u = 0 at x = -1; at x = 1 u_x = 4, or, `robin`, u_x = u. Exact: (x + 1)^2.

DeepXDE's demos Poisson_Neumann_1d and Poisson_Robin_1d.
"""

from pinntk import Box, Problem, boundary, residual


def problem(robin: bool = False) -> Problem:
    domain = Box(x=(-1, 1))

    @residual(domain)
    def poisson(u_xx):
        return u_xx - 2

    @boundary(domain.at(x=-1))
    def left(u):
        return u

    @boundary(domain.at(x=1))
    def right(u, u_x):
        return u_x - (u if robin else 4)

    return Problem(domain, [poisson, left, right], exact=lambda x: (x + 1) ** 2)
