"""-u_xx = sum over i = 1..4 of i sin(i x), + 8 sin(8 x), on [0, pi]; u(0) = 0 and u(pi) = pi by construction.

Exact: x + sum over i = 1..4 of sin(i x) / i, + sin(8 x) / 8. The network is x + x (pi - x) N(x).
DeepXDE's demo Poisson_Dirichlet_1d_exactBC.
"""

from math import pi

from torch import nn, sin

from pinntk import Box, Problem, residual
from pinntk.nn import MLP, HardConstraint


def problem() -> Problem:
    domain = Box(x=(0, pi))

    @residual(domain)
    def poisson(u_xx, x):
        return -u_xx - sum(i * sin(i * x) for i in (1, 2, 3, 4, 8))

    return Problem(domain, [poisson], exact=lambda x: x + sum(sin(i * x) / i for i in (1, 2, 3, 4, 8)))


def network(problem: Problem, **options) -> nn.Module:
    return HardConstraint(problem, MLP(problem, **options), offset=lambda x: x, factor=lambda x: x * (pi - x))
