"""u_t = 0.001 u_xx + 5 (u - u^3) on [-1, 1] x [0, 1], u = -1 at both ends, u = x^2 cos(pi x) at t = 0.

Ends and start are met by construction, x^2 cos(pi x) + t (1 - x^2) N(x, t). The demo compares with a file and knows no
solution in the training; `known` gives it, by second differences on 1,600 intervals and Radau to 1e-8: right to 1e-5.
DeepXDE's demo Allen_Cahn.
"""

from math import pi

import numpy as np
from scipy.integrate import solve_ivp
from torch import cos, nn

from pinntk import Box, GridSolution, Problem, residual
from pinntk.nn import MLP, HardConstraint

D = 0.001


def problem(known: bool = False) -> Problem:
    domain = Box(x=(-1, 1), t=(0, 1))

    @residual(domain)
    def allen_cahn(u, u_t, u_xx):
        return u_t - D * u_xx - 5 * (u - u**3)

    return Problem(domain, [allen_cahn], reference=differences if known else None)


def differences(intervals: int = 1600) -> GridSolution:
    x, t = np.linspace(-1, 1, intervals + 1), np.linspace(0, 1, 101)

    def slopes(_, inner):
        u = np.concatenate([[-1.0], inner, [-1.0]])
        return D * np.diff(u, 2) * (intervals / 2) ** 2 + 5 * (inner - inner**3)

    u = x**2 * np.cos(pi * x)
    band = np.abs(np.subtract.outer(np.arange(intervals - 1), np.arange(intervals - 1))) <= 1
    found = solve_ivp(slopes, (0, 1), u[1:-1], "Radau", t, rtol=1e-8, atol=1e-10, jac_sparsity=band)
    values = np.full((intervals + 1, len(t)), -1.0)
    values[1:-1] = found.y
    return GridSolution((x, t), values)


def network(problem: Problem, **options) -> nn.Module:
    return HardConstraint(
        problem, MLP(problem, **options), offset=lambda x, t: x**2 * cos(pi * x), factor=lambda x, t: t * (1 - x**2)
    )
