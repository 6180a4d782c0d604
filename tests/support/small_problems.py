"""Poisson on a line and diffusion on a plane, whole or with conditions left out, a slow flow; a network and points for them."""

from math import pi

import torch
from torch import nn

import pinntk

F64 = {"dtype": torch.float64}
LINE = pinntk.Box(x=(0, 1))
PLANE = pinntk.Box(t=(0, 1), x=(0, 1))


@pinntk.residual(LINE)
def equation(u_xx, x):
    return u_xx + pi**2 * torch.sin(pi * x)


@pinntk.boundary(LINE.at(x=0))
def left(u):
    return u


@pinntk.boundary(LINE.at(x=1))
def right(u):
    return u


@pinntk.residual(PLANE)
def heat(u_t, u_xx):
    return u_t - 0.05 * u_xx


@pinntk.initial(PLANE.at(t=0))
def start(u, x):
    return u - 5 * torch.sin(pi * x)


@pinntk.boundary(PLANE.ends("x"))
def walls(u):
    return u


def poisson(*conditions) -> pinntk.Problem:
    return pinntk.Problem(LINE, conditions or [equation, left, right], exact=lambda x: torch.sin(pi * x))


def diffusion(*conditions) -> pinntk.Problem:
    return pinntk.Problem(PLANE, conditions or [heat, start, walls])


def mlp(problem: pinntk.Problem, **choices) -> nn.Module:
    return pinntk.nn.MLP(problem, **{"width": 24, "depth": 2, **F64, **choices})


def sample(problem: pinntk.Problem, n: int = 100) -> dict[str, torch.Tensor]:
    return problem.sample(residual=n, boundary=20, initial=20, method="sobol", **F64)


def stokes(*more, exact=None):
    """A slow flow driven by a force in a box with walls; its pressure is free by a constant."""
    box = pinntk.Box(x=(0, 1), y=(0, 1))

    @pinntk.residual(box)
    def momentum_x(p_x, lap_u, y):
        return p_x - lap_u - y

    @pinntk.residual(box)
    def momentum_y(p_y, lap_v):
        return p_y - lap_v

    @pinntk.residual(box)
    def continuity(u_x, v_y):
        return u_x + v_y

    @pinntk.boundary(box.boundary())
    def still(u):
        return u

    @pinntk.boundary(box.boundary())
    def level(v):
        return v

    conditions = [momentum_x, momentum_y, continuity, still, level, *more]
    return pinntk.Problem(box, conditions, fields=("u", "v", "p"), exact=exact)
