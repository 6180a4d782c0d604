"""u_tt = 100 u_xx on [0, 1] x [0, 1], u = 0 at both ends; u = sin(pi x) + sin(2 pi x) and u_t = 0 at t = 0.

Exact: sin(pi x) cos(10 pi t) + sin(2 pi x) cos(20 pi t). Fourier features of x, and of t at two scales, go through one
trunk and are multiplied (Wang, Wang & Perdikaris 2021). DeepXDE's demo wave_1d.
"""

from math import pi, sqrt

import torch
from torch import Tensor, cos, nn, sin

from pinntk import Box, Problem, boundary, initial, residual
from pinntk.nn import MLP


def problem() -> Problem:
    domain = Box(x=(0, 1), t=(0, 1))

    @residual(domain)
    def wave(u_tt, u_xx):
        return u_tt - 100 * u_xx

    @boundary(domain.ends("x"))
    def ends(u):
        return u

    @initial(domain.at(t=0))
    def start(u, x):
        return u - sin(pi * x) - sin(2 * pi * x)

    @initial(domain.at(t=0))
    def start_velocity(u_t):
        return u_t

    def exact(x, t):
        return sin(pi * x) * cos(10 * pi * t) + sin(2 * pi * x) * cos(20 * pi * t)

    return Problem(domain, [wave, ends, start, start_velocity], exact=exact)


class SpaceTimeFeatures(nn.Module):
    """N(x, t) = W [T(g(x)) T(h_1(t)), T(g(x)) T(h_2(t))] + b: g and h_i are waves of 1, 1 and 10 radians, T is a trunk."""

    def __init__(self, width: int, depth: int, seed: int, activation: str):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        for name, sigma in {"space": 1.0, "slow": 1.0, "fast": 10.0}.items():
            self.register_buffer(name, sigma * torch.randn(1, width // 2, generator=generator))
        self.trunk = MLP(inputs=width, outputs=width, width=width, depth=depth - 2, seed=seed, activation=activation)
        self.last = nn.Linear(2 * width, 1)
        nn.init.xavier_normal_(self.last.weight, generator=generator)
        nn.init.zeros_(self.last.bias)

    def forward(self, points: Tensor) -> Tensor:
        x, t = ((points - 0.5) * 2 * sqrt(3)).split(1, 1)
        space, slow, fast = (
            torch.tanh(self.trunk(torch.cat([cos(z @ B), sin(z @ B)], 1)))
            for z, B in ((x, self.space), (t, self.slow), (t, self.fast))
        )
        return self.last(torch.cat([space * slow, space * fast], 1))


def network(problem: Problem, normalize: bool, **options) -> nn.Module:
    return SpaceTimeFeatures(**options)
