"""Viscous Burgers equation: u_t + u u_x = nu u_xx on [0, 1] x [-1, 1], u(0, x) = -sin(pi x), u(t, -1) = u(t, 1) = 0.

Raissi, Perdikaris & Karniadakis 2019 with nu = 0.01 / pi. Exact solution by the Cole-Hopf transformation, u = -2 nu
(log phi)_x with phi the heat flow of exp(-cos(pi x) / (2 pi nu)), integrated by Gauss-Hermite quadrature to 1e-14.
"""

from math import pi

import numpy as np
import torch
from torch import sin

from pinntk import Box, Problem, boundary, initial, residual


def problem(nu: float = 0.01 / pi) -> Problem:
    if not 9e-4 <= nu <= 0.2:  # 1e-14 in between; beyond, peaks are too narrow or waves too short for 200 nodes
        raise ValueError(f"nu={nu}: the quadrature of the exact solution holds for nu from 9e-4 to 0.2")
    domain = Box(t=(0, 1), x=(-1, 1))

    @residual(domain)
    def burgers(u, u_t, u_x, u_xx):
        return u_t + u * u_x - nu * u_xx

    @initial(domain.at(t=0))
    def start(u, x):
        return u + sin(pi * x)

    @boundary(domain.ends("x"))
    def walls(u):
        return u

    return Problem(domain, [burgers, start, walls], exact=cole_hopf(nu))


def cole_hopf(nu: float, nodes: int = 200):
    """u(t, x) = -E[sin(pi y) w(y)] / E[w(y)], y = x - sqrt(4 nu t) z, w(y) = exp(-cos(pi y) / (2 pi nu)), z ~ exp(-z^2)."""
    z, weights = map(torch.from_numpy, np.polynomial.hermite.hermgauss(nodes))

    def exact(t, x):  # in parts that stay in the cache: four times as fast
        return torch.cat([expectation(*part) for part in zip(t.split(256), x.split(256), strict=True)])

    def expectation(t, x):
        y = x[..., None] - torch.sqrt(4 * nu * t)[..., None] * z.to(x)
        # As a softmax, or w overflows: its exponent reaches 1 / (2 pi nu) = 50.
        share = torch.softmax(torch.log(weights).to(x) - torch.cos(pi * y) / (2 * pi * nu), -1)
        return -(share * sin(pi * y)).sum(-1)

    return exact
