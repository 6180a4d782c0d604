"""Networks of a series of runs: each like the one that was given, from a network or from a function that makes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from pinntk._util.devices import usable
from pinntk.nn import NETWORKS
from pinntk.problem import Problem


def placed(network: nn.Module, device: torch.device | str | None, dtype: torch.dtype | None) -> nn.Module:
    """The network itself, moved. Raises ValueError for a device that there is not."""
    return network.to(device=None if device is None else usable(device, f"device={str(device)!r}"), dtype=dtype)


def made_by(function: Callable[[Any], nn.Module], argument: Any, called: str) -> nn.Module:
    """What a function of the user's makes of its argument, which is called so. Raises TypeError for anything but a network."""
    made = function(argument)
    if not isinstance(made, nn.Module):
        raise TypeError(f"network({called}) returned {type(made).__name__}; it must return a torch.nn.Module")
    return made


def can_be_alike(network: nn.Module) -> bool:
    """Whether another one like it can be built: those of `pinntk.nn` say how they were."""
    return type(network) in NETWORKS.values()


def alike(given: nn.Module, problem: Problem, **changes: Any) -> nn.Module:
    """A network of `pinntk.nn` built for a problem as the given one was for its own, with parameters as they are drawn, and
    those frozen that are frozen there.

    changes: of what else it was built with
    """
    theirs = dict(given.named_parameters())
    like = next(iter(theirs.values()))
    build: Any = type(given)
    made: nn.Module = build(problem, dtype=like.dtype, device=like.device, **{**vars(given)["config"], **changes})
    for name, p in made.named_parameters():
        if name in theirs:
            p.requires_grad_(theirs[name].requires_grad)
    return made.train(given.training)


def of_one_form(a: nn.Module, b: nn.Module) -> bool:
    """Whether their parameters have the same names and shapes."""
    shapes = [{name: p.shape for name, p in network.named_parameters()} for network in (a, b)]
    return shapes[0] == shapes[1]


def carry(before: nn.Module, into: nn.Module) -> bool:
    """Copies parameters; buffers, such as the scale of the inputs, are each network's own. False, and nothing is copied, where
    they are not of one form.
    """
    if not of_one_form(before, into):
        return False
    theirs = dict(before.named_parameters())
    with torch.no_grad():
        for name, p in into.named_parameters():
            p.copy_(theirs[name])
    return True
