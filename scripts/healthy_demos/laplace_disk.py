"""r u_r + r^2 u_rr + u_ss = 0 on [0, 1] x [0, 2 pi] (polar coordinates r, s), u = cos(s) at r = 1. Exact: r cos(s).

The network sees r sin(s) and r cos(s), so that it repeats in s. DeepXDE's demo Laplace_disk.
"""

from math import pi

import torch
from torch import Tensor, cos, nn, sin

from pinntk import Box, Problem, boundary, residual
from pinntk.nn import MLP


def problem() -> Problem:
    domain = Box(r=(0, 1), s=(0, 2 * pi))

    @residual(domain)
    def laplace(u_r, u_rr, u_ss, r):
        return r * u_r + r**2 * u_rr + u_ss

    @boundary(domain.at(r=1))
    def rim(u, s):
        return u - cos(s)

    return Problem(domain, [laplace, rim], exact=lambda r, s: r * cos(s))


class Cartesian(nn.Module):
    """(r, s) -> (r sin(s), r cos(s))."""

    def forward(self, points: Tensor) -> Tensor:
        r, s = points.split(1, 1)
        return torch.cat([r * sin(s), r * cos(s)], 1)


def network(problem: Problem, normalize: bool, **options) -> nn.Module:
    return nn.Sequential(Cartesian(), MLP(inputs=2, outputs=1, **options))
