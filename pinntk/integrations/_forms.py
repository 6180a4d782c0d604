"""How functions of the user's take points and return errors: in one tensor or in several."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pinntk.residuals import ForeignError

MOST_EQUATIONS = 8  # of one condition: more are hardly as many as its points


@dataclass(frozen=True)
class Form:
    """Points (n, d) as a function takes them.

    widths: of the tensors, whose columns together are the d coordinates; one of width d for a function of (n, d)
    flat: of each, whether it is (n,) and not (n, width)
    packed: whether they come in one tuple
    """

    widths: tuple[int, ...]
    flat: tuple[bool, ...]
    packed: bool = False

    @property
    def dimension(self) -> int:
        return sum(self.widths)

    def call(self, function: Callable[..., Any], points: Tensor, leaves: bool = False) -> Any:
        """function of the points. leaves: give copies that require gradients, and are leaves of a graph of their own"""
        parts = points.split(list(self.widths), 1) if len(self.widths) > 1 else (points,)
        if leaves:
            parts = tuple(part.detach().clone() for part in parts)
        parts = tuple(part.squeeze(1) if flat else part for part, flat in zip(parts, self.flat, strict=True))
        if leaves:
            parts = tuple(part.requires_grad_() for part in parts)
        return function(parts) if self.packed else function(*parts)


def form_of_parts(parts: Sequence[Tensor], function: Callable[..., Any]) -> Form:
    """Of points that came as several tensors: as many arguments, where the function takes these; else one tuple."""
    widths = tuple(1 if part.ndim == 1 else part.shape[1] for part in parts)
    count = argument_count(function)
    return Form(widths, tuple(part.ndim == 1 for part in parts), packed=count == 1 < len(parts))


def form_of_region(dimension: int, function: Callable[..., Any]) -> Form:
    """Of points that are drawn: d columns (n, 1), where the function takes these; else (n, d)."""
    if argument_count(function) == dimension > 1:
        return Form((1,) * dimension, (False,) * dimension)
    return whole_form(dimension)


def whole_form(dimension: int) -> Form:
    return Form((dimension,), (False,))


def argument_count(function: Callable[..., Any]) -> int | None:
    """Positional arguments without a default; None where that is not known, or where it takes any number."""
    names = argument_names(function)
    return None if names is None else len(names)


def argument_names(function: Callable[..., Any]) -> tuple[str, ...] | None:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return None
    if any(p.kind == p.VAR_POSITIONAL for p in parameters):
        return None
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return tuple(p.name for p in parameters if p.kind in positional and p.default is p.empty)


def column_names(name: str, columns: int) -> list[str]:
    """Of the conditions that the columns of one are: its own name, or name[0], name[1] and so on."""
    return [name] if columns == 1 else [f"{name}[{column}]" for column in range(columns)]


def as_columns(what: str, returned: Any, n: int) -> Tensor:
    """What a function returned for n points, as real columns (n, k): tensors (n,) and (n, k), several of these in a tuple;
    of a complex one its real and its imaginary part. Raises ForeignError, naming `what`, for anything else.
    """
    parts = list(returned) if isinstance(returned, (tuple, list)) else [returned]
    columns = []
    for part in parts:
        if not isinstance(part, Tensor):
            raise ForeignError(
                f"{what} returned a {type(part).__name__}; expected a torch tensor of errors, one for each point"
            )
        if part.ndim == 0:
            raise ForeignError(
                f"{what} returned one number for {n} points; return the errors themselves, (n,) or (n, k), before they are "
                "squared and averaged"
            )
        if part.is_complex():
            part = torch.view_as_real(part).reshape(len(part), -1)
        if part.ndim > 2 or len(part) != n:
            raise ForeignError(
                f"{what} returned shape {tuple(part.shape)} for {n} points; expected ({n},), or ({n}, k) for k equations. "
                "Errors that belong to several points at once, such as u(left) - u(right), take one of these, and close over "
                "the others"
            )
        if not part.is_floating_point():
            raise ForeignError(f"{what} returned {part.dtype}, which has no derivative; return floating-point errors")
        columns.append(part.reshape(n, -1))
    if not columns or not sum(part.shape[1] for part in columns):
        raise ForeignError(f"{what} returned no errors")
    return torch.cat(columns, 1)
