"""The small problems and networks on which the formulas of docs/THEORY.md are tried."""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.func import functional_call, grad
from torch.nn.utils import parameters_to_vector, vector_to_parameters

import pinntk
from tests.support import reference
from tests.support.examples import EXAMPLES
from tests.support.networks import build

WEIGHTS = {"equation": 0.05, "ends": 2.0}  # of the example "poisson", which most formulas are tried on


class Features(nn.Module):
    """u = sum_j a_j tanh(b_j x + c_j) with b, c fixed: linear in its parameters, so its kernel never changes."""

    def __init__(self, count: int = 9):
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        b, c, a = 3 * torch.randn(3, count, generator=generator, dtype=torch.float64)
        self.register_buffer("b", b[None])
        self.register_buffer("c", c)
        self.last = nn.Linear(count, 1, bias=False, dtype=torch.float64)
        with torch.no_grad():
            self.last.weight.copy_(a[None])

    def forward(self, x):
        return self.last(torch.tanh(x @ self.b + self.c))


def bent() -> nn.Module:
    """A network whose units are far from linear: its kernel on few points is well conditioned."""
    return pinntk.nn.MLP(inputs=1, outputs=1, width=24, depth=1, parametrization="ntk", gain=8.0, seed=2, dtype=torch.float64)


def poisson(network: nn.Module | None = None):
    """A network, the problem, 5 residual and 2 boundary points, all e and J by the oracle, the diagonal of D."""
    problem, points = EXAMPLES["poisson"].load()
    network = build("plain", 1) if network is None else network
    e = torch.cat(list(reference.errors(network, problem, points).values())).detach()
    J = torch.cat(list(reference.jacobian(network, problem, points).values()))
    return network, problem, points, e, J, diagonal(points, WEIGHTS)


def diagonal(points, weights) -> torch.Tensor:
    """The diagonal of D = blockdiag(2 lambda_i / n_i)."""
    return torch.cat([torch.full((len(rows),), 2 * weights[i] / len(rows), dtype=torch.float64) for i, rows in points.items()])


def moved(network: nn.Module, change: torch.Tensor) -> nn.Module:
    network = copy.deepcopy(network)
    vector_to_parameters(parameters_to_vector(network.parameters()).detach() + change, network.parameters())
    return network


def joined(parts) -> torch.Tensor:
    """Vectors of all conditions, one after the other."""
    return torch.cat([torch.as_tensor(part) for part in parts.values()]).detach()


def scaled(network=None):
    """The scaled Jacobian and errors, from the oracle's J and e too."""
    network, problem, points, e, J, D = poisson(network)
    root = (D / 2).sqrt()
    return network, problem, points, root[:, None] * J, root * e


def tangent(network: nn.Module):
    """k(x, y) = grad u(x) . grad u(y) in the parameters, as a function of two numbers."""
    parameters = dict(network.named_parameters())
    slope = grad(lambda p, x: functional_call(network, p, (x.reshape(1, 1),))[0, 0])
    return lambda x, y: sum((a * b).sum() for a, b in zip(*(slope(parameters, z).values() for z in (x, y)), strict=True))


def steepening(points=((0.2,), (0.9,))):
    """u u_x, the simplest nonlinear operator."""
    domain = pinntk.Box(x=(0, 1))

    @pinntk.residual(domain)
    def advection(u, u_x):
        return u * u_x

    return pinntk.Problem(domain, [advection]), {"advection": torch.tensor(points, dtype=torch.float64)}
