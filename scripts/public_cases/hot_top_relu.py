"""A plate heated from its top, by a network of relu: T_t = 15 (T_xx + T_yy) on t in [0, 1], (x, y) in [0, 1]^2.

T = 100 at y = 1, T = 0 on the other sides and at t = 0. Exact: the sine series of the steady state less that of its
decay, 40 x 80 terms.
Reported: the loss goes down and the output makes no sense. Setting there: relu, 7 layers of 20, 100,000 points,
10,000 on each side; fewer points here.
True cause: relu. It is linear in pieces, its second derivatives are 0 everywhere, and the equation becomes T_t = 0
whatever the network is; the sides' values are learned.
Known by: calculus (arXiv:2212.00270 proves it for every such network); temperatures of 100 slow it down besides.
Public report: https://scicomp.stackexchange.com/questions/42791
"""

from math import pi

import torch
from torch import exp, sin, where

from pinntk import Box, Problem, boundary, initial, residual


def problem(diffusivity: float = 15.0, top: float = 100.0) -> Problem:
    domain = Box(t=(0, 1), x=(0, 1), y=(0, 1))

    @residual(domain)
    def heat(T_t, T_xx, T_yy):
        return T_t - diffusivity * (T_xx + T_yy)

    @initial(domain.at(t=0))
    def start(T):
        return T

    @boundary(domain.at(y=1))
    def heated(T):
        return T - top

    @boundary(domain.ends("x") | domain.at(y=0))
    def cold(T):
        return T

    def exact(t, x, y):
        parts = [series(diffusivity, *part) for part in zip(t.split(8192), x.split(8192), y.split(8192), strict=True)]
        return where(y < 1, where(t > 0, top * torch.cat(parts), 0.0), top)

    return Problem(domain, [heat, start, heated, cold], fields=("T",), exact=exact)


def series(diffusivity: float, t: torch.Tensor, x: torch.Tensor, y: torch.Tensor, terms: int = 80) -> torch.Tensor:
    """T for a top of 1: sines of odd n in x; in y the steady state, and sines of m that decay."""
    n, m = torch.arange(1, terms, 2).to(x), torch.arange(1, terms + 1).to(x)
    steady = (exp(pi * n * (y[:, None] - 1)) - exp(-pi * n * (y[:, None] + 1))) / (1 - exp(-2 * pi * n))
    weight = 2 * (-1) ** (m + 1) * m / (pi * (n[:, None] ** 2 + m**2))
    fade = exp(-diffusivity * (pi * m) ** 2 * t[:, None]) * sin(pi * m * y[:, None])
    fading = exp(-diffusivity * (pi * n) ** 2 * t[:, None]) * (fade @ weight.T)
    return (4 / (pi * n) * sin(pi * n * x[:, None]) * (steady - fading)).sum(1)
