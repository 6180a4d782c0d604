"""What a region is: where a condition holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

Predicate = Callable[..., Any]  # of coordinates by name, arrays (n,): whether points belong to a part


class Region(Protocol):
    """Where a condition holds: a `Domain`, `Faces`, a `PeriodicPair`, a `Part`, `Measurements` or a `PointSet`."""

    @property
    def domain(self) -> Any:
        """The `Domain` that it is, or lies in."""
        ...

    @property
    def coordinates(self) -> tuple[str, ...]: ...

    @property
    def given(self) -> np.ndarray | None:
        """All rows (m, width) that there are; None where any number of points can be drawn."""
        ...

    def sample(self, n: int, method: str, rng: np.random.Generator) -> np.ndarray:
        """n points (n, width) on the region, or fewer for the method "grid"."""
        ...

    def distance(self, points: np.ndarray) -> np.ndarray:
        """How far (n, d) points lie from the region, (n,), relative to the extent of each coordinate; 0 on it."""
        ...

    def describe(self) -> str: ...
