"""The errors of foreign conditions, as their own code computes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from pinntk.problem import ForeignCondition, ForeignNetworkError, Problem
from pinntk.residuals._values import check_error
from pinntk.taylor import DependentPointsError


class ForeignError(ValueError):
    """Foreign code that computes a condition's errors raised an exception of its own, or returned no errors."""


def foreign_errors(network: nn.Module, problem: Problem, names: list[str], rows: Tensor) -> dict[str, Tensor]:
    """Errors of foreign conditions on shared points (n, width), {name: (n,)}; those of one function in one call.

    Without a graph where gradients are off, although such code mostly needs them inside.
    """
    graph = torch.is_grad_enabled()
    calls: dict[Callable, Any] = {}
    found = {}
    for name in names:
        condition = problem[name]
        assert isinstance(condition, ForeignCondition)
        if condition.errors not in calls:
            calls[condition.errors] = _call(condition, network, rows)
        e = _own(condition, calls[condition.errors], len(rows))
        found[name] = e if graph else e.detach()
    return found


def _call(condition: ForeignCondition, network: nn.Module, rows: Tensor) -> Any:
    try:
        with torch.inference_mode(False), torch.enable_grad():
            return condition.errors(network, rows.detach().clone())
    except (ForeignNetworkError, ForeignError, DependentPointsError, MemoryError):
        raise
    except Exception as failure:
        kind = type(failure).__name__
        hint = ""
        if "dtype" in str(failure) or "Double" in str(failure):
            hint = (
                f". It was called with points in {rows.dtype}: what the code keeps as plain tensors must be in that dtype as "
                "well. Use the points that it is called with in the place of stored ones; make other tensors buffers of the "
                "network (register_buffer), or use .to(points)"
            )
        raise ForeignError(f"condition {condition.name!r}: {kind}: {failure}{hint}") from failure


def _own(condition: ForeignCondition, e: Any, n: int) -> Tensor:
    """The condition's part of what its code returned, (n,)."""
    if condition.column is not None:
        if not isinstance(e, Tensor) or e.ndim != 2 or e.shape[1] <= condition.column:
            got = f"shape {tuple(e.shape)}" if isinstance(e, Tensor) else type(e).__name__
            raise ForeignError(
                f"condition {condition.name!r} is column {condition.column} of what its code returns, which is {got} for {n} "
                f"points; expected ({n}, k)"
            )
        e = e[:, condition.column]
    check_error(condition.name, e, n)
    assert isinstance(e, Tensor)
    return e
