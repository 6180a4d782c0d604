"""Errors of a problem's conditions on points: the Taylor engine, or nested reverse-mode autograd where it has no rule."""

from __future__ import annotations

from torch import Tensor, nn

from pinntk._util.precision import without_autocast
from pinntk.problem import ForeignCondition, Points, Problem
from pinntk.problem._coordinates import check_coordinates
from pinntk.residuals._conditions import autograd_errors, taylor_errors
from pinntk.residuals._fallback import check_mixing, needs_autograd, warn_fallback
from pinntk.residuals._points import groups, to_network
from pinntk.taylor import DependentPointsError, UnsupportedOperationError


@without_autocast
def errors(network: nn.Module, problem: Problem, points: Points, method: str = "auto") -> dict[str, Tensor]:
    """The error vector e of every condition in `points`: {name: (n,)}, differentiable in the network's parameters.

    points: {condition name: (n, d)}, tensors or numpy arrays; moved to the network's dtype and device
    method: "taylor" (one forward pass of jets), "autograd" (nested reverse mode), or "auto": taylor, and autograd with
        a warning, once for each network, where an operation has no Taylor rule. Foreign conditions are evaluated as they are

    Raises ValueError for a wrong shape of the network's or an operator's result, TypeError for points that are not numbers,
    DependentPointsError for a network that mixes points.

    >>> import pinntk
    >>> problem = pinntk.load("poisson1d")
    >>> network = pinntk.nn.MLP(problem, width=8, depth=1)
    >>> points = problem.sample(residual=5, boundary=2, seed=0)
    >>> {name: tuple(e.shape) for name, e in pinntk.errors(network, problem, points).items()}
    {'poisson': (5,), 'ends': (2,)}
    """
    if method not in ("auto", "taylor", "autograd"):
        raise ValueError(f"method={method!r}; use 'auto', 'taylor' or 'autograd'")
    given, points = points, to_network(network, points)
    for name, rows in points.items():
        check_coordinates(problem.domain, name, given[name], rows.dtype)
    result: dict[str, Tensor] = {}
    for names in groups(problem, points):
        rows = points[names[0]]
        foreign = isinstance(problem[names[0]], ForeignCondition)
        if foreign or method == "autograd" or (method == "auto" and needs_autograd(network)):
            result |= autograd_errors(network, problem, names, rows)
            continue
        try:
            result |= taylor_errors(network, problem, names, rows)
        except (UnsupportedOperationError, DependentPointsError) as error:
            if method == "taylor":
                raise
            warn_fallback(network, check_mixing(network, problem, names, rows, error))
            result |= autograd_errors(network, problem, names, rows)
    return {name: result[name] for name in points}
