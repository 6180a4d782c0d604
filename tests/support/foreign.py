"""Problems of foreign conditions, each beside the same one in pinntk's own operators, on the same points."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

import pinntk
from pinntk.geometry._sampling import generator
from pinntk.problem import ForeignCondition, PointSet, with_parameters_of


@dataclass(frozen=True)
class Twins:
    """network; foreign: a problem whose code closes over it; own: the same in pinntk; points for both."""

    network: nn.Module
    foreign: pinntk.Problem
    own: pinntk.Problem
    points: Mapping[str, Tensor]


def smooth_network(inputs: int, outputs: int, seed: int = 0, width: int = 12) -> nn.Module:
    torch.manual_seed(seed)
    layers = nn.Linear(inputs, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, outputs)
    return nn.Sequential(*layers).double()


def slope(value: Tensor, x: Tensor) -> Tensor:
    """(n, d), of (n,) or (n, 1) values that each depend on their own row of x (n, d)."""
    return torch.autograd.grad(value.sum(), x, create_graph=True)[0]


def foreign(network: nn.Module, name: str, kind: str, region, code: Callable[[Tensor], Tensor], column: int | None = None):
    """A condition whose code closes over the network."""
    return ForeignCondition(name, kind, region, evaluated(network, code), column)


def evaluated(network: nn.Module, code: Callable[[Tensor], Tensor]) -> Callable[[nn.Module, Tensor], Tensor]:
    return lambda other, points: with_parameters_of(network, other, lambda: code(points.requires_grad_()))


def heat(seed: int = 0) -> Twins:
    """u_t = kappa u_xx on a box, with walls, a start, a foreign geometry for the equation, and kappa unknown."""
    network, domain = smooth_network(2, 1, seed), pinntk.Box(t=(0, 1), x=(-1, 1))
    kappa = nn.Parameter(torch.tensor(0.7, dtype=torch.float64))

    def equation(p: Tensor) -> Tensor:
        u = network(p)
        u_t, u_x = slope(u, p).unbind(1)
        return u_t - kappa * slope(u_x, p)[:, 1]

    def walls(p: Tensor) -> Tensor:
        return network(p).squeeze(1)

    def start(p: Tensor) -> Tensor:
        return network(p).squeeze(1) + torch.sin(torch.pi * p[:, 1])

    inside = PointSet(domain, [[0, 0]], draw=lambda n, rng: domain.sample(n, "uniform", rng))
    sampled = {"walls": domain.ends("x"), "start": domain.at(t=0)}
    conditions = [foreign(network, "equation", "residual", inside, equation)]
    conditions += [foreign(network, "walls", "boundary", PointSet(domain, _rows(sampled["walls"], 6)), walls)]
    conditions += [foreign(network, "start", "initial", sampled["start"], start)]

    @pinntk.residual(domain)
    def equation_(u_t, u_xx, kappa):
        return u_t - kappa * u_xx

    @pinntk.boundary(sampled["walls"])
    def walls_(u):
        return u

    @pinntk.initial(sampled["start"])
    def start_(u, x):
        return u + torch.sin(torch.pi * x)

    for written in (equation_, walls_, start_):
        object.__setattr__(written, "name", written.name.rstrip("_"))
    problem = pinntk.Problem(domain, conditions, coefficients={"kappa": kappa})
    own = pinntk.Problem(domain, [equation_, walls_, start_], coefficients={"kappa": kappa})
    return Twins(network, problem, own, problem.sample(equation=17, start=5, dtype=torch.float64))


def system(seed: int = 0) -> Twins:
    """Two equations from one call, (n, 2), for two fields, and measured values that ride along with their points."""
    network, domain = smooth_network(2, 2, seed), pinntk.Box(x=(0, 1), y=(0, 2))

    def equations(p: Tensor) -> Tensor:
        u, v = network(p).unbind(1)
        grad_u, grad_v = slope(u, p), slope(v, p)
        return torch.stack([grad_u[:, 0] + grad_v[:, 1] - u * v, slope(grad_u[:, 1], p)[:, 1] - v], 1)

    def seen(p: Tensor) -> Tensor:
        return network(p[:, :2])[:, 0] - p[:, 2]

    given = PointSet(domain, domain.sample(9, "sobol", generator(seed, "given")))
    measured = domain.sample(7, "sobol", generator(seed, "measured"))
    values = measured.sum(1)
    both = evaluated(network, equations)
    conditions = [ForeignCondition(name, "residual", given, both, column) for column, name in enumerate(("mass", "force"))]
    conditions += [foreign(network, "sensors", "data", PointSet(domain, measured, {"seen": values}), seen)]

    @pinntk.residual(domain)
    def mass(u, v, u_x, v_y):
        return u_x + v_y - u * v

    @pinntk.residual(domain)
    def force(v, u_yy):
        return u_yy - v

    @pinntk.data(domain, measured, seen=values)
    def sensors(u, seen):
        return u - seen

    problem = pinntk.Problem(domain, conditions, fields=("u", "v"))
    own = pinntk.Problem(domain, [mass, force, sensors], fields=("u", "v"))
    return Twins(network, problem, own, problem.sample(dtype=torch.float64))


def mixed(seed: int = 0) -> Twins:
    """One foreign condition beside two of pinntk's, in one problem."""
    network, domain = smooth_network(1, 1, seed), pinntk.Box(x=(0, 1))

    @pinntk.residual(domain)
    def poisson(u_xx, x):
        return u_xx + torch.sin(x)

    @pinntk.boundary(domain.at(x=0))
    def left(u):
        return u

    @pinntk.boundary(domain.at(x=1))
    def right(u, u_x):
        return u * u_x - 1

    def code(p: Tensor) -> Tensor:
        u = network(p)[:, 0]
        return u * slope(u, p)[:, 0] - 1

    other = foreign(network, "right", "boundary", PointSet(domain, [[1.0]]), code)
    problem, own = (pinntk.Problem(domain, [poisson, left, last]) for last in (other, right))
    return Twins(network, problem, own, problem.sample(residual=11, left=1, dtype=torch.float64))


TWINS: dict[str, Callable[[int], Twins]] = {"heat": heat, "system": system, "mixed": mixed}


def _rows(region, n: int):
    return region.sample(n, "uniform", generator(0, "rows"))
