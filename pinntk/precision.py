"""The dtype that things are computed in: autocast set aside, coordinates that a dtype cannot tell apart."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Hashable
from contextlib import ExitStack
from functools import lru_cache, wraps
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from pinntk.domain import Box
from pinntk.warn import warn_user

Function = TypeVar("Function", bound=Callable[..., Any])

_FEW = 10_000  # values of a coordinate that a dtype tells apart, above which its rounding is that of any computation


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
    accelerator = torch.accelerator.current_accelerator()
    return ("cpu",) if accelerator is None else ("cpu", accelerator.type)


# Coordinates.

_told = Told()


def check_coordinates(domain: Box, name: str, rows: Any, dtype: torch.dtype) -> None:
    """Warns, once for each coordinate of a domain, where points (n, d) lose different values of it in `dtype`.

    A dtype tells few values apart where a coordinate is large against its range, as with unix seconds in float32. The
    same goes for points that were rounded before they came here.
    """
    for axis, spacing, values in _coarse(domain, dtype):
        given = (rows if isinstance(rows, Tensor) else torch.as_tensor(np.array(rows)))[:, axis].detach()
        left = len(given.to(dtype).unique())
        before = len(given.unique()) if _finer(given.dtype, dtype) else len(given)
        certain = _finer(given.dtype, dtype) or 4 * left > values  # a grid has few values, and may have lost none
        if left == before or not certain or not _told.first(domain, domain.coordinates[axis]):
            continue
        column, (low, high) = domain.coordinates[axis], domain.bounds[axis]
        warn_user(
            f"coordinate {column!r} of condition {name!r}: {str(dtype).removeprefix('torch.')} tells {left} values apart among "
            f"{before}, since between {low:.10g} and {high:.10g} its numbers lie {spacing:.3g} apart. Subtract {low:.10g} and "
            "divide by the range, in the problem's domain, points and data, or use a float64 network and points"
        )


@lru_cache(maxsize=256)
def _coarse(domain: Box, dtype: torch.dtype) -> tuple[tuple[int, float, float], ...]:
    """(axis, spacing of the dtype's numbers, number of them within the range) where these are few."""
    found = []
    for axis, (low, high) in enumerate(domain.bounds):
        spacing = torch.finfo(dtype).eps * 2.0 ** torch.tensor(max(abs(low), abs(high)), dtype=torch.float64).log2().floor()
        values = (high - low) / float(spacing)
        if values < _FEW:
            found.append((axis, float(spacing), values))
    return tuple(found)


def _finer(a: torch.dtype, b: torch.dtype) -> bool:
    return not a.is_floating_point or torch.finfo(a).eps < torch.finfo(b).eps
