"""When nested autograd takes the place of jets, and what is remembered of networks that need it."""

from __future__ import annotations

from weakref import WeakSet

import torch
from torch import Tensor, nn

from pinntk._util.warn import warn_user
from pinntk.problem import Problem
from pinntk.residuals._conditions import autograd_errors
from pinntk.taylor import DependentPointsError, UnsupportedOperationError

# Networks known to need nested autograd for their derivatives, or for their kernels alone; each is warned of once.
_without_rule: WeakSet[nn.Module] = WeakSet()
_without_factors: WeakSet[nn.Module] = WeakSet()


def needs_autograd(network: nn.Module) -> bool:
    """True once a network was found whose derivatives jets cannot give."""
    return network in _without_rule


def has_factors(network: nn.Module) -> bool:
    """False once a network was found whose Jacobian does not factor."""
    return network not in _without_factors and network not in _without_rule


def warn_fallback(network: nn.Module, error: UnsupportedOperationError) -> None:
    """Remembers that the network needs nested autograd, and says so the first time."""
    _warn_once(
        network,
        _without_rule,
        f"{error}; derivatives of {type(network).__name__} now come from nested reverse-mode autograd, which is as exact, but "
        "each order of differentiation costs 2 to 3 times the one before, and kernels are read from its graph",
    )


def warn_no_factors(network: nn.Module, error: UnsupportedOperationError) -> None:
    """Remembers that the network's kernels come from the autograd graph of its errors, and says so the first time."""
    _warn_once(
        network,
        _without_factors,
        f"{error}; kernels of {type(network).__name__} are now read from the graph of nested reverse-mode autograd, as exact, "
        "but slower",
    )


def _warn_once(network: nn.Module, known: WeakSet[nn.Module], message: str) -> None:
    if network not in known:
        known.add(network)
        warn_user(message)


def check_mixing(
    network: nn.Module,
    problem: Problem,
    names: list[str],
    rows: Tensor,
    error: UnsupportedOperationError | DependentPointsError,
) -> UnsupportedOperationError:
    """What a network needs that jets cannot follow. Jets count points along dimension 0 and suspect what works along it: nested
    autograd of a few points together and by themselves decides whether points depend on each other; `error` is raised if so.
    """
    if isinstance(error, UnsupportedOperationError):
        return error
    few = rows[: min(5, len(rows))]
    together = autograd_errors(network, problem, names, few)
    for i in range(len(few)):
        for name, alone in autograd_errors(network, problem, names, few[i : i + 1]).items():
            scale = together[name].detach().abs().max() + alone.detach().abs().max() + 1
            if not (together[name][i] - alone[0]).abs() <= torch.finfo(alone.dtype).eps ** 0.5 * scale:
                raise error
    return UnsupportedOperationError("an operation along dimension 0", f"has no Taylor rule ({error}; but points stay apart)")
