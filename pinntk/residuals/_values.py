"""Checks of computed values: real numbers, one per point, none of them NaN or infinite."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from pinntk.problem import Points, Problem

ERROR = "the error"
ROW = "the error's gradient in the parameters, its row of J,"
DIAGONAL = "the diagonal of K"
SQUARE = "the squared error"
_SHOWN = 3  # points named in a message


class NonFiniteError(ArithmeticError):
    """Errors, or rows of a Jacobian or a kernel, that are NaN or infinite."""


def check_error(name: str, error: Any, n: int) -> None:
    """Raises ValueError unless a condition's operator returned a real floating-point tensor of shape (n,)."""
    if not isinstance(error, Tensor) or error.shape != (n,):
        got = f"shape {tuple(error.shape)}" if isinstance(error, Tensor) else type(error).__name__
        raise ValueError(
            f"condition {name!r} returned {got} for {n} points; expected a tensor of shape ({n},), one error a "
            "point. Fields and derivatives have shape (n,) too; a system is several conditions"
        )
    if error.is_complex():
        raise ValueError(
            f"condition {name!r} returned {error.dtype}, and an error is a real number: make two conditions of it, one that "
            "returns its .real and one its .imag"
        )
    if not error.is_floating_point():
        raise ValueError(
            f"condition {name!r} returned {error.dtype}, which has no derivative, so its kernel would be zero: return a "
            "floating-point tensor that vanishes where the condition holds, such as torch.relu(u) for u <= 0"
        )


def check_real_parameters(parameters: Mapping[str, Tensor], what: str) -> None:
    """Raises ValueError, naming the first complex parameter, for what works on real numbers only."""
    for name, parameter in parameters.items():
        if parameter.is_complex():
            raise ValueError(
                f"parameter {name!r} is {parameter.dtype}, and {what} takes real parameters only: keep its real and imaginary "
                "part in a real one with a last dimension of 2, and use torch.view_as_complex of it in forward"
            )


def check_finite(
    network: nn.Module, problem: Problem, points: Points, values: Mapping[str, Tensor], what: str = ERROR, start: int = 0
) -> None:
    """Raises `NonFiniteError` where `values`, {condition: (n,)}, are NaN or infinite at `points`.

    what: the values are; start: the number of the first point among those that the user gave
    """
    for name, value in values.items():
        finite = value.isfinite()
        if not bool(finite.all()):
            raise NonFiniteError(non_finite(network, problem, name, points[name], value, what, start))


def non_finite(
    network: nn.Module, problem: Problem, name: str, rows: Tensor, values: Tensor, what: str = ERROR, start: int = 0
) -> str:
    """Which values of a condition are NaN or infinite, at which points, and what to look for."""
    bad = (~values.isfinite()).nonzero()[:, 0].tolist()
    kinds = {"NaN" if bool(values[i].isnan()) else "infinite" for i in bad[:1000]}
    shown = ", ".join(f"row {start + i} at {_place(problem, rows[i])}" for i in bad[:_SHOWN])
    more = "" if len(bad) <= _SHOWN else ", ..."
    where = f"{len(bad)} of {len(values)} points ({shown}{more})"
    if len(bad) == len(values) > _SHOWN:  # no place is worth naming
        where = f"all {len(values)} points"
    head = f"condition {name!r}: {what} is {' or '.join(sorted(kinds))} at {where}"
    if broken := next((key for key, p in network.named_parameters() if not bool(p.isfinite().all())), None):
        return f"{head}: the network has blown up, its parameter {broken!r} is not finite; go back to an earlier state of it"
    if what != ROW:
        return f"{head}; look for a logarithm, root, division or overflow in the operator or the network"
    return (
        f"{head}; where the error itself is finite, look for a root or a norm at 0, or for a torch.where whose other branch is "
        "not finite: its gradient is NaN all the same"
    )


def _place(problem: Problem, row: Tensor) -> str:
    coordinates = zip(problem.coordinates, row.tolist(), strict=False)  # measured columns follow
    return "(" + ", ".join(f"{name}={value:.6g}" for name, value in coordinates) + ")"
