"""Models and losses as people write them, and the same problems in pinntk's operators."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

import pinntk


def gradient(value: Tensor, x: Tensor) -> Tensor:
    return torch.autograd.grad(value, x, grad_outputs=torch.ones_like(value), create_graph=True)[0]


class Columns(nn.Module):
    """A model of two columns, as in many public repositories; its scale is no parameter."""

    def __init__(self, outputs: int = 1):
        super().__init__()
        self.hidden1, self.hidden2 = nn.Linear(2, 10), nn.Linear(10, 10)
        self.out = nn.Linear(10, outputs)
        self.register_buffer("scale", torch.tensor([1.0, 2.0]))

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        inputs = torch.cat([x, t], dim=1) / self.scale
        return self.out(torch.tanh(self.hidden2(torch.tanh(self.hidden1(inputs)))))


def sequential(inputs: int, outputs: int = 1) -> nn.Module:
    return nn.Sequential(nn.Linear(inputs, 10), nn.Tanh(), nn.Linear(10, 10), nn.Tanh(), nn.Linear(10, outputs))


@dataclass
class Case:
    """What `wrap` is called with; own: the same in pinntk; names: of its conditions beside those of `wrap`."""

    model: nn.Module
    conditions: dict
    own: pinntk.Problem
    names: dict[str, str]
    options: dict


def burgers() -> Case:
    """Columns, a function of (x, t), an unknown viscosity, measured values in a closure."""
    model, domain = Columns().double(), pinntk.Box(x=(-1, 1), t=(0, 1))
    nu = nn.Parameter(torch.tensor([0.3], dtype=torch.float64))
    x, t = (2 * torch.rand(23, 1, dtype=torch.float64) - 1).requires_grad_(), torch.rand(23, 1, dtype=torch.float64)
    xd, td = 2 * torch.rand(9, 1, dtype=torch.float64) - 1, torch.rand(9, 1, dtype=torch.float64)
    seen = torch.sin(xd) * td

    def f(x, t):
        u = model(x, t)
        u_t, u_x = gradient(u, t), gradient(u, x)
        return u_t + u * u_x - nu * gradient(u_x, x)

    def sensors(x, t):
        return model(x, t) - seen

    @pinntk.residual(domain)
    def equation(u, u_t, u_x, u_xx, nu):
        return u_t + u * u_x - nu * u_xx

    @pinntk.data(domain, torch.cat([xd, td], 1), seen=seen.flatten())
    def measured(u, seen):
        return u - seen

    own = pinntk.Problem(domain, [equation, measured], coefficients={"nu": nu})
    conditions = {"f": (f, (x, t), "residual"), "sensors": (sensors, (xd, td), "data")}
    return Case(model, conditions, own, {"f": "equation", "sensors": "measured"}, {"coefficients": {"nu": nu}})


def stokes() -> Case:
    """(n, d) points, equations as a tuple, pressure by its gradient, walls and a point."""
    model, domain = sequential(2, 3).double(), pinntk.Box(x=(0, 1), y=(0, 1))
    inside = torch.rand(15, 2, dtype=torch.float64)
    wall = torch.cat([torch.rand(6, 1, dtype=torch.float64), torch.zeros(6, 1, dtype=torch.float64)], 1)

    def equations(xy):
        u, v, p = model(xy).split(1, dim=1)
        du, dv, dp = gradient(u, xy), gradient(v, xy), gradient(p, xy)
        lap_u = gradient(du[:, 0:1], xy)[:, 0:1] + gradient(du[:, 1:2], xy)[:, 1:2]
        lap_v = gradient(dv[:, 0:1], xy)[:, 0:1] + gradient(dv[:, 1:2], xy)[:, 1:2]
        return dp[:, 0] - lap_u.squeeze(1), dp[:, 1:2] - lap_v, du[:, 0] + dv[:, 1]

    def no_slip(xy):
        return model(xy)[:, :2]

    @pinntk.residual(domain)
    def first(p_x, lap_u):
        return p_x - lap_u

    @pinntk.residual(domain)
    def second(p_y, lap_v):
        return p_y - lap_v

    @pinntk.residual(domain)
    def mass(u_x, v_y):
        return u_x + v_y

    @pinntk.boundary(domain.at(y=0))
    def wall_u(u):
        return u

    @pinntk.boundary(domain.at(y=0))
    def wall_v(v):
        return v

    own = pinntk.Problem(domain, [first, second, mass, wall_u, wall_v], fields=("u", "v", "p"))
    conditions = {"ns": (equations, inside, "residual"), "wall": (no_slip, wall, "boundary")}
    names = {"ns[0]": "first", "ns[1]": "second", "ns[2]": "mass", "wall[0]": "wall_u", "wall[1]": "wall_v"}
    return Case(model, conditions, own, names, {"fields": ("u", "v", "p"), "domain": domain})


def transformed() -> Case:
    """A solution that is not the model's output, and the derivative of it that a chain rule in the function gives."""
    model, domain = sequential(1).double(), pinntk.Box(x=(0, 2))
    x = torch.linspace(0, 2, 11, dtype=torch.float64)

    def solution(x):
        return x * (2 - x) * model(x.unsqueeze(1)).squeeze(1)

    def ode(x):
        u = solution(x)
        return gradient(gradient(u, x), x) + u**3

    class Solution(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, x):
            return x * (2 - x) * self.model(x)

    @pinntk.residual(domain)
    def cubic(u, u_xx):
        return u_xx + u**3

    own = pinntk.Problem(domain, [cubic])
    own_network = Solution()
    case = Case(model, {"ode": (ode, x, "residual")}, own, {"ode": "cubic"}, {"output": solution})
    case.own_network = own_network
    return case


CASES: dict[str, Callable[[], Case]] = {"burgers": burgers, "stokes": stokes, "transformed": transformed}


def own_network(case: Case) -> nn.Module:
    """The case's model as a network in plain form."""
    if hasattr(case, "own_network"):
        return case.own_network
    if isinstance(case.model, Columns):
        return _Joined(case.model)
    return case.model


class _Joined(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, points):
        return self.model(points[:, :1], points[:, 1:])


def own_points(case: Case, points) -> dict[str, Tensor]:
    """What was given, with the measured columns of pinntk in the place of row numbers."""
    d, found = case.own.domain.dimension, {}
    for name, rows in points.items():
        own = case.own[case.names[name]]
        given = torch.as_tensor(own.region.rows).to(rows) if own.columns else rows[:, :d]
        found[case.names[name]] = given
    return found


X = torch.linspace(0, 1, 6).unsqueeze(1)


def wrap_function(model: nn.Module, function: Callable, points=X, **options):
    return pinntk.wrap(model, {"pde": (partial(function, model), points, "residual")}, **options)
