"""Problems that are ill by themselves, by kind, each with its healthy like: equations, dimensions, fields and units vary."""

from __future__ import annotations

from collections.abc import Callable
from math import pi

import numpy as np
import torch
from torch import exp, sin

from pinntk import Box, Problem, boundary, data, initial, periodic, residual

MISSING: dict[str, Callable[[bool], Problem]] = {}
CONFLICT: dict[str, Callable[[bool], Problem]] = {}
TRIVIAL: dict[str, Callable[[bool], Problem]] = {}


def of(table: dict) -> Callable:
    """Registers a function of `ill`: whether the fault is there."""

    def register(make: Callable[[bool], Problem]) -> Callable[[bool], Problem]:
        table[make.__name__] = make
        return make

    return register


def value(region, number=0.0, field="u", name=None):
    def condition(**fields):
        return fields[field] - number

    return _named(boundary(region), condition, name or f"{field}_{region.describe()}", field)


def slope(region, argument, number=0.0, name=None):
    def condition(**fields):
        return fields[argument] - number

    return _named(boundary(region), condition, name or f"{argument}_{region.describe()}", argument)


def _named(decorate, operator, name, argument):
    from inspect import Parameter, Signature

    operator.__name__ = "".join(c if c.isalnum() else "_" for c in name)
    operator.__signature__ = Signature([Parameter(argument, Parameter.KEYWORD_ONLY)])
    return decorate(operator)


# Missing conditions.


@of(MISSING)
def line(ill):
    box = Box(x=(0, 1))

    @residual(box)
    def equation(u_xx, x):
        return u_xx + sin(3 * x)

    return Problem(box, [equation, value(box.at(x=0), 1.0), *([] if ill else [value(box.at(x=1))])])


@of(MISSING)
def decay(ill):
    box = Box(t=(0, 40))

    @residual(box)
    def equation(u, u_t):
        return u_t + 0.1 * (u - 20)

    return Problem(box, [equation, *([] if ill else [value(box.at(t=0), 90.0)])])


@of(MISSING)
def heat_start(ill):
    box = Box(t=(0, 1), x=(0, 1))

    @residual(box)
    def heat(u_t, u_xx):
        return u_t - 0.05 * u_xx

    @initial(box.at(t=0))
    def start(u, x):
        return u - sin(pi * x)

    return Problem(box, [heat, value(box.ends("x")), *([] if ill else [start])])


@of(MISSING)
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


@of(MISSING)
def wave_velocity(ill):
    box = Box(t=(0, 1), x=(-1, 1))

    @residual(box)
    def wave(u_tt, u_xx):
        return u_tt - 4 * u_xx

    @initial(box.at(t=0))
    def start(u, x):
        return u - sin(pi * x)

    @initial(box.at(t=0))
    def speed(u_t):
        return u_t

    return Problem(box, [wave, start, value(box.ends("x")), *([] if ill else [speed])])


@of(MISSING)
def laplace_side(ill):
    box = Box(x=(0, 2), y=(0, 1))

    @residual(box)
    def laplace(lap_u):
        return lap_u

    sides = [value(box.ends("y"), 1.0), value(box.at(x=0), 1.0)]
    return Problem(box, [laplace, *sides, *([] if ill else [value(box.at(x=2), 1.0)])])


@of(MISSING)
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


@of(MISSING)
def beam_slope(ill):
    box = Box(x=(0, 3000))

    @residual(box)
    def bending(w_xxxx):
        return 2e11 * w_xxxx - 1e-1

    ends = [value(box.at(x=0), 0.0, "w"), slope(box.at(x=3000), "w_xx"), slope(box.at(x=3000), "w_xxx")]
    return Problem(box, [bending, *ends, *([] if ill else [slope(box.at(x=0), "w_x")])], "w")


@of(MISSING)
def burgers_walls(ill):
    box = Box(t=(0, 1), x=(-1, 1))

    @residual(box)
    def burgers(u, u_t, u_x, u_xx):
        return u_t + u * u_x - 0.1 * u_xx

    @initial(box.at(t=0))
    def start(u, x):
        return u + sin(pi * x)

    return Problem(box, [burgers, start, *([] if ill else [value(box.ends("x"))])])


@of(MISSING)
def cube(ill):
    box = Box(x=(0, 1), y=(0, 1), z=(0, 1))

    @residual(box)
    def poisson(lap_u):
        return lap_u + 1

    return Problem(box, [poisson, value(box.ends("x") | box.ends("y")), *([] if ill else [value(box.ends("z"))])])


@of(MISSING)
def ring(ill):
    """Periodic, so that a constant is free."""
    box = Box(x=(0, 1))

    @residual(box)
    def poisson(u_xx, x):
        return u_xx + sin(2 * pi * x)

    @periodic(box.ends("x"))
    def wrap(u):
        return u

    @periodic(box.ends("x"))
    def wrap_slope(u_x):
        return u_x

    return Problem(box, [poisson, wrap, wrap_slope, *([] if ill else [value(box.at(x=0))])])


@of(MISSING)
def unread_field(ill):
    box = Box(x=(0, 1))

    @residual(box)
    def equation(u_xx):
        return u_xx + 1

    @residual(box)
    def other(u, v):
        return v - u**2

    return Problem(box, [equation, value(box.ends("x")), *([] if ill else [other])], ("u", "v"))


@of(MISSING)
def explosion(ill):
    box = Box(x=(0, 1))

    @residual(box)
    def bratu(u, u_xx):
        return u_xx + exp(u)

    return Problem(box, [bratu, value(box.at(x=0)), *([] if ill else [value(box.at(x=1))])])


# Contradictions.


@of(CONFLICT)
def insulated_line(ill):
    box = Box(x=(0, 1))

    @residual(box)
    def equation(u_xx):
        return u_xx - 1

    return Problem(
        box, [equation, slope(box.at(x=0), "u_x"), slope(box.at(x=1), "u_x", 0.0 if ill else 1.0), value(box.at(x=0.5))]
    )


@of(CONFLICT)
def insulated_plate(ill):
    """Watts per square metre that do not leave, in kelvin and metres."""
    box = Box(x=(0, 0.1), y=(0, 0.2))

    @residual(box)
    def conduction(lap_T, x):
        return 50 * lap_T + (1e5 if ill else 1e5 * torch.cos(10 * pi * x))

    walls = [slope(box.boundary(), "T_n"), value(box.at(x=0, y=0), 293.0, "T")]
    return Problem(box, [conduction, *walls], "T")


@of(CONFLICT)
def two_values(ill):
    box = Box(x=(0, 1), y=(0, 1))

    @residual(box)
    def laplace(lap_u):
        return lap_u

    first, second = value(box.boundary(), 3.0, name="first"), value(box.at(x=1), 4.0 if ill else 3.0, name="second")
    return Problem(box, [laplace, first, second])


@of(CONFLICT)
def over_determined(ill):
    box = Box(x=(0, 1))

    @residual(box)
    def growth(u, u_x):
        return u_x - u

    return Problem(box, [growth, value(box.at(x=0), 1.0), value(box.at(x=1), 5.0 if ill else float(np.e))])


@of(CONFLICT)
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


@of(CONFLICT)
def periodic_source(ill):
    box = Box(x=(0, 1))

    @residual(box)
    def poisson(u_xx, x):
        return u_xx - (1 if ill else torch.cos(2 * pi * x))

    @periodic(box.ends("x"))
    def wrap(u):
        return u

    @periodic(box.ends("x"))
    def wrap_slope(u_x):
        return u_x

    return Problem(box, [poisson, wrap, wrap_slope, value(box.at(x=0))])


@of(CONFLICT)
def resonance(ill):
    box = Box(x=(0, 1))

    @residual(box)
    def string(u, u_xx, x):
        return u_xx + (pi**2 if ill else 5.0) * u - sin(pi * x)

    return Problem(box, [string, value(box.at(x=0)), value(box.at(x=1)), *([slope(box.at(x=0), "u_x")] if ill else [])])


@of(CONFLICT)
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


@of(CONFLICT)
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


@of(CONFLICT)
def two_starts(ill):
    box = Box(t=(0, 1), x=(0, 1))

    @residual(box)
    def heat(u_t, u_xx):
        return u_t - 0.1 * u_xx

    @initial(box.at(t=0))
    def start(u, x):
        return u - sin(pi * x)

    @initial(box.at(t=0))
    def again(u, x):
        return u - (2 if ill else 1) * sin(pi * x)

    return Problem(box, [heat, start, again, value(box.ends("x"))])


@of(CONFLICT)
def corner(ill):
    """The start is warm up to the cold wall."""
    box = Box(t=(0, 1), x=(0, 1))

    @residual(box)
    def heat(u_t, u_xx):
        return u_t - 0.1 * u_xx

    @initial(box.at(t=0))
    def start(u, x):
        return u - (1 if ill else sin(pi * x))

    return Problem(box, [heat, start, value(box.ends("x"))])


@of(CONFLICT)
def corner_in_kelvin(ill):
    box = Box(t=(0, 100), x=(0, 1), y=(0, 1))

    @residual(box)
    def heat(T_t, lap_T):
        return T_t - 1e-3 * lap_T

    @initial(box.at(t=0))
    def start(T):
        return 2 * (T - 300)

    return Problem(box, [heat, start, value(box.boundary(), 310.0 if ill else 300.0, "T")], "T")


# Everything is satisfied by zero.


@of(TRIVIAL)
def eigenvalue(ill):
    box = Box(x=(0, 1))

    @residual(box)
    def helmholtz(u, u_xx):
        return u_xx + 3 * u

    return Problem(box, [helmholtz, value(box.at(x=0)), value(box.at(x=1), 0.0 if ill else 1e-19)])


@of(TRIVIAL)
def schroedinger(ill):
    box = Box(x=(-1, 1))

    @residual(box)
    def stationary(psi, psi_xx, E):
        return -0.5 * psi_xx - E * psi

    ends = [value(box.ends("x"), 0.0, "psi")]
    return Problem(box, [stationary, *ends, *([] if ill else [value(box.at(x=0), 1.0, "psi")])], "psi", coefficients={"E": 1.3})


@of(TRIVIAL)
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


@of(TRIVIAL)
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
