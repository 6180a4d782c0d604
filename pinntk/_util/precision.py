"""The dtype that networks compute in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import lru_cache, wraps
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor, nn

from pinntk._util.warn import warn_user

Given = ParamSpec("Given")
Result = TypeVar("Result")


def empty_like(network: nn.Module) -> Tensor | None:
    """An empty tensor on the device and of the real dtype in which a network computes; None if it has no parameters."""
    parameter = next(network.parameters(), None)
    return None if parameter is None else torch.empty(0, dtype=parameter.dtype, device=parameter.device).real


# Autocast.


def without_autocast(function: Callable[Given, Result]) -> Callable[Given, Result]:
    """Decorates a function that computes in the network's own dtype: an autocast around the call is set aside, with a
    warning.
    """

    @wraps(function)
    def wrapped(*args: Given.args, **kwargs: Given.kwargs) -> Result:
        if not (active := _autocasts()):
            return function(*args, **kwargs)
        warn_user(
            f"{function.__qualname__}: the autocast around it ({', '.join(active)}) is set aside, and all is computed in the "
            "network's own dtype; half precision leaves nothing of high derivatives and small eigenvalues"
        )
        with autocast_off():
            return function(*args, **kwargs)

    return wrapped


@contextmanager
def autocast_off() -> Iterator[None]:
    """Sets aside every autocast around it, without a word."""
    with ExitStack() as stack:
        for kind in _autocasts():
            stack.enter_context(torch.autocast(kind, enabled=False))
        yield


def _autocasts() -> list[str]:
    return [kind for kind in _device_types() if torch.is_autocast_enabled(kind)]


@lru_cache
def _device_types() -> tuple[str, ...]:
    if not torch.accelerator.is_available():  # torch 2.6 raises below where there is none
        return ("cpu",)
    accelerator = torch.accelerator.current_accelerator()
    return ("cpu",) if accelerator is None else ("cpu", accelerator.type)
