"""Burgers equations in two dimensions: u_t + u u_x + v u_y = lap u / re, likewise v, on [0, 1]^3, u and v given.

Fields u and v. The exact solution of Fletcher 1983, by a Cole-Hopf transformation: u = 3/4 - s / 4 and v = 3/4 + s / 4 with
s = 1 / (1 + exp(re (4 y - 4 x - t) / 32)). A front of width 8 / re along the diagonal, 0.08 for the default re = 100, moves
across the square; u and v are given at t = 0 and on the whole boundary.
"""

from torch import sigmoid

from pinntk import Box, Problem, boundary, initial, residual


def problem(re: float = 100.0) -> Problem:
    if not re > 0:
        raise ValueError(f"re={re}: a positive number")
    domain = Box(t=(0, 1), x=(0, 1), y=(0, 1))

    def exact(t, x, y):
        s = sigmoid(re * (t + 4 * x - 4 * y) / 32)
        return 3 / 4 - s / 4, 3 / 4 + s / 4

    @residual(domain)
    def momentum_x(u, v, u_t, u_x, u_y, lap_u):
        return u_t + u * u_x + v * u_y - lap_u / re

    @residual(domain)
    def momentum_y(u, v, v_t, v_x, v_y, lap_v):
        return v_t + u * v_x + v * v_y - lap_v / re

    @initial(domain.at(t=0))
    def start_u(u, t, x, y):
        return u - exact(t, x, y)[0]

    @initial(domain.at(t=0))
    def start_v(v, t, x, y):
        return v - exact(t, x, y)[1]

    @boundary(domain.boundary())
    def walls_u(u, t, x, y):
        return u - exact(t, x, y)[0]

    @boundary(domain.boundary())
    def walls_v(v, t, x, y):
        return v - exact(t, x, y)[1]

    conditions = [momentum_x, momentum_y, start_u, start_v, walls_u, walls_v]
    return Problem(domain, conditions, fields=("u", "v"), exact=exact)
