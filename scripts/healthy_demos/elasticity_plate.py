"""A plate under a body force on [0, 1]^2, lambda = 1, mu = 0.5: displacements u, v and stresses a = S_xx, b = S_yy, c = S_xy.

a_x + c_y = f, c_x + b_y = g; a = 2 u_x + v_y, b = 2 v_y + u_x, c = (u_y + v_x) / 2. Exact: u = cos(2 pi x) sin(pi y), v =
sin(pi x) y^4, and the forces f and g that follow. Five networks, one a field, meet the walls by construction: u = 0 at
y = 0 and 1; v = 0 at x = 0, x = 1 and y = 0; a = 0 at x = 0 and 1; b = 8 sin(pi x) at y = 1.
DeepXDE's demo elasticity_plate.
"""

from math import pi

import torch
from torch import Tensor, cos, nn, sin

from pinntk import Box, Problem, residual
from pinntk.nn import MLP, HardConstraint


def problem() -> Problem:
    domain = Box(x=(0, 1), y=(0, 1))

    def exact(x, y):
        u_x, u_y = -2 * pi * sin(2 * pi * x) * sin(pi * y), pi * cos(2 * pi * x) * cos(pi * y)
        v_x, v_y = pi * cos(pi * x) * y**4, 4 * sin(pi * x) * y**3
        u, v = cos(2 * pi * x) * sin(pi * y), sin(pi * x) * y**4
        return u, v, 2 * u_x + v_y, 2 * v_y + u_x, (u_y + v_x) / 2

    @residual(domain)
    def momentum_x(a_x, c_y, x, y):
        u_xx, u_yy = -4 * pi**2 * cos(2 * pi * x) * sin(pi * y), -(pi**2) * cos(2 * pi * x) * sin(pi * y)
        v_xy = 4 * pi * cos(pi * x) * y**3
        return a_x + c_y - (2 * u_xx + v_xy + (u_yy + v_xy) / 2)

    @residual(domain)
    def momentum_y(c_x, b_y, x, y):
        v_xx, v_yy = -(pi**2) * sin(pi * x) * y**4, 12 * sin(pi * x) * y**2
        u_xy = -2 * pi**2 * sin(2 * pi * x) * cos(pi * y)
        return c_x + b_y - ((u_xy + v_xx) / 2 + 2 * v_yy + u_xy)

    @residual(domain)
    def stress_x(u_x, v_y, a):
        return 2 * u_x + v_y - a

    @residual(domain)
    def stress_y(u_x, v_y, b):
        return 2 * v_y + u_x - b

    @residual(domain)
    def shear(u_y, v_x, c):
        return (u_y + v_x) / 2 - c

    conditions = [momentum_x, momentum_y, stress_x, stress_y, shear]
    return Problem(domain, conditions, fields=("u", "v", "a", "b", "c"), exact=exact)


class Parallel(nn.Module):
    """One network a field, side by side."""

    def __init__(self, networks: list[nn.Module]):
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, points: Tensor) -> Tensor:
        return torch.cat([network(points) for network in self.networks], 1)


def network(problem: Problem, normalize: bool, seed: int, **options) -> nn.Module:
    inner = Parallel([MLP(inputs=2, outputs=1, seed=5 * seed + i, **options) for i in range(5)])
    return HardConstraint(
        problem,
        inner,
        offset=lambda x, y: (0.0, 0.0, 0.0, 8 * sin(pi * x), 0.0),
        factor=lambda x, y: (y * (1 - y), x * (1 - x) * y, x * (1 - x), 1 - y, 1.0),
    )
