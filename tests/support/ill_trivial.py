"""Problems that zero solves, each with a like that it does not."""

from __future__ import annotations

from math import pi

from torch import sin

from pinntk import Box, Problem, boundary, initial, residual
from tests.support.ill_conditions import Made, register, value

TRIVIAL: Made = {}
ill_problem = register(TRIVIAL)


@ill_problem
def eigenvalue(ill):
    box = Box(x=(0, 1))

    @residual(box)
    def helmholtz(u, u_xx):
        return u_xx + 3 * u

    return Problem(box, [helmholtz, value(box.at(x=0)), value(box.at(x=1), 0.0 if ill else 1e-19)])


@ill_problem
def schroedinger(ill):
    box = Box(x=(-1, 1))

    @residual(box)
    def stationary(psi, psi_xx, E):
        return -0.5 * psi_xx - E * psi

    ends = [value(box.ends("x"), 0.0, "psi")]
    return Problem(box, [stationary, *ends, *([] if ill else [value(box.at(x=0), 1.0, "psi")])], "psi", coefficients={"E": 1.3})


@ill_problem
def rounding(ill):
    """sin(4 pi x) is 5e-16 at the wall."""
    box = Box(t=(0, 1), x=(0, 1))

    @residual(box)
    def heat(u, u_t, u_xx):
        return u_t - u_xx - u**3

    @initial(box.at(t=0))
    def start(u, x):
        return u - (0 if ill else 1) * sin(4 * pi * x)

    @boundary(box.ends("x"))
    def walls(u, x):
        return u - sin(4 * pi * x)

    return Problem(box, [heat, walls, start])


@ill_problem
def still_flow(ill):
    box = Box(x=(0, 1), y=(0, 1))

    @residual(box)
    def momentum_x(u, v, u_x, u_y, p_x, lap_u):
        return u * u_x + v * u_y + p_x - lap_u / 10

    @residual(box)
    def momentum_y(u, v, v_x, v_y, p_y, lap_v):
        return u * v_x + v * v_y + p_y - lap_v / 10 - (0 if ill else 1)

    @residual(box)
    def continuity(u_x, v_y):
        return u_x + v_y

    walls = [value(box.boundary()), value(box.boundary(), 0.0, "v"), value(box.at(x=0, y=0), 0.0, "p")]
    return Problem(box, [momentum_x, momentum_y, continuity, *walls], ("u", "v", "p"))
