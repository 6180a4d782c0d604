"""Rabbits and foxes: r_t = 40 r - 160 r p, p_t = 80 r p - 21.2 p on [0, 1], r = 0.5 and p = 0.075 at t = 0.

The start is met by construction, r = 0.5 + tanh(t) N, and the network sees t, sin(t), ..., sin(6 t). The demo compares
with a numerical solution in a plot and knows none in the training; `known` gives it, by DOP853 to 1e-10.
DeepXDE's demo Lotka_Volterra.
"""

import numpy as np
import torch
from scipy.integrate import solve_ivp
from torch import Tensor, nn, tanh

from pinntk import Box, GridSolution, Problem, residual
from pinntk.nn import MLP, HardConstraint

START = (0.5, 0.075)


def problem(known: bool = False) -> Problem:
    domain = Box(t=(0, 1))

    @residual(domain)
    def rabbits(r, r_t, p):
        return r_t - 40 * r + 160 * r * p

    @residual(domain)
    def foxes(r, p, p_t):
        return p_t - 80 * r * p + 21.2 * p

    def reference():
        def slopes(_, y):
            return [40 * y[0] - 160 * y[0] * y[1], 80 * y[0] * y[1] - 21.2 * y[1]]

        t = np.linspace(0, 1, 1001)
        return GridSolution((t,), solve_ivp(slopes, (0, 1), START, "DOP853", t, rtol=1e-10, atol=1e-12).y.T)

    return Problem(domain, [rabbits, foxes], fields=("r", "p"), reference=reference if known else None)


class Waves(nn.Module):
    """t -> t, sin(t), ..., sin(6 t); (n, 1) -> (n, 7)."""

    def forward(self, t: Tensor) -> Tensor:
        return torch.cat([t, *(torch.sin(k * t) for k in range(1, 7))], 1)


def network(problem: Problem, normalize: bool, **options) -> nn.Module:
    inner = nn.Sequential(Waves(), MLP(inputs=7, outputs=2, **options))
    return HardConstraint(problem, inner, offset=lambda t: START, factor=lambda t: tanh(t))
