"""The squares in the losses that PINA makes of its conditions, as a whole or by columns, and the traces of their kernels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from pinntk._util.randomness import fork
from pinntk.integrations._forms import column_names
from pinntk.integrations._traces import LossTrace, TraceReader
from pinntk.integrations.pina._support import trained_parameters
from pinntk.ntk._rounding import alike, nudged
from pinntk.ntk.graph import LossError, LossTerm, errors_of_loss

_ROWS = 16  # of a condition that is looked at


def squares_of(name: str, loss: Tensor, points: int) -> list[LossTerm]:
    """The mean squares that a condition's loss is the sum of, of errors (n, k) of points and columns. Raises ValueError, naming
    the condition, if it is no such sum.

    points: of the batch
    """
    try:
        terms = errors_of_loss(loss)
    except LossError as error:
        raise ValueError(
            f"condition {name!r}: {error}; NTK weights are for mean squares, such as loss=torch.nn.MSELoss()"
        ) from error
    return [LossTerm(term.factor, _by_columns(term.errors.as_subclass(Tensor), points)) for term in terms]


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


def trace_together(reader: TraceReader, name: str, squares: Sequence[LossTerm], parameters: Mapping[str, Tensor]) -> LossTrace:
    """Of a condition as a whole: all columns, and all parts of its loss, by how much they count in it. n: of the first part."""
    return LossTrace(reader.size_of(name, squares, parameters), squares[0].errors.numel() if squares else 1)


def traces_apart(reader: TraceReader, name: str, errors: Tensor, parameters: Mapping[str, Tensor]) -> dict[str, LossTrace]:
    """Of every column of the errors (n, k), as though it were a condition of its own."""
    named = zip(column_names(name, errors.shape[1]), errors.unbind(1), strict=True)
    return {block: trace_together(reader, block, [LossTerm(1.0, column)], parameters) for block, column in named}


def is_rounding(reader: TraceReader, name: str, data: Mapping[str, Any], solver: Any, column: int | None) -> bool:
    """Whether the kernel of a condition, or of one of its columns, is rounding, since the network meets it by construction.

    Told from a small one by the same points moved by a few roundings, where roundings are others.

    data: of the condition, in the batch
    """
    parameters, sizes = trained_parameters(solver), []
    for moved in (False, True):
        few = {key: value[:_ROWS].clone() if isinstance(value, Tensor) else value for key, value in data.items()}
        x = few["input"].as_subclass(Tensor)  # the same memory, without labels
        if moved:
            x.copy_(nudged(x))
        with fork(x.device), torch.enable_grad():
            errors = solver.problem.conditions[name].evaluate(few, solver).as_subclass(Tensor)
        errors = errors.reshape(len(errors), -1)
        term = LossTerm(1.0, errors if column is None else errors[:, column])
        sizes.append(float(reader.size_of(name, [term], parameters)))
    return not alike(*sizes)
