"""Problems that lack a condition, each with its healthy like: equations, dimensions, fields and units vary."""

from __future__ import annotations

from math import pi

from torch import exp, sin

from pinntk import Box, Problem, initial, residual
from tests.support.ill_conditions import Made, heating, register, repeats, sine_start, slope, value

MISSING: Made = {}
ill_problem = register(MISSING)


@ill_problem
def line(ill):
    box = Box(x=(0, 1))

    @residual(box)
    def equation(u_xx, x):
        return u_xx + sin(3 * x)

    return Problem(box, [equation, value(box.at(x=0), 1.0), *([] if ill else [value(box.at(x=1))])])


@ill_problem
def decay(ill):
    box = Box(t=(0, 40))

    @residual(box)
    def equation(u, u_t):
        return u_t + 0.1 * (u - 20)

    return Problem(box, [equation, *([] if ill else [value(box.at(t=0), 90.0)])])


@ill_problem
def heat_start(ill):
    box = Box(t=(0, 1), x=(0, 1))

    heat, start = heating(box, 0.05), sine_start(box)
    return Problem(box, [heat, value(box.ends("x")), *([] if ill else [start])])


@ill_problem
def heat_wall(ill):
    box = Box(t=(0, 3600), x=(0, 0.05))

    @residual(box)
    def heat(T_t, T_xx):
        return T_t - 1e-6 * T_xx

    @initial(box.at(t=0))
    def start(T, x):
        return T - 300

    heated = slope(box.at(x=0.05), "T_x", -0.0)
    return Problem(box, [heat, start, heated, *([] if ill else [value(box.at(x=0), 300.0, "T")])], "T")


@ill_problem
def wave_velocity(ill):
    box = Box(t=(0, 1), x=(-1, 1))

    @residual(box)
    def wave(u_tt, u_xx):
        return u_tt - 4 * u_xx

    start = sine_start(box)

    @initial(box.at(t=0))
    def speed(u_t):
        return u_t

    return Problem(box, [wave, start, value(box.ends("x")), *([] if ill else [speed])])


@ill_problem
def laplace_side(ill):
    box = Box(x=(0, 2), y=(0, 1))

    @residual(box)
    def laplace(lap_u):
        return lap_u

    sides = [value(box.ends("y"), 1.0), value(box.at(x=0), 1.0)]
    return Problem(box, [laplace, *sides, *([] if ill else [value(box.at(x=2), 1.0)])])


@ill_problem
def hunters(ill):
    box = Box(t=(0, 5))

    @residual(box)
    def prey(u, v, u_t):
        return u_t - u * (1 - v)

    @residual(box)
    def predators(u, v, v_t):
        return v_t - v * (u - 1)

    return Problem(
        box, [prey, predators, value(box.at(t=0), 2.0), *([] if ill else [value(box.at(t=0), 1.0, "v")])], ("u", "v")
    )


@ill_problem
def beam_slope(ill):
    box = Box(x=(0, 3000))

    @residual(box)
    def bending(w_xxxx):
        return 2e11 * w_xxxx - 1e-1

    ends = [value(box.at(x=0), 0.0, "w"), slope(box.at(x=3000), "w_xx"), slope(box.at(x=3000), "w_xxx")]
    return Problem(box, [bending, *ends, *([] if ill else [slope(box.at(x=0), "w_x")])], "w")


@ill_problem
def burgers_walls(ill):
    box = Box(t=(0, 1), x=(-1, 1))

    @residual(box)
    def burgers(u, u_t, u_x, u_xx):
        return u_t + u * u_x - 0.1 * u_xx

    @initial(box.at(t=0))
    def start(u, x):
        return u + sin(pi * x)

    return Problem(box, [burgers, start, *([] if ill else [value(box.ends("x"))])])


@ill_problem
def cube(ill):
    box = Box(x=(0, 1), y=(0, 1), z=(0, 1))

    @residual(box)
    def poisson(lap_u):
        return lap_u + 1

    return Problem(box, [poisson, value(box.ends("x") | box.ends("y")), *([] if ill else [value(box.ends("z"))])])


@ill_problem
def ring(ill):
    """Periodic, so that a constant is free."""
    box = Box(x=(0, 1))

    @residual(box)
    def poisson(u_xx, x):
        return u_xx + sin(2 * pi * x)

    return Problem(box, [poisson, *repeats(box), *([] if ill else [value(box.at(x=0))])])


@ill_problem
def unread_field(ill):
    box = Box(x=(0, 1))

    @residual(box)
    def equation(u_xx):
        return u_xx + 1

    @residual(box)
    def other(u, v):
        return v - u**2

    return Problem(box, [equation, value(box.ends("x")), *([] if ill else [other])], ("u", "v"))


@ill_problem
def explosion(ill):
    box = Box(x=(0, 1))

    @residual(box)
    def bratu(u, u_xx):
        return u_xx + exp(u)

    return Problem(box, [bratu, value(box.at(x=0)), *([] if ill else [value(box.at(x=1))])])
