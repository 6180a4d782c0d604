"""Exact traces of the kernel of a condition, from the graph of the loss that PINA made of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pinntk._util.randomness import fork
from pinntk.integrations.pina._support import trained
from pinntk.ntk._rounding import alike, nudged
from pinntk.ntk.graph import LossError, errors_of_loss, graph_factors

_ROWS = 16  # of a condition that is looked at


class Trace(NamedTuple):
    """value / n is the trace of the kernel of the mean square that is minimized."""

    value: float
    n: int


class Squares(NamedTuple):
    """factor * mean(errors^2), a part of a condition's loss; errors: (n, k), of points and columns."""

    factor: float
    errors: Tensor


def squares_of(name: str, loss: Tensor, points: int) -> list[Squares]:
    """The mean squares that a condition's loss is the sum of. Raises ValueError, naming the condition, if it is no such sum.

    points: of the batch, for errors of several columns
    """
    try:
        terms = errors_of_loss(loss)
    except LossError as error:
        raise ValueError(
            f"condition {name!r}: {error}; NTK weights are for mean squares, such as loss=torch.nn.MSELoss()"
        ) from error
    return [Squares(term.factor, _by_columns(term.errors.as_subclass(Tensor), points)) for term in terms]


def residuals_of(name: str, loss: Tensor, points: int) -> Tensor:
    """The errors (n, k) of a loss that is their mean square, and nothing else. Raises ValueError for any other loss."""
    mean = _behind_aliases(loss.grad_fn)
    square = _behind_aliases(mean.next_functions[0][0]) if mean is not None and mean.name() == "MeanBackward0" else None
    if square is not None and square.name() == "MseLossBackward0":  # of every step, so it is not read as any loss is
        return _by_columns((square._saved_self - square._saved_target).as_subclass(Tensor).reshape(-1), points)
    squares = squares_of(name, loss, points)
    if len(squares) != 1 or len(squares[0].errors) != points:
        raise ValueError(f"condition {name!r}: columns='apart' is for PINN, and this solver adds to its residuals' squares")
    return squares[0].errors


def _behind_aliases(node: Any) -> Any:
    """PINA's tensors are a subclass, and an operation's result becomes one through an alias."""
    while node is not None and node.name() == "AliasBackward0":
        node = node.next_functions[0][0]
    return node


def _by_columns(errors: Tensor, points: int) -> Tensor:
    """(n k,), points first -> (n, k). Where zero point weights left rows out, one column is right, and slower."""
    return errors.view(points, -1) if len(errors) % points == 0 else errors.unsqueeze(1)


def trace_together(name: str, squares: list[Squares], parameters: Mapping[str, Tensor]) -> Trace:
    """Of a condition as a whole: all columns, and all parts of its loss, by how much they count in it."""
    if not squares:
        return Trace(0.0, 1)
    n = squares[0].errors.numel()
    size = sum(factor / errors.numel() * _trace(name, errors, parameters) for factor, errors in squares)
    return Trace(size * n, n)


def traces_apart(name: str, errors: Tensor, parameters: Mapping[str, Tensor]) -> dict[str, Trace]:
    """Of every column of the errors (n, k), as though it were a condition of its own."""
    return {
        block: Trace(_trace(block, column.unsqueeze(1), parameters), len(column))
        for block, column in zip(names_apart(name, errors.shape[1]), errors.unbind(1), strict=True)
    }


def names_apart(name: str, columns: int) -> list[str]:
    return [name] if columns == 1 else [f"{name}[{column}]" for column in range(columns)]


def _trace(name: str, errors: Tensor, parameters: Mapping[str, Tensor]) -> float:
    """Sum of the squared norms of all rows of J; each column has a graph in which points are rows."""
    columns = (graph_factors(column, parameters, name=name) for column in errors.unbind(1) if column.requires_grad)
    return float(sum(factors.diagonal.sum() for factors in columns))


def is_rounding(name: str, data: Mapping[str, Any], solver: Any, column: int | None) -> bool:
    """Whether the kernel of a condition, or of one of its columns, is rounding, since the network meets it by construction.

    Told from a small one by the same points moved by a few roundings, where roundings are others.

    data: of the condition, in the batch
    """
    parameters, sizes = trained(solver), []
    for moved in (False, True):
        few = {key: value[:_ROWS].clone() if isinstance(value, Tensor) else value for key, value in data.items()}
        x = few["input"].as_subclass(Tensor)  # the same memory, without labels
        if moved:
            x.copy_(nudged(x))
        with fork(x.device), torch.enable_grad():
            errors = solver.problem.conditions[name].evaluate(few, solver).as_subclass(Tensor)
        errors = errors.reshape(len(errors), -1)
        sizes.append(_trace(name, errors if column is None else errors[:, column : column + 1], parameters))
    return not alike(*sizes)
