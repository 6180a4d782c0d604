"""The dtype that networks compute in, and what was said of an object already."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Hashable
from contextlib import ExitStack
from functools import lru_cache, wraps
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from pinntk._util.warn import warn_user

Function = TypeVar("Function", bound=Callable[..., Any])


class Told:
    """What was said of an object already, by the object's identity; forgotten with it."""

    def __init__(self) -> None:
        self._known: dict[int, set[Hashable]] = {}

    def first(self, thing: Any, key: Hashable) -> bool:
        """Whether this is the first time; from now on it is not."""
        if id(thing) not in self._known:
            self._known[id(thing)] = set()
            weakref.finalize(thing, self._known.pop, id(thing), None)
        known, key = self._known[id(thing)], held_weakly(key)
        if key in known:
            return False
        known.add(key)
        return True


def held_weakly(key: Hashable) -> Hashable:
    """The key, or the tuple of keys, without a hold on its objects: an operator may well refer to the network under which what
    is known of it is kept, and neither would ever be forgotten."""
    if isinstance(key, tuple):
        return tuple(map(held_weakly, key))
    try:
        return weakref.ref(key)
    except TypeError:  # numbers, text, dtypes
        return key


def empty_like(network: nn.Module) -> Tensor | None:
    """An empty tensor on the device and of the real dtype in which a network computes; None if it has no parameters."""
    parameter = next(network.parameters(), None)
    return None if parameter is None else torch.empty(0, dtype=parameter.dtype, device=parameter.device).real


# Autocast.


def without_autocast(function: Function) -> Function:
    """Decorates a function that computes in the network's own dtype: an autocast around the call is set aside, with a
    warning."""

    @wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        active = [kind for kind in _device_types() if torch.is_autocast_enabled(kind)]
        if not active:
            return function(*args, **kwargs)
        warn_user(
            f"{function.__qualname__}: the autocast around it ({', '.join(active)}) is set aside, and all is computed in the "
            "network's own dtype; half precision leaves nothing of high derivatives and small eigenvalues"
        )
        with ExitStack() as stack:
            for kind in active:
                stack.enter_context(torch.autocast(kind, enabled=False))
            return function(*args, **kwargs)

    return wrapped


@lru_cache
def _device_types() -> tuple[str, ...]:
    if not torch.accelerator.is_available():  # torch 2.6 raises below where there is none
        return ("cpu",)
    accelerator = torch.accelerator.current_accelerator()
    return ("cpu",) if accelerator is None else ("cpu", accelerator.type)
