"""What an operator's argument names ask for: coordinates, fields, derivatives, coefficients, measured columns."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial

from pinntk._util.likeness import did_you_mean
from pinntk.taylor import Basis
from pinntk.taylor._basis import Index

POINTS = "points"  # the (n, d) tensor of all coordinates


@dataclass(frozen=True)
class ArgumentSpec:
    """One argument of an operator.

    kind: "coordinate", "points", "derivative" (a field itself has the zero multi-index), "laplacian", "gradient",
        "normal" (a field's slope along it), "component" (of the normal), "coefficient" or "column"
    """

    argument: str
    kind: str
    field: int = -1
    index: Index = ()
    axis: int = -1

    def order(self, axis: int, space: Sequence[int]) -> int:
        """The highest derivative along an axis that it takes; space: the axes of Laplacians, gradients and normals."""
        if self.kind == "derivative":
            return self.index[axis]
        highest = {"laplacian": 2, "gradient": 1, "normal": 1}.get(self.kind, 0)
        return highest if axis in space else 0


@dataclass(frozen=True)
class Vocabulary:
    """The names that an operator's arguments may use."""

    coordinates: tuple[str, ...]
    fields: tuple[str, ...]
    coefficients: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    space: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        names = (*self.coordinates, *self.fields, *self.coefficients, *self.columns)
        for name in names:
            if names.count(name) > 1 or name == POINTS:
                raise ValueError(f"the name {name!r} is taken twice among {names}; 'points' is reserved")
            for field in self.fields:
                suffix = name.removeprefix(f"{field}_")
                derivative = suffix != name and (suffix == "n" or _readings(suffix, self.coordinates))
                if derivative or name in (f"lap_{field}", f"grad_{field}"):
                    raise ValueError(f"the name {name!r} reads as a derivative of {field!r}; rename it")

    def read(self, function: Callable) -> tuple[ArgumentSpec, ...]:
        """What a function asks for, in the order of its arguments. Arguments with a default value are left alone.

        Raises ValueError for an argument that is not in the vocabulary, naming it and what is known.
        """
        parameters = _parameters(function).values()
        for parameter in parameters:
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                raise ValueError(
                    f"{_signature(function)}: name every argument; *args and **kwargs say nothing of what is needed"
                )
        return tuple(self._spec(name, function) for name in required(function))

    def knows(self, name: str) -> bool:
        """Whether an operator may ask for that."""
        try:
            self._spec(name, self.knows)
        except ValueError:
            return False
        return True

    def _spec(self, name: str, function: Callable) -> ArgumentSpec:
        if name == POINTS:
            return ArgumentSpec(name, "points")
        if name in self.coordinates:
            return ArgumentSpec(name, "coordinate", axis=self.coordinates.index(name))
        if name in self.coefficients:
            return ArgumentSpec(name, "coefficient")
        if name in self.columns:
            return ArgumentSpec(name, "column", axis=self.columns.index(name))
        d = len(self.coordinates)
        for number, field in enumerate(self.fields):
            if name == field:
                return ArgumentSpec(name, "derivative", number, (0,) * d)
            if name in (f"lap_{field}", f"grad_{field}"):
                return ArgumentSpec(name, "laplacian" if name.startswith("lap") else "gradient", number)
            if name.startswith(f"{field}_"):
                readings = _readings(name[len(field) + 1 :], self.coordinates)
                if len(readings) > 1:
                    raise ValueError(
                        f"{_signature(function)}: {name!r} can be read in {len(readings)} ways; rename a coordinate"
                    )
                if readings:
                    index = tuple(readings[0].count(axis) for axis in range(d))
                    return ArgumentSpec(name, "derivative", number, index)
                if name == f"{field}_n":
                    return ArgumentSpec(name, "normal", number)
        if name.startswith("n_") and name[2:] in self.coordinates:
            return ArgumentSpec(name, "component", axis=self.coordinates.index(name[2:]))
        raise ValueError(self._unknown(name, function))

    def _unknown(self, name: str, function: Callable) -> str:
        known = f"coordinates are {self.coordinates}, fields are {self.fields}"
        if self.coefficients:
            known += f", coefficients are {self.coefficients}"
        if self.columns:
            known += f", measured columns are {self.columns}"
        first = [f"{f}_{c}" for f in self.fields for c in self.coordinates]
        second = [f"{stem}{c}" for stem in first for c in self.coordinates]
        laplacians = [f"lap_{f}" for f in self.fields]
        candidates = [*self.coordinates, *self.fields, *self.coefficients, *self.columns, *first, *second, *laplacians]
        return f"{_signature(function)}: unknown argument {name!r}; {known}{did_you_mean(name, candidates, 0.7)}"

    def basis(self, specs: Iterable[ArgumentSpec]) -> Basis:
        """The smallest Taylor basis that serves `specs`."""
        d = len(self.coordinates)
        derivatives: list[Index] = []
        axes: tuple[int, ...] = ()
        for spec in specs:
            if spec.kind == "derivative":
                derivatives.append(spec.index)
            elif spec.kind == "laplacian":
                axes = self.space
            elif spec.kind in ("gradient", "normal"):
                derivatives += [tuple(int(i == axis) for i in range(d)) for axis in self.space]
        return Basis.spanning(derivatives, d, axes)


def check_place(condition: str, specs: Iterable[ArgumentSpec], space: Sequence[int], has_normals: bool) -> None:
    """Raises ValueError for what a condition asks for and its region has not.

    space: the axes of the coordinates other than t; has_normals: whether the region has outward ones
    """
    for spec in specs:
        if spec.kind in ("laplacian", "gradient", "normal", "component") and not space:
            raise ValueError(f"condition {condition!r}: {spec.argument!r} needs a coordinate other than t")
        if spec.kind in ("normal", "component") and not has_normals:
            raise ValueError(
                f"condition {condition!r}: {spec.argument!r} needs boundary faces of spatial coordinates, such as "
                'domain.ends("x"); its region has no outward normal'
            )


def _signature(function: Callable) -> str:
    return f"{name_of(function)}({', '.join(_parameters(function))})"


def required(function: Callable) -> list[str]:
    """The names of a function's arguments that have no default value, in order."""
    return [p.name for p in _parameters(function).values() if p.default is p.empty]


def with_field(argument: str, name: str, field: str, coordinates: tuple[str, ...]) -> str | None:
    """What asks of `field` what an argument asks of `name`, such as 'u_xx' for 'h_xx'; None where it asks something else."""
    for prefix in ("", "lap_", "grad_"):
        if argument == prefix + name:
            return prefix + field
    suffix = argument.removeprefix(f"{name}_")
    return f"{field}_{suffix}" if suffix != argument and (suffix == "n" or _readings(suffix, coordinates)) else None


def _parameters(function: Callable) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(function).parameters
    except ValueError as error:
        name = name_of(function)
        raise ValueError(f"{name} is built in and its arguments have no names to read; use a function that calls it") from error


def name_of(function: Callable) -> str:
    """A function's `__name__`. Where there is none: that of the function in a `functools.partial`, of the class of an object.

    Raises TypeError for what cannot be called.
    """
    if not callable(function):
        raise TypeError(f"{function!r} cannot be called; give a function whose arguments say what it needs: def walls(u): ...")
    if isinstance(function, partial) and not hasattr(function, "__name__"):
        return name_of(function.func)
    return getattr(function, "__name__", type(function).__name__)


@cache
def _readings(suffix: str, coordinates: tuple[str, ...]) -> list[tuple[int, ...]]:
    """All ways to read 'txx' as coordinates, as tuples of axes; none for the empty suffix."""

    def rest(text: str) -> list[tuple[int, ...]]:
        if not text:
            return [()]
        return [
            (axis, *tail) for axis, name in enumerate(coordinates) if text.startswith(name) for tail in rest(text[len(name) :])
        ]

    return rest(suffix) if suffix else []


def call_by_coordinates(
    function: Callable, coordinates: tuple[str, ...], values: Mapping[str, object], points: object
) -> object:
    """function(x, t, ...) for a function of coordinates only (an exact solution), whatever their order."""
    arguments = {}
    for name, parameter in _parameters(function).items():
        if parameter.default is not parameter.empty:
            continue
        if name != POINTS and name not in coordinates:
            raise ValueError(
                f"exact={_signature(function)}: unknown argument {name!r}; it is a function of the coordinates, {coordinates}"
            )
        arguments[name] = points if name == POINTS else values[name]
    return function(**arguments)
