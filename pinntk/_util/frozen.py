"""Values that do not change, and when two of them are the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

import torch
from torch import Tensor


class FrozenDict(dict[str, Any]):
    """A dictionary that refuses to change.

    >>> FrozenDict(a=1) | {"b": 2}
    {'a': 1, 'b': 2}
    """

    def _refuse(self, *arguments: Any, **keywords: Any) -> NoReturn:
        raise TypeError("this mapping does not change: make another one, as `config.replace(points={...})` does")

    __setitem__ = __delitem__ = __ior__ = update = pop = popitem = clear = setdefault = _refuse

    def __reduce__(self) -> tuple[type, tuple[dict[str, Any]]]:
        return type(self), (dict(self),)


def same_values(a: Any, b: Any) -> bool:
    """Equality of what settings hold: mappings, tensors, and all that knows its own."""
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(same_values(a[key], b[key]) for key in a)
    if isinstance(a, Tensor) or isinstance(b, Tensor):
        return isinstance(a, Tensor) and isinstance(b, Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    return bool(a == b)
