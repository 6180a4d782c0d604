"""One condition of `pinntk.wrap`, as the user gives it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pinntk.integrations._forms import Form, argument_names, form_of_parts, form_of_region, whole_form
from pinntk.problem import KINDS, Region

EXAMPLE = 'wrap(model, {"pde": (residual, points, "residual"), ...})'


@dataclass(frozen=True, eq=False)
class Given:
    """function of the points, kind, and how it takes them.

    points: (n, d); None where they are drawn from `region`
    key: the same for conditions on the same points
    """

    name: str
    function: Callable[..., Any]
    kind: str
    form: Form
    points: Tensor | None
    region: Region | None
    key: tuple[int, ...]

    @property
    def coordinates(self) -> tuple[str, ...] | None:
        """Names of the columns by the function's arguments, where each argument is some of them."""
        arguments = argument_names(self.function)
        if self.form.packed or arguments is None or len(arguments) != len(self.form.widths):
            return None
        if len(arguments) == 1 < self.form.dimension:
            return None  # it takes (n, d)
        found: list[str] = []
        for argument, width in zip(arguments, self.form.widths, strict=True):
            found += [argument] if width == 1 else [f"{argument}{number}" for number in range(1, width + 1)]
        return tuple(found)


def read_conditions(conditions: Any) -> dict[str, Given]:
    """Raises TypeError and ValueError, naming the condition, for what is none."""
    if not isinstance(conditions, Mapping) or not conditions:
        raise TypeError(f"conditions is {shown(conditions)}; expected {{name: (function, points, kind)}}, as in {EXAMPLE}")
    return {name: _read(name, value) for name, value in conditions.items()}


def _read(name: str, value: Any) -> Given:
    if not isinstance(value, (tuple, list)) or len(value) != 3 or not callable(value[0]):
        raise TypeError(f"conditions[{name!r}] is {shown(value)}; expected (function, points, kind), as in {EXAMPLE}")
    function, given, kind = value
    if not _takes_any(function):
        raise TypeError(
            f"conditions[{name!r}]: its function takes no arguments; let it take the points, as in f(x), and use them in the "
            "place of stored ones"
        )
    if kind not in KINDS:
        raise ValueError(f"conditions[{name!r}]: kind={kind!r}; one of {KINDS}")
    if isinstance(given, Tensor):
        form = Form((1,), (True,)) if given.ndim == 1 else whole_form(given.shape[-1] if given.ndim else 0)
        points = given.detach().unsqueeze(1) if given.ndim == 1 else given.detach()
        return Given(name, function, kind, form, _checked(name, points), None, (id(given),))
    if isinstance(given, (tuple, list)) and given and all(isinstance(part, Tensor) for part in given):
        if any(part.ndim not in (1, 2) for part in given) or len({len(part) for part in given}) > 1:
            shapes = ", ".join(str(tuple(part.shape)) for part in given)
            raise ValueError(f"conditions[{name!r}]: columns of shapes {shapes}; expected (n, 1) each, with one n")
        columns = [part.detach().reshape(len(part), -1) for part in given]
        points = torch.cat([column.to(columns[0]) for column in columns], 1)
        return Given(name, function, kind, form_of_parts(given, function), _checked(name, points), None, tuple(map(id, given)))
    if hasattr(given, "sample") and hasattr(given, "coordinates"):
        form = form_of_region(len(given.coordinates), function)
        return Given(name, function, kind, form, None, given, (id(given),))
    if any(isinstance(part, np.ndarray) for part in (given if isinstance(given, (tuple, list)) else [given])):
        raise TypeError(f"conditions[{name!r}]: points are numpy arrays; give torch.from_numpy(points).float()")
    raise TypeError(
        f"conditions[{name!r}]: points are {shown(given)}; expected a tensor (n, d), a tuple of columns (x, t), or a region, "
        "such as a Box, faces of one, or a pinntk.problem.PointSet with draw="
    )


def _takes_any(function: Callable[..., Any]) -> bool:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return True
    return any(p.kind not in (p.KEYWORD_ONLY, p.VAR_KEYWORD) for p in parameters)


def shown(value: Any) -> str:
    return f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"


def _checked(name: str, points: Tensor) -> Tensor:
    if points.ndim != 2 or not points.numel() or not points.is_floating_point():
        raise ValueError(
            f"conditions[{name!r}]: points of shape {tuple(points.shape)} and {points.dtype}; expected (n, d) floating-point "
            "numbers, at least one row"
        )
    if not bool(points.isfinite().all()):
        row = int((~points.isfinite()).any(1).nonzero()[0])
        raise ValueError(f"conditions[{name!r}]: points have NaN or infinity in row {row}; remove such rows")
    return points if points.dtype == torch.float64 else points.float()
