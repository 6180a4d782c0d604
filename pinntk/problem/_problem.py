"""The problem that conditions make up: points, the known solution, relative L2."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pinntk._util.likeness import did_you_mean
from pinntk._util.memory import require
from pinntk._util.precision import empty_like, without_autocast
from pinntk.geometry import Domain
from pinntk.geometry import _sampling as sampling
from pinntk.problem._arguments import ArgumentSpec, Vocabulary, check_place, name_of
from pinntk.problem._conditions import KINDS, Condition
from pinntk.problem._coordinates import check_coordinates
from pinntk.problem._foreign import AnyCondition, ForeignCondition
from pinntk.problem._gauge import Gauge, gauges, up_to
from pinntk.problem._grid_solution import GridSolution
from pinntk.problem._known import counted, exact_values, known_solution, subdomains
from pinntk.problem._output import check_output
from pinntk.problem._page import as_html, in_a_line, known_solution_in_words
from pinntk.problem._parameters import accuracy_of, at_accuracy, coefficient_parameters, parameters_text
from pinntk.problem._rows import as_array, as_rows, check_points
from pinntk.problem._units import check_units, units_text
from pinntk.taylor import Basis

Counts = Mapping[str, int]  # condition name or kind -> number of points
Points = Mapping[str, Tensor]  # condition name -> (n, d) coordinates; a data condition's measured columns follow them

_RESERVED = (*KINDS, "seed", "method", "dtype", "device")
_SAMPLE_BYTES = 32  # of a coordinate while points are drawn: four copies in float64


@dataclass(frozen=True, eq=False, init=False)
class Problem:
    """A partial differential equation with everything that makes its solution unique.

    Its attributes are set once; `coefficients` are parameters, whose values training changes.

    domain: the box, or the other `Domain`, that it lives on
    conditions: what decorated functions return; each one's name is its function's name. Or `ForeignCondition`s, that other
        code computes
    fields: names of the network's outputs, in order
    exact: the exact solution as a function of coordinates by name, returning a tensor, or a tuple for several fields
    reference: where there is no formula, a function that returns a GridSolution (called once, when first needed)
    coefficients: unknown numbers of an inverse problem, name -> initial value. The attribute has them as an nn.ParameterDict of
        float64 scalars, which train with the network; an nn.Parameter in place of a number is shared, not copied
    name, parameters, source: set by `pinntk.load`; source is what to load it by
    slab: set by `pinntk.slab`: which part of another problem's time this is
    solution_accuracy: relative L2 error of the known solution itself, such as 4e-5 of published data; 0 for one that is right
        to rounding. A network's error is no smaller than that, whatever number comes out
    where: {field: part of the domain that it lives on}, for fields on either side of an interface. It counts only there:
        errors against a known solution, figures and diagnoses leave the rest of the domain out
    units: {coordinate, field or coefficient: its unit}, such as {"x": "m", "T": "K"}, for the axes of figures and for reports

    `arguments` has what each operator's arguments ask for, nothing for a foreign one. Raises ValueError for unknown arguments.

    >>> from pinntk import Box, Problem, boundary, residual
    >>> domain = Box(x=(0, 1))
    >>> @residual(domain)
    ... def poisson(u_xx):
    ...     return u_xx + 2
    >>> @boundary(domain.ends("x"))
    ... def ends(u):
    ...     return u
    >>> problem = Problem(domain, [poisson, ends], exact=lambda x: x * (1 - x))
    >>> {name: tuple(rows.shape) for name, rows in problem.sample(residual=8, boundary=2).items()}
    {'poisson': (8, 1), 'ends': (2, 1)}
    """

    domain: Domain
    conditions: tuple[AnyCondition, ...]
    fields: tuple[str, ...]
    exact: Callable[..., Any] | None
    reference: Callable[[], GridSolution] | None
    coefficients: nn.ParameterDict
    name: str
    parameters: Mapping[str, Any]
    source: str
    slab: Mapping[str, Any]
    solution_accuracy: float
    where: Mapping[str, Domain]
    units: Mapping[str, str]
    arguments: Mapping[str, tuple[ArgumentSpec, ...]] = field(init=False)

    def __init__(
        self,
        domain: Domain,
        conditions: Sequence[AnyCondition],
        fields: str | Sequence[str] = ("u",),
        exact: Callable[..., Any] | None = None,
        reference: Callable[[], GridSolution] | None = None,
        coefficients: Mapping[str, float | nn.Parameter] | nn.ParameterDict = MappingProxyType({}),
        name: str = "problem",
        parameters: Mapping[str, Any] = MappingProxyType({}),
        source: str = "",
        slab: Mapping[str, Any] = MappingProxyType({}),
        solution_accuracy: float = 0.0,
        where: Mapping[str, Domain] = MappingProxyType({}),
        units: Mapping[str, str] = MappingProxyType({}),
    ):
        if isinstance(conditions, (Condition, ForeignCondition)):
            raise TypeError(f"conditions is {conditions.name} alone; give a list, as in Problem(domain, [{conditions.name}])")
        attributes = {
            "domain": domain,
            "conditions": tuple(conditions),
            "fields": (fields,) if isinstance(fields, str) else tuple(fields),
            "exact": exact,
            "reference": reference,
            "coefficients": coefficient_parameters(coefficients),
            "name": name,
            "parameters": parameters,
            "source": source,
            "slab": slab,
            "solution_accuracy": accuracy_of(solution_accuracy, exact is not None or reference is not None),
            "where": MappingProxyType(dict(where)),
            "units": MappingProxyType(dict(units)),
        }
        for key, value in attributes.items():
            object.__setattr__(self, key, value)
        self._check_conditions()
        check_units(self.units, (*self.domain.coordinates, *self.fields, *self.coefficients))
        words = {c.name: self.vocabulary(c) for c in self.conditions}  # which refuses names that are taken twice
        specs = {c.name: words[c.name].read(c.operator) if isinstance(c, Condition) else () for c in self.conditions}
        object.__setattr__(self, "arguments", MappingProxyType(specs))
        for c in self.conditions:
            check_place(c.name, specs[c.name], self.domain.space, getattr(c.region, "has_normals", False))
        subdomains(self.domain, self.fields, self.where, self.conditions, self.arguments)
        asked = {spec.argument for of_condition in specs.values() for spec in of_condition}
        unused = [key for key in self.coefficients if key not in asked]
        if unused and not self.foreign:
            raise ValueError(f"coefficient {unused[0]!r} is asked for by no condition; name it among a condition's arguments")

    def _check_conditions(self) -> None:
        if not self.conditions:
            raise ValueError("a problem needs at least one condition")
        seen: set[str] = set()
        for condition in self.conditions:
            if not isinstance(condition, (Condition, ForeignCondition)):
                raise TypeError(
                    f"conditions must be decorated with one of {', '.join('@' + k for k in KINDS)}; got "
                    + (f"the function {name_of(condition)}, which is not" if callable(condition) else repr(condition))
                )
            if condition.name in seen:
                raise ValueError(f"two conditions are named {condition.name!r}; rename one function, or set its __name__")
            if condition.name in _RESERVED:
                raise ValueError(
                    f"a condition cannot be named {condition.name!r}: that word has a meaning in sample(); rename it"
                )
            if condition.region.coordinates != self.domain.coordinates:
                raise ValueError(f"condition {condition.name!r} lives on other coordinates than the problem's domain")
            seen.add(condition.name)

    def __repr__(self) -> str:
        return in_a_line(self.name, self.settings(), self.domain, self.fields, self.conditions)

    def _repr_html_(self) -> str:
        lines = {
            "fields": ", ".join(self.fields),
            "units": units_text(self.units),
            "known solution": known_solution_in_words(self),
        }
        return as_html(self.name, self.domain, self.conditions, self.arguments, self.parameters, self.coefficients, lines)

    def label(self, name: str) -> str:
        """A coordinate, field or coefficient as axes have it: "x [m]", or "x" where no unit is given."""
        return f"{name} [{self.units[name]}]" if self.units.get(name) else name

    def settings(self) -> str:
        """The parameters as text: "a1=1 a2=4"."""
        return parameters_text(self.parameters)

    def vocabulary(self, condition: AnyCondition) -> Vocabulary:
        coefficients = tuple(self.coefficients)
        return Vocabulary(self.domain.coordinates, self.fields, coefficients, condition.columns, self.domain.space)

    def __getitem__(self, name: str) -> AnyCondition:
        """The condition of that name."""
        for condition in self.conditions:
            if condition.name == name:
                return condition
        raise KeyError(self._unknown_condition(name))

    def _unknown_condition(self, name: str, others: Iterable[str] = (), more: str = "") -> str:
        return f"{self.name} has no condition {name!r}; it has {self.names}{more}{did_you_mean(name, [*self.names, *others])}"

    @property
    def names(self) -> tuple[str, ...]:
        """The conditions' names, in order."""
        return tuple(condition.name for condition in self.conditions)

    @property
    def foreign(self) -> tuple[str, ...]:
        """Names of the conditions that other code computes, and of which no more is known than their errors."""
        return tuple(condition.name for condition in self.conditions if isinstance(condition, ForeignCondition))

    @property
    def coordinates(self) -> tuple[str, ...]:
        return self.domain.coordinates

    def basis(self, names: Iterable[str]) -> Basis:
        """The Taylor basis that the conditions of these names need together."""
        specs = [spec for name in names for spec in self.arguments[name]]
        return self.vocabulary(self.conditions[0]).basis(specs)

    # Points.

    def default_counts(self) -> dict[str, int | None]:
        """Points for each condition where the user names none: 100, or 1000 for a residual in two or more dimensions; None,
        which is all rows, for measured data and other points that are given.
        """
        residual_count = 100 if self.domain.dimension == 1 else 1000
        return {
            c.name: None if c.region.given is not None else residual_count if c.kind == "residual" else 100
            for c in self.conditions
        }

    def counts(self, counts: Counts = MappingProxyType({}), /, **more: int) -> dict[str, int | None]:
        """Points for each condition from counts by kind or by name, name first. Raises ValueError for unknown keys
        and for counts below 1.
        """
        counts = {**counts, **more}
        for key, n in counts.items():
            if key not in self.names and key not in KINDS:
                raise ValueError(self._unknown_condition(key, KINDS, f"; counts are given by name or by kind {KINDS}"))
            if not isinstance(n, int) or n < 1:
                raise ValueError(f"{key}={n!r}: the number of points is a whole number of at least 1")
        default = self.default_counts()
        return {c.name: counts.get(c.name, counts.get(c.kind, default[c.name])) for c in self.conditions}

    def sample(
        self,
        counts: Counts = MappingProxyType({}),
        /,
        *,
        seed: int = 0,
        method: str = "uniform",
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
        **more: int,
    ) -> dict[str, Tensor]:
        """Points for every condition: {name: (n, d) tensor}, columns in the order of `coordinates`.

        counts, more: points by kind or by name, name first: sample({"boundary": 100}) is sample(boundary=100);
            `default_counts` for the others
        method: "uniform", "grid" (at most n points), "latin-hypercube" or "sobol"
        dtype: torch's default unless given

        Conditions on the same region with the same count get the same tensor, evaluated in one pass. Rows of a data condition
        hold measured columns behind the coordinates. Warns where `dtype` cannot tell coordinates apart; raises MemoryError.
        """
        dtype = dtype or torch.get_default_dtype()
        drawn: dict[tuple, Tensor] = {}
        points = {}
        for condition, n in zip(self.conditions, self.counts(counts, **more).values(), strict=True):
            region = condition.region
            require(_SAMPLE_BYTES * condition.width * (n or 0), f"{n} points of condition {condition.name!r}", "ask for fewer")
            key = region, n
            if key not in drawn:
                rng = sampling.generator(seed, region.describe(), str(n))
                rows = region.given if n is None and region.given is not None else region.sample(n or 0, method, rng)
                check_coordinates(self.domain, condition.name, torch.as_tensor(rows), dtype)
                drawn[key] = torch.as_tensor(rows, dtype=dtype, device=device)
            points[condition.name] = drawn[key]
        return points

    def check(self, points: Points) -> dict[str, Tensor]:
        """The points in the conditions' order, checked. A mapping may leave conditions out.

        Raises ValueError, naming the condition and the row, for a wrong shape, no rows, NaN, or points outside the
        condition's region; TypeError for rows that are not numbers.
        """
        if not isinstance(points, Mapping):
            raise TypeError(f"points maps condition names to (n, {self.domain.dimension}) tensors; got {type(points).__name__}")
        for name in points:
            if name not in self.names:
                raise ValueError(self._unknown_condition(name))
        checked = {}
        for condition in self.conditions:
            if condition.name not in points:
                continue
            rows, what = as_rows(condition.name, points[condition.name]), f"points[{condition.name!r}]"
            if rows.ndim != 2 or rows.shape[1] != condition.width:
                expected = ", ".join((*self.coordinates, *condition.columns))
                raise ValueError(
                    f"{what} has shape {tuple(rows.shape)}; expected (n, {condition.width}) with columns {expected}"
                )
            if not len(rows):
                raise ValueError(f"{what} has no rows (n = 0); give at least one point, or leave the condition out")
            check_points(condition.name, as_array(what, rows), condition.region)
            checked[condition.name] = rows
        if not checked:
            raise ValueError(f"points is empty; give points for at least one of {self.names}")
        return checked

    # The known solution.

    @property
    def has_solution(self) -> bool:
        return self.exact is not None or self.reference is not None

    def exact_values(self, points: Tensor) -> Tensor:
        """The exact solution at (n, d) points: (n, fields), differentiable."""
        if self.exact is None:
            raise ValueError(f"{self.name} has no exact solution")
        return exact_values(self.exact, self.coordinates, self.fields, points)

    @cached_property
    def solution(self) -> GridSolution:
        """The exact or reference solution on a product grid, values [*counts, fields] in float64; in 4 and more dimensions,
        and on other domains than boxes, on scattered points: then `axes` is one (n, d) array.
        """
        if not self.has_solution:
            raise ValueError(f"{self.name} has no exact or reference solution to compare with")
        exact = None if self.exact is None else self.exact_array
        return known_solution(self.domain, len(self.fields), exact, self.reference)

    def exact_array(self, points: np.ndarray) -> np.ndarray:
        """The exact solution at (n, d) points: (n, fields), in float64."""
        with torch.no_grad():
            return self.exact_values(torch.as_tensor(points, dtype=torch.float64)).numpy()

    @cached_property
    def solution_points(self) -> np.ndarray:
        """The (n, d) points of `solution`, last coordinate fastest."""
        return self.solution.points

    @without_autocast
    def predict(self, network: nn.Module, points: np.ndarray, chunk: int = 65_536) -> np.ndarray:
        """The network's values (n, fields) at (n, d) points, in float64, in chunks."""
        like = empty_like(network)
        rows = torch.as_tensor(points, dtype=torch.float64)
        rows = rows if like is None else rows.to(like)
        values = []
        with torch.no_grad():
            for part in rows.split(chunk):
                values.append(network(part.clone()))  # a network may work in place
                check_output(values[-1], self.fields, len(part))
        return torch.cat(values).double().cpu().numpy()

    @cached_property
    def gauge(self) -> Mapping[str, Gauge]:
        """Fields that are free by a constant that no condition sees, or by a function of time, beside others that are not."""
        own = [condition for condition in self.conditions if isinstance(condition, Condition)]
        return gauges(self.domain, own, self.arguments, self.fields) if not self.foreign else {}

    @property
    def up_to(self) -> str:
        """What errors are measured up to, to stand behind a number: " up to a constant of p"; "" where no field is free."""
        return up_to(self.gauge, self.coordinates)

    def remark(self, error: float) -> str:
        """What has to be said behind a relative error: `up_to`, and whether it is that of the known solution itself."""
        return self.up_to + at_accuracy(error, self.solution_accuracy)

    def relative_error(self, network: nn.Module) -> float:
        """Relative L2 error of the network against the exact or reference solution, all fields together.

        Of a field that is free by a constant (`gauge`), differences and the solution count without their means: any other
        constant would be as right, in the network and in the solution. `up_to` says so.
        """
        difference, scale = self._deviation(network)
        return float(np.sqrt(difference.sum() / scale.sum()))

    def relative_error_by_field(self, network: nn.Module) -> dict[str, float]:
        """Relative L2 error of each field, likewise."""
        difference, scale = self._deviation(network)
        return dict(zip(self.fields, np.sqrt(difference / scale).tolist(), strict=True))

    def _deviation(self, network: nn.Module) -> tuple[np.ndarray, np.ndarray]:
        truth = self.solution.values.reshape(-1, len(self.fields))
        predicted = self.predict(network, self.solution_points)
        with np.errstate(over="ignore", invalid="ignore"):  # a network that has blown up has an infinite error
            off, truth = self.counted(predicted - truth), self.counted(truth)
            return (off**2).sum(0), (truth**2).sum(0)

    def lives(self, points: np.ndarray) -> np.ndarray:
        """Whether each field lives at (n, d) points, by `where`: booleans (n, fields)."""
        found = [
            self.where[name].contains(points) if name in self.where else np.ones(len(points), bool) for name in self.fields
        ]
        return np.stack(found, 1)

    def at_home(self, points: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Values (n, fields) at points, NaN where a field does not live; the same array if all live everywhere."""
        return np.where(self.lives(points), values, np.nan) if self.where else values

    def counted(self, values: np.ndarray) -> np.ndarray:
        """Values (n, fields) at `solution_points` as errors count them: those of free fields without their means, and 0 where a
        field does not live; the same array if no field is free, and all live everywhere.
        """
        lives = self.lives(self.solution_points) if self.where else None
        return counted(self.gauge, self.fields, values, self.solution_points, lives)
