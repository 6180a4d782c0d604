"""Conditions that a network meets by construction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from pinntk.problem._arguments import call_by_coordinates


class HardConstraint(nn.Module):
    """u(x) = offset(x) + factor(x) N(x): with factor 0 on a face, u equals offset there, whatever N is (Lagaris et al. 1998).

    problem: gives the names of coordinates and fields
    network: N, any nn.Module that maps (n, d) to (n, fields); holds all parameters
    offset, factor: a number, or a function of coordinates by name, in torch operations, that returns (n,) for all fields
        alike, a tuple with one (n,) or number a field, or (n, fields)

    Conditions met in this way have error 0 and kernel 0; training goes by what remains. Raises ValueError for an unknown
    coordinate or a wrong number of fields.

    >>> from pinntk import load
    >>> from pinntk.nn import MLP
    >>> problem = load("poisson2d")
    >>> network = HardConstraint(problem, MLP(problem), factor=lambda x, y: x * (1 - x) * y * (1 - y))
    >>> network(torch.tensor([[0.0, 0.3], [0.7, 1.0]])).abs().max().item()
    0.0
    """

    def __init__(
        self,
        problem: Any,
        network: nn.Module,
        *,
        offset: Callable[..., Any] | float = 0.0,
        factor: Callable[..., Any] | float = 1.0,
    ):
        super().__init__()
        self.coordinates, self.fields = problem.domain.coordinates, problem.fields
        self.network, self.offset, self.factor = network, offset, factor
        center = torch.tensor(problem.domain.bounds).mean(1)
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
