"""Conditions that a network meets by construction: written by hand, or derived from the problem."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pinntk.nn._embedded import EmbeddedNetwork
from pinntk.nn._hard import AUTO, hard_conditions, parse_hard
from pinntk.problem import Problem
from pinntk.problem._arguments import call_by_coordinates


class HardConstraint(nn.Module):
    """u(x) = offset(x) + factor(x) N(x): with factor 0 on a face, u equals offset there, whatever N is (Lagaris et al. 1998).

    problem: gives the names of coordinates and fields
    network: N, any nn.Module that maps (n, d) to (n, fields); holds all parameters
    offset, factor: a number, or a function of coordinates by name, in torch operations, that returns (n,) for all fields
        alike, a tuple with one (n,) or number a field, or (n, fields)

    Conditions met in this way have error 0 and kernel 0; training goes by what remains. Raises ValueError for an unknown
    coordinate or a wrong number of fields. `hard_constraint` finds offset and factor by itself, and `hard` and `soft` then have
    what came of it.

    >>> from pinntk import load
    >>> from pinntk.nn import MLP
    >>> problem = load("poisson2d")
    >>> network = HardConstraint(problem, MLP(problem), factor=lambda x, y: x * (1 - x) * y * (1 - y))
    >>> network(torch.tensor([[0.0, 0.3], [0.7, 1.0]])).abs().max().item()
    0.0
    """

    def __init__(
        self,
        problem: Problem,
        network: nn.Module,
        *,
        offset: Callable[..., Any] | float = 0.0,
        factor: Callable[..., Any] | float = 1.0,
    ):
        super().__init__()
        self.coordinates, self.fields = problem.domain.coordinates, problem.fields
        self.network, self.offset, self.factor = network, offset, factor
        self.hard: tuple[str, ...] = ()
        self.soft: Mapping[str, str] = {}
        device = next((p.device for p in network.parameters()), None)
        center = torch.tensor(problem.domain.bounds, device=device).mean(1)
        for name in ("offset", "factor"):
            self._check(name, self._columns(getattr(self, name), center.repeat(3, 1)))

    def forward(self, x: Tensor) -> Tensor:
        """(n, d) -> (n, fields)."""
        return self._columns(self.offset, x) + self._columns(self.factor, x) * self.network(x)

    def _columns(self, function: Callable[..., Any] | float, x: Tensor) -> Any:
        """The function's values as (n, fields) or (n, 1), or the number that it is."""
        if not callable(function):
            return function
        by_name = dict(zip(self.coordinates, x.unbind(1), strict=True))
        values: Any = call_by_coordinates(function, self.coordinates, by_name, x)
        if isinstance(values, (tuple, list)):
            columns = [value if hasattr(value, "ndim") else torch.full_like(x[:, 0], value) for value in values]
            return torch.stack(columns, 1)
        return values.unsqueeze(1) if getattr(values, "ndim", 0) == 1 else values

    def _check(self, name: str, values: Any) -> None:
        shape = tuple(getattr(values, "shape", ()))
        if shape not in ((), (3, 1), (3, len(self.fields))):
            raise ValueError(
                f"{name} returned shape {shape} for 3 points; return (n,), or a tuple with one (n,) a field of {self.fields}"
            )


def hard_constraint(problem: Problem, network: nn.Module, conditions: str | Sequence[str] = AUTO) -> HardConstraint:
    r"""u(x) = offset(x) + factor(x) N(x) that meets a problem's conditions whatever N is, offset and factor derived from them.

    What can be met: conditions on faces of the domain whose error is c (u - g), the value of one field against a function g
    of the point, or c (u_t - h) across a face where u is met too; whether an operator is of that form is found by calling it.
    The offset is g continued into the domain by transfinite interpolation, which calls the operator itself, so that its
    derivatives are those of the problem; the factor is a product of distances from the faces, of maximum 1. g may have no
    jumps, nor may its derivatives below the highest that the problem takes: under u_t = u_xx a kink in u would be heat that
    never flows, as no point sees it. Two conditions must agree where they meet. Conditions with coefficients, on measured
    points and in the domain are not of this kind. On the boundary of a shape values can be met, not slopes: the factor is a
    product of smooth distances from its curves, and g continues into the domain as its operator says, or as a mean of several
    by inverse distance. Left under "auto" are boundaries with corners that point inward; nowhere met are parts that end in the
    middle of a wall, values of different functions that meet (of second derivatives), triangulated surfaces and more than 100
    edges. Periodic conditions hold where the network repeats: an `MLP` with
    `periodic`, or `MLP(problem, hard=...)`, which does all this and can be built again from a run's config.json.

    network: N, any nn.Module that maps (n, d) to (n, fields)
    conditions: "auto", or names of conditions, each of which has to be met

    The result's `hard` has the names of the conditions that are met, `soft` why each of the others is not. Under "auto", warns
    of conditions that are left because they contradict others. Raises ValueError, naming condition and reason, for one that was
    named and cannot be met.

    >>> import pinntk
    >>> problem = pinntk.load("burgers")
    >>> network = hard_constraint(problem, pinntk.nn.MultiscaleFourier(problem, width=8, dtype=torch.float64))
    >>> network.hard
    ('start', 'walls')
    >>> points = problem.sample(residual=5, seed=0, dtype=torch.float64)
    >>> errors = pinntk.errors(network, problem, points)
    >>> bool(errors["start"].abs().max() < 1e-15), bool(errors["walls"].abs().max() < 1e-15)
    (True, True)
    """
    asked = parse_hard(conditions, problem)
    if asked is None:
        raise ValueError("conditions=None: 'auto', or names of conditions")
    repeated = network.config["periodic"] or () if isinstance(network, EmbeddedNetwork) else ()
    if isinstance(network, EmbeddedNetwork) and network.config["hard"] is not None:
        raise ValueError(f"the network meets {network.hard} already, by its own hard=; leave one of the two out")
    device = next((p.device for p in network.parameters()), None)
    found = hard_conditions(problem, asked, repeated=repeated, own_inputs=False, device=device)
    constrained = HardConstraint(problem, network, offset=found.offset, factor=found.factor)
    constrained.hard, constrained.soft = found.met, found.left
    return constrained


def met_by(network: nn.Module) -> tuple[str, ...]:
    """The conditions that a network of this room says it meets by construction: their errors and kernels are 0. One that goes
    forward in a way of its own says nothing.
    """
    own = (EmbeddedNetwork.forward, HardConstraint.forward)
    if isinstance(network, (EmbeddedNetwork, HardConstraint)) and type(network).forward in own:
        return network.hard
    return ()
