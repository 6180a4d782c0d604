"""The time of a training, which stands still while something is compiled."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter


class Stopwatch:
    """`perf_counter()` without the time in which it was stopped; read from any thread."""

    def __init__(self) -> None:
        self._stopped_for = 0.0
        self._stopped_at: float | None = None

    def __call__(self) -> float:
        now = self._stopped_at  # once: another thread may start it again
        return (perf_counter() if now is None else now) - self._stopped_for

    @contextmanager
    def stopped(self) -> Iterator[None]:
        self._stopped_at = start = perf_counter()
        try:
            yield
        finally:
            self._stopped_for += perf_counter() - start
            self._stopped_at = None


_here = threading.local()


def own_stopwatch() -> Stopwatch:
    """This thread's."""
    if not hasattr(_here, "stopwatch"):
        _here.stopwatch = Stopwatch()
    found: Stopwatch = _here.stopwatch
    return found
