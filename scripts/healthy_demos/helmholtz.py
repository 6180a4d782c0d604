"""-u_xx - u_yy - k^2 u = k^2 sin(k x) sin(k y) on [0, 1]^2 with k = 4 pi, u = 0 on the boundary by construction.

Exact: sin(k x) sin(k y). The network is x (1 - x) y (1 - y) N(x, y). DeepXDE's demo Helmholtz_Dirichlet_2d.
"""

from math import pi

from torch import nn, sin

from pinntk import Box, Problem, residual
from pinntk.nn import MLP, HardConstraint

K = 4 * pi


def problem() -> Problem:
    domain = Box(x=(0, 1), y=(0, 1))

    @residual(domain)
    def helmholtz(u, u_xx, u_yy, x, y):
        return -u_xx - u_yy - K**2 * u - K**2 * sin(K * x) * sin(K * y)

    return Problem(domain, [helmholtz], exact=lambda x, y: sin(K * x) * sin(K * y))


def network(problem: Problem, **options) -> nn.Module:
    return HardConstraint(problem, MLP(problem, **options), factor=lambda x, y: x * (1 - x) * y * (1 - y))
