"""The problem language: conditions whose argument names say what they need."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from inspect import Parameter, Signature
from types import MappingProxyType
from typing import Any

from torch import Tensor

from pinntk.geometry import Domain, Faces, Part, PeriodicPair, Region
from pinntk.problem._arguments import name_of
from pinntk.problem._integral import Integral, integral_of
from pinntk.problem._measurements import Measurements
from pinntk.problem._rows import as_array, check_points, finite_columns

KINDS = ("residual", "boundary", "initial", "periodic", "data", "integral")


@dataclass(frozen=True, eq=False)
class Condition:
    """An error that should vanish on a region: `operator` maps what its arguments name, shapes (n,), to e, shape (n,).

    Of an integral, to what is integrated, at the n places of its quadrature.
    """

    name: str
    kind: str
    region: Region
    operator: Callable[..., Tensor]

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns that ride along with its points: measured ones, what integrals should be."""
        return tuple(self.region.columns) if isinstance(self.region, (Measurements, Integral)) else ()

    @property
    def width(self) -> int:
        """Columns of the condition's points: coordinates, then measured columns."""
        return len(self.region.coordinates) + len(self.columns)

    @property
    def places(self) -> int:
        """At how many places the fields are evaluated for one error."""
        return len(self.region.quadrature) if isinstance(self.region, Integral) else 1


class ValueOf:
    """An operator that returns the value of its one argument. Its signature is what a condition reads."""

    def __init__(self, argument: str, name: str):
        self.__name__, self.argument = name, argument
        self.__signature__ = Signature([Parameter(argument, Parameter.KEYWORD_ONLY)])

    def __call__(self, **values: Tensor) -> Tensor:
        (value,) = values.values()
        return value


def _condition(kind: str, region: Region, allowed: tuple[type[Region], ...], hint: str) -> Callable[[Callable], Condition]:
    if not isinstance(region, allowed):
        raise TypeError(f"@{kind}{_given(region)}: needs {hint}")

    def decorate(operator: Callable) -> Condition:
        return Condition(name_of(operator), kind, region, operator)

    return decorate


def _given(region: Any) -> str:
    """As it was called; nothing in a decorator without brackets, which gets the operator."""
    return "" if callable(region) else f"({region!r})"


def residual(domain: Domain | Faces) -> Callable[[Callable], Condition]:
    """A differential equation's residual inside `domain`, or on a slice of it.

    >>> from pinntk import Box, residual
    >>> domain = Box(t=(0, 1), x=(0, 1))
    >>> @residual(domain)
    ... def heat(u_t, u_xx):
    ...     return u_t - u_xx
    >>> heat.name, heat.kind
    ('heat', 'residual')
    """
    return _condition("residual", domain, (Domain, Faces), "a domain, such as Box(x=(0, 1))")


def boundary(faces: Faces | Part) -> Callable[[Callable], Condition]:
    """A boundary condition on faces or a part of a boundary: `@boundary(domain.ends("x")) def walls(u): return u`."""
    return _condition("boundary", faces, (Faces, Part), 'faces, such as domain.ends("x") or domain.boundary()')


def initial(faces: Faces) -> Callable[[Callable], Condition]:
    """An initial condition: `@initial(domain.at(t=0)) def start(u, x): return u - sin(pi * x)`."""
    return _condition("initial", faces, (Faces,), "a slice, such as domain.at(t=0)")


def periodic(faces: Faces) -> Callable[[Callable], Condition]:
    """A quantity that must agree at both ends of a coordinate: `@periodic(domain.ends("x")) def wrap(u): return u`.

    The error is the quantity at the lower end minus that at the upper end, other coordinates equal. Its points are
    those of the lower end.
    """
    if isinstance(faces, Part):
        raise TypeError(
            f"@periodic: {faces.describe()} is no pair of opposite faces, which only a box has; a network that repeats by "
            'construction needs no such condition: pinntk.nn.MLP(problem, periodic="x")'
        )
    if not isinstance(faces, Faces):
        raise TypeError(f'@periodic{_given(faces)}: needs both ends of a coordinate, such as domain.ends("x")')
    return _condition("periodic", faces.periodic_pair(), (PeriodicPair,), "a pair of faces")


def data(domain: Domain, points: Any, **columns: Any) -> Callable[[Callable], Condition]:
    """Measurements: `@data(domain, points, seen=values) def sensors(u, seen): return u - seen`.

    points: (m, d) coordinates in the domain's order (a list of m numbers where d = 1)
    columns: measured values, each of length m, under the names by which the operator asks for them

    Raises ValueError for NaN, infinity, a wrong shape or points outside the domain.
    """
    if not isinstance(domain, Domain):
        raise TypeError(f"@data({domain!r}, ...): the first argument is the domain, such as Box(x=(0, 1))")
    rows = as_array("data points", points)
    rows = rows[:, None] if rows.ndim == 1 and domain.dimension == 1 else rows
    if rows.ndim != 2 or rows.shape[1] != domain.dimension or not len(rows):
        raise ValueError(f"data points have shape {rows.shape}; expected (m, {domain.dimension}) for {domain.coordinates}")
    values = {name: as_array(f"data column {name!r}", column).reshape(-1) for name, column in columns.items()}
    for name, column in values.items():
        if len(column) != len(rows):
            raise ValueError(f"data column {name!r} has {len(column)} values for {len(rows)} points")

    def decorate(operator: Callable) -> Condition:
        name = name_of(operator)
        finite_columns(name, {"points": rows, **values})
        check_points(name, rows, domain)
        return Condition(name, "data", Measurements(domain, rows, MappingProxyType(values)), operator)

    return decorate


def integral(
    over: Domain | Faces | Part, equals: Any = 0.0, *, mean: bool = False, points: int = 1024, **at: Any
) -> Callable[[Callable], Condition]:
    """An integral that should have a value: a mean pressure of zero, a total mass, a flux through a part of the boundary.

    The operator returns what is integrated; the error is its integral minus `equals`, one error and not one a point.

    over: a domain, a slice such as `domain.at(t=0)`, or a part of a boundary, on which the operator may ask for u_n and n_x
    equals: what the integral should be, or a list of it, one for each of the values in `at`
    mean: the integral over the measure of what is integrated over
    points: places of the quadrature, about, with positive weights. Gauss on boxes of up to three dimensions, curves, whole
        surfaces, balls and cylinders, and on shapes in the plane, also times one interval, in cells between two curves, with
        4 x 4 nodes in each at least: right to rounding for what a few waves make up where a cell has 12 x 12 (a plate with
        one hole has four cells), to 1e-4 of a cell by 4 x 4. On other solids, in four dimensions and where there are more than
        points / 4 cells Sobol points of equal weight, with a relative error of about 1 / sqrt(points) to 1 / points
    at: values of coordinates that are not integrated over, as in t=[0, 0.5, 1]: an error for each, such as a mass at each of
        several times. All other coordinates are integrated over, time as well

    >>> from pinntk import Box, Problem, integral
    >>> domain = Box(t=(0, 1), x=(0, 1))
    >>> @integral(domain, equals=1, t=[0, 0.5, 1])
    ... def mass(u):
    ...     return u
    >>> @integral(domain, mean=True)
    ... def balance(u_x):
    ...     return u_x
    >>> {name: tuple(rows.shape) for name, rows in Problem(domain, [mass, balance]).sample().items()}
    {'mass': (3, 2), 'balance': (1, 2)}

    Raises TypeError for another region, ValueError for numbers that are not finite, outside the domain or of two lengths.
    """
    if not isinstance(over, (Domain, Faces, Part)):
        raise TypeError(f"@integral({over!r}): needs a domain, a slice or a part of a boundary, such as domain.boundary()")
    region = integral_of(over, equals, mean, points, at)
    return _condition("integral", region, (Integral,), "a region")
