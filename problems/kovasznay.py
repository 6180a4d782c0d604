"""Kovasznay flow: the steady incompressible Navier-Stokes equations behind a grid, on [-0.5, 1] x [-0.5, 1.5].

Fields u, v (velocity) and p (pressure); momentum in x and y, and continuity; u and v given on the whole boundary, p at the
outflow x = 1. Exact solution (Kovasznay 1948): u = 1 - exp(l x) cos(2 pi y), v = l / (2 pi) exp(l x) sin(2 pi y),
p = (1 - exp(2 l x)) / 2 with l = Re / 2 - sqrt(Re^2 / 4 + 4 pi^2).
"""

from math import pi, sqrt

from torch import cos, exp, sin

from pinntk import Box, Problem, boundary, residual


def problem(re: float = 40.0) -> Problem:
    domain = Box(x=(-0.5, 1), y=(-0.5, 1.5))
    rate = re / 2 - sqrt(re**2 / 4 + 4 * pi**2)

    def exact(x, y):
        u = 1 - exp(rate * x) * cos(2 * pi * y)
        v = rate / (2 * pi) * exp(rate * x) * sin(2 * pi * y)
        return u, v, (1 - exp(2 * rate * x)) / 2

    @residual(domain)
    def momentum_x(u, v, u_x, u_y, p_x, lap_u):
        return u * u_x + v * u_y + p_x - lap_u / re

    @residual(domain)
    def momentum_y(u, v, v_x, v_y, p_y, lap_v):
        return u * v_x + v * v_y + p_y - lap_v / re

    @residual(domain)
    def continuity(u_x, v_y):
        return u_x + v_y

    @boundary(domain.boundary())
    def walls_u(u, x, y):
        return u - exact(x, y)[0]

    @boundary(domain.boundary())
    def walls_v(v, x, y):
        return v - exact(x, y)[1]

    @boundary(domain.at(x=1))
    def outflow(p, x, y):
        return p - exact(x, y)[2]

    conditions = [momentum_x, momentum_y, continuity, walls_u, walls_v, outflow]
    return Problem(domain, conditions, fields=("u", "v", "p"), exact=exact)
