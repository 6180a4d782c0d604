"""Conditions that code outside pinntk computes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from pinntk.geometry import Region
from pinntk.problem._conditions import KINDS, Condition
from pinntk.problem._measurements import Measurements
from pinntk.problem._point_set import PointSet


@dataclass(frozen=True, eq=False)
class ForeignCondition:
    """An error that should vanish on a region, and that code outside pinntk computes: a closure, another package.

    name, kind, region: as of a `Condition`; kind is one of `pinntk.problem.KINDS`
    errors: (network, points) -> e (n,), or (n, k) with `column`, differentiable in the network's parameters and the problem's
        coefficients. points: (n, d), then the region's measured columns, in the network's dtype. It is called with other
        networks too (a float64 copy, one with other parameters), and computes their errors or raises `ForeignNetworkError`;
        never those of the network at home in their place. `pinntk.problem.with_parameters_of` does the former
    column: of what `errors` returns. Conditions with the same `errors` on the same tensor of points are evaluated in one call
    owners: points -> (m,) whole numbers: which of the n errors each row of a batch of m belongs to, -1 for none; where errors
        are computed from a larger batch than the points asked for. Found out where it is None

    It is evaluated as it stands, by autograd, never by Taylor jets. What it asks for is not known, so that what is judged by
    calling operators, such as missing conditions, is not judged.

    >>> import pinntk
    >>> from pinntk.problem import PointSet
    >>> domain = pinntk.Box(x=(0, 1))
    >>> network = nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, 1))
    >>> walls = ForeignCondition("walls", "boundary", PointSet(domain, [[0.0], [1.0]]), lambda net, x: net(x)[:, 0])
    >>> problem = pinntk.Problem(domain, [walls])
    >>> pinntk.kernel(network, problem, problem.sample()).sizes
    (2,)
    """

    name: str
    kind: str
    region: Region
    errors: Callable[[nn.Module, Tensor], Tensor]
    column: int | None = None
    owners: Callable[[Tensor], Tensor] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise ValueError(f"ForeignCondition(name={self.name!r}): a text that names it")
        if self.kind not in KINDS:
            raise ValueError(f"ForeignCondition {self.name!r}: kind={self.kind!r}; one of {KINDS}")
        if not callable(self.errors):
            raise TypeError(f"ForeignCondition {self.name!r}: errors is a {type(self.errors).__name__}; give a function")

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns that ride along with its points."""
        return tuple(self.region.columns) if isinstance(self.region, (Measurements, PointSet)) else ()

    @property
    def width(self) -> int:
        """Columns of the condition's points: coordinates, then those that ride along."""
        return len(self.region.coordinates) + len(self.columns)

    @property
    def places(self) -> int:
        """At how many points the fields are evaluated for one error, as far as is known."""
        return 1


AnyCondition = Condition | ForeignCondition
