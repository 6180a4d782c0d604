"""Functions of the user's that follow a training."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from pinntk.run._history import Run

Callback = Callable[[Run], Any]  # True asks for the end


def as_callbacks(name: str, given: Callback | Iterable[Callback] | None) -> tuple[Callback, ...]:
    """One function, several, or none. Raises TypeError, naming the argument, for what cannot be called."""
    if given is None:
        return ()
    found = (given,) if callable(given) else tuple(given) if isinstance(given, Iterable) else (given,)
    for function in found:
        if not callable(function):
            raise TypeError(f"{name}={function!r}: a function of the run, or several: {name}=[f, g]")
    return found


def ask(callbacks: Iterable[Callback], run: Run) -> str:
    """Calls all of them; the reason to stop where one returns True, else "". A reason may be given as a text."""
    reasons = []
    for function in callbacks:
        answer = function(run)
        if isinstance(answer, (bool, np.bool_, str)) and answer:  # nothing else: what a function happens to return is no wish
            reasons.append(answer if isinstance(answer, str) else f"{_name(function)} asked for the end")
    return "; ".join(reasons)


def _name(function: Callback) -> str:
    return str(getattr(function, "__qualname__", type(function).__qualname__))
