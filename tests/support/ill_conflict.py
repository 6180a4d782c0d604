"""Problems whose conditions contradict each other, each with its healthy like."""

from __future__ import annotations

from math import pi

import numpy as np
import torch
from torch import sin

from pinntk import Box, Problem, boundary, data, initial, residual
from tests.support.ill_conditions import Made, heating, register, repeats, sine_start, slope, value

CONFLICT: Made = {}
ill_problem = register(CONFLICT)


@ill_problem
def insulated_line(ill):
    box = Box(x=(0, 1))

    @residual(box)
    def equation(u_xx):
        return u_xx - 1

    return Problem(
        box, [equation, slope(box.at(x=0), "u_x"), slope(box.at(x=1), "u_x", 0.0 if ill else 1.0), value(box.at(x=0.5))]
    )


@ill_problem
def insulated_plate(ill):
    """Watts per square metre that do not leave, in kelvin and metres."""
    box = Box(x=(0, 0.1), y=(0, 0.2))

    @residual(box)
    def conduction(lap_T, x):
        return 50 * lap_T + (1e5 if ill else 1e5 * torch.cos(10 * pi * x))

    walls = [slope(box.boundary(), "T_n"), value(box.at(x=0, y=0), 293.0, "T")]
    return Problem(box, [conduction, *walls], "T")


@ill_problem
def two_values(ill):
    box = Box(x=(0, 1), y=(0, 1))

    @residual(box)
    def laplace(lap_u):
        return lap_u

    first, second = value(box.boundary(), 3.0, name="first"), value(box.at(x=1), 4.0 if ill else 3.0, name="second")
    return Problem(box, [laplace, first, second])


@ill_problem
def over_determined(ill):
    box = Box(x=(0, 1))

    @residual(box)
    def growth(u, u_x):
        return u_x - u

    return Problem(box, [growth, value(box.at(x=0), 1.0), value(box.at(x=1), 5.0 if ill else float(np.e))])


@ill_problem
def channel(ill):
    """More flows in than out."""
    box = Box(x=(0, 2), y=(0, 1))

    @residual(box)
    def momentum_x(p_x, lap_u):
        return p_x - lap_u

    @residual(box)
    def momentum_y(p_y, lap_v):
        return p_y - lap_v

    @residual(box)
    def continuity(u_x, v_y):
        return u_x + v_y

    @boundary(box.at(x=0))
    def inlet(u, y):
        return u - 4 * y * (1 - y)

    @boundary(box.at(x=2))
    def outlet(u, y):
        return u - (2 if ill else 4) * y * (1 - y)

    walls = [value(box.ends("y")), value(box.boundary(), 0.0, "v"), value(box.at(x=2, y=0), 0.0, "p")]
    return Problem(box, [momentum_x, momentum_y, continuity, inlet, outlet, *walls], ("u", "v", "p"))


@ill_problem
def periodic_source(ill):
    box = Box(x=(0, 1))

    @residual(box)
    def poisson(u_xx, x):
        return u_xx - (1 if ill else torch.cos(2 * pi * x))

    return Problem(box, [poisson, *repeats(box), value(box.at(x=0))])


@ill_problem
def resonance(ill):
    box = Box(x=(0, 1))

    @residual(box)
    def string(u, u_xx, x):
        return u_xx + (pi**2 if ill else 5.0) * u - sin(pi * x)

    return Problem(box, [string, value(box.at(x=0)), value(box.at(x=1)), *([slope(box.at(x=0), "u_x")] if ill else [])])


@ill_problem
def shifted_sensors(ill):
    box = Box(x=(0, 1))
    places = np.linspace(0.1, 0.9, 9)

    @residual(box)
    def equation(u_xx, x):
        return u_xx + pi**2 * sin(pi * x)

    noise = 0.05 * np.random.default_rng(0).standard_normal(9)

    @data(box, places, seen=np.sin(pi * places) + noise + (0.5 if ill else 0.0))
    def readings(u, seen):
        return u - seen

    return Problem(box, [equation, value(box.ends("x")), readings])


@ill_problem
def nonlinear_insulation(ill):
    box = Box(x=(0, 1))

    @residual(box)
    def conduction(u, u_x, u_xx):
        return (1 + 3 * u**2) * u_xx + 6 * u * u_x**2 - 1

    flux = 0.0 if ill else 1.0

    @boundary(box.at(x=1))
    def right(u, u_x):
        return (1 + 3 * u**2) * u_x - flux

    return Problem(box, [conduction, slope(box.at(x=0), "u_x"), right, value(box.at(x=0))])


@ill_problem
def two_starts(ill):
    box = Box(t=(0, 1), x=(0, 1))

    heat, start = heating(box, 0.1), sine_start(box)

    @initial(box.at(t=0))
    def again(u, x):
        return u - (2 if ill else 1) * sin(pi * x)

    return Problem(box, [heat, start, again, value(box.ends("x"))])


@ill_problem
def corner(ill):
    """The start is warm up to the cold wall."""
    box = Box(t=(0, 1), x=(0, 1))

    heat = heating(box, 0.1)

    @initial(box.at(t=0))
    def start(u, x):
        return u - (1 if ill else sin(pi * x))

    return Problem(box, [heat, start, value(box.ends("x"))])


@ill_problem
def corner_in_kelvin(ill):
    box = Box(t=(0, 100), x=(0, 1), y=(0, 1))

    @residual(box)
    def heat(T_t, lap_T):
        return T_t - 1e-3 * lap_T

    @initial(box.at(t=0))
    def start(T):
        return 2 * (T - 300)

    return Problem(box, [heat, start, value(box.boundary(), 310.0 if ill else 300.0, "T")], "T")
