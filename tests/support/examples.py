"""Problems, listed once: every kind of condition and of argument that the library knows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from pinntk.problem import Box, Problem, boundary, data, initial, periodic, residual


@dataclass(frozen=True)
class Example:
    build: Callable[[], Problem]
    counts: Mapping[str, int]

    def load(self) -> tuple[Problem, dict[str, Tensor]]:
        problem = self.build()
        return problem, problem.sample(seed=1, dtype=torch.float64, **self.counts)


def poisson() -> Problem:
    domain = Box(x=(0, 1))

    @residual(domain)
    def equation(u_xx, x):
        return u_xx + torch.sin(3 * x)

    @boundary(domain.ends("x"))
    def ends(u):
        return u

    return Problem(domain, [equation, ends])


def burgers() -> Problem:
    """Conditions of one region and count share a tensor: the residuals, and the periodic pair."""
    domain = Box(t=(0, 1), x=(-1, 1))

    @residual(domain)
    def equation(u, u_t, u_x, u_xx):
        return u_t + u * u_x - 0.1 * u_xx

    @residual(domain)
    def mixed(u_tx, u_x, x):
        return u_tx - x * u_x**2

    @initial(domain.at(t=0))
    def start(u, x):
        return u + torch.sin(torch.pi * x)

    @periodic(domain.ends("x"))
    def wrap(u, x):
        return u * (1 + 0.1 * x)

    @periodic(domain.ends("x"))
    def wrap_slope(u_x):
        return u_x

    return Problem(domain, [equation, mixed, start, wrap, wrap_slope])


def stokes() -> Problem:
    domain = Box(x=(0, 1), y=(0, 2))

    @residual(domain)
    def momentum_x(lap_u, p_x, y):
        return -lap_u + p_x - y

    @residual(domain)
    def momentum_y(v, lap_v, p_y):
        return -lap_v + p_y + v**2

    @residual(domain)
    def continuity(u_x, v_y):
        return u_x + v_y

    @boundary(domain.ends("x"))
    def no_slip(u):
        return u

    @boundary(domain.boundary())
    def outflow(v, p_n):
        return p_n - v

    return Problem(domain, [momentum_x, momentum_y, continuity, no_slip, outflow], fields=("u", "v", "p"))


def inverse() -> Problem:
    domain = Box(t=(0, 1), x=(-1, 1))
    where = [[0.1, -0.5], [0.5, 0.25], [0.9, 0.75]]

    @residual(domain)
    def heat(u, u_t, u_xx, nu, source):
        return u_t - nu**2 * u_xx - source * u

    @data(domain, where, seen=[0.3, -0.2, 0.1], weight=[1.0, 2.0, 0.5])
    def sensors(u, seen, weight):
        return weight * (u - seen)

    return Problem(domain, [heat, sensors], coefficients={"nu": 0.7, "source": -0.4})


def laplace() -> Problem:
    """A collapsed Laplacian, alone and beside second derivatives on the same points."""
    domain = Box.cube(3)

    @residual(domain)
    def equation(u, lap_u, points):
        return lap_u + u**3 - points.prod(1)

    @residual(domain)
    def anisotropic(u_x1x1, u_x2x3, x2):
        return u_x1x1 + x2 * u_x2x3

    @boundary(domain.boundary())
    def flux(u, u_n):
        return u_n + u

    @boundary(domain.at(x3=0))
    def slope(grad_u):
        return (grad_u**2).sum(1)

    return Problem(domain, [equation, anisotropic, flux, slope])


def beam() -> Problem:
    domain = Box(x=(-1, 1))

    @residual(domain)
    def equation(u, u_xxxx, u_xxx):
        return u_xxxx + u * u_xxx - 1

    @boundary(domain.ends("x"))
    def clamped(u, u_xx):
        return u + 0.1 * u_xx

    return Problem(domain, [equation, clamped])


def everything() -> Problem:
    """Every kind of condition and of argument at once."""
    domain = Box(t=(0, 1), x=(-1, 1), y=(0, 1))

    @residual(domain)
    def equation(u, u_t, lap_u, grad_u, nu, points):
        return u_t - nu * lap_u + (grad_u**2).sum(1) * u - points.sum(1)

    @residual(domain.at(y=0.5))
    def symmetry(u_txy, v_xx):
        return u_txy - v_xx

    @boundary(domain.ends("y"))
    def walls(u_n, v, x):
        return u_n + x * v

    @initial(domain.at(t=0))
    def start(u, v_y, y):
        return u - y * v_y

    @periodic(domain.ends("x"))
    def wrap(u, v_x):
        return u + v_x**2

    @data(domain, [[0.2, 0.1, 0.3], [0.7, -0.8, 0.6]], seen=[0.5, -0.5])
    def sensors(v, seen, nu):
        return v - nu * seen

    conditions = [equation, symmetry, walls, start, wrap, sensors]
    return Problem(domain, conditions, fields=("u", "v"), coefficients={"nu": 0.3})


EXAMPLES = {
    "poisson": Example(poisson, {"residual": 5, "boundary": 2}),
    "burgers": Example(burgers, {"residual": 5, "initial": 3, "periodic": 2}),
    "stokes": Example(stokes, {"residual": 4, "no_slip": 1, "outflow": 3}),
    "inverse": Example(inverse, {"residual": 5}),
    "laplace": Example(laplace, {"residual": 4, "flux": 5, "slope": 1}),
    "beam": Example(beam, {"residual": 4, "boundary": 1}),
    "everything": Example(everything, {"residual": 3, "boundary": 2, "initial": 1, "periodic": 2}),
}
