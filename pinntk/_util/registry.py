"""What is remembered of an object as long as it lives."""

from __future__ import annotations

import weakref
from collections.abc import Hashable
from typing import Any


class WeakRegistry:
    """Keys by object, such as what was warned of already. Objects count by identity, and are not kept alive."""

    def __init__(self) -> None:
        self._known: dict[int, set[Hashable]] = {}

    def first(self, thing: Any, key: Hashable) -> bool:
        """Whether this key of the thing is new; from now on it is known."""
        if id(thing) not in self._known:
            self._known[id(thing)] = set()
            weakref.finalize(thing, self._known.pop, id(thing), None)
        known, key = self._known[id(thing)], weak_key(key)
        if key in known:
            return False
        known.add(key)
        return True


def weak_key(key: Hashable) -> Hashable:
    """The key, or the tuple of keys, without a hold on its objects: an operator may well refer to the network under which what
    is known of it is kept, and neither would ever be forgotten.
    """
    if isinstance(key, tuple):
        return tuple(map(weak_key, key))
    try:
        return weakref.ref(key)
    except TypeError:  # numbers, text, dtypes
        return key
