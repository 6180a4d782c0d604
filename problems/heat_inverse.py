"""Inverse heat problem: find kappa in u_t = kappa u_xx on [0, 1] x [0, 1] from noisy measurements of u.

u(0, x) = sin(pi x), u = 0 at both ends. `sensors` measurements at random places, with Gaussian noise of standard deviation
`noise`, of the exact solution u = exp(-kappa pi^2 t) sin(pi x). The coefficient starts at 1.
"""

from math import pi

import numpy as np
from torch import exp, sin

from pinntk import Box, Problem, boundary, data, initial, residual


def problem(kappa: float = 0.2, sensors: int = 50, noise: float = 0.01, seed: int = 0) -> Problem:
    domain = Box(t=(0, 1), x=(0, 1))
    true_kappa = kappa
    rng = np.random.default_rng(seed)
    t, x = rng.random((2, sensors))
    measured = np.exp(-true_kappa * pi**2 * t) * np.sin(pi * x) + noise * rng.standard_normal(sensors)

    @residual(domain)
    def heat(u_t, u_xx, kappa):
        return u_t - kappa * u_xx

    @initial(domain.at(t=0))
    def start(u, x):
        return u - sin(pi * x)

    @boundary(domain.ends("x"))
    def walls(u):
        return u

    @data(domain, np.column_stack([t, x]), seen=measured)
    def readings(u, seen):
        return u - seen

    def exact(t, x):
        return exp(-true_kappa * pi**2 * t) * sin(pi * x)

    return Problem(domain, [heat, start, walls, readings], exact=exact, coefficients={"kappa": 1.0})
