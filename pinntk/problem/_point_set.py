"""Points as they are given, or of a geometry that is not pinntk's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np

from pinntk.geometry import Domain
from pinntk.problem._measurements import choose
from pinntk.problem._rows import as_array, finite_columns


@dataclass(frozen=True, eq=False)
class PointSet:
    """Points as they are given, or of a geometry that is not pinntk's.

    domain: the domain, or a box around the points
    points: (m, d); a list of m numbers where d = 1
    columns: measured values, or what else rides along with each point: {name: (m,)}
    draw: (n, rng) -> (n, d) fresh points, rng a numpy Generator; None if the points are all that there are
    inside: (n, d) -> (n,) booleans, whether points are on it; those in the domain if None

    With `draw` there can be no columns.

    >>> from pinntk import Box
    >>> disk = PointSet(Box(x=(-1, 1), y=(-1, 1)), [[0, 0]], inside=lambda p: (p**2).sum(1) <= 1)
    >>> disk.distance(np.array([[0.5, 0.5], [0.9, 0.9]])).tolist()
    [0.0, inf]
    """

    domain: Domain
    points: Any
    columns: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    draw: Callable[[int, np.random.Generator], Any] | None = None
    inside: Callable[[np.ndarray], Any] | None = None

    def __post_init__(self) -> None:
        rows = self._rows(self.points, "points")
        columns = {name: as_array(f"column {name!r}", values).reshape(-1) for name, values in self.columns.items()}
        if columns and self.draw is not None:
            raise ValueError(f"PointSet(columns={tuple(columns)}, draw=...): fresh points have no such values; leave one out")
        for name, values in columns.items():
            if len(values) != len(rows):
                raise ValueError(f"PointSet: column {name!r} has {len(values)} values for {len(rows)} points")
        finite_columns("PointSet", {"points": rows, **columns})
        object.__setattr__(self, "points", rows)
        object.__setattr__(self, "columns", MappingProxyType(columns))

    def _rows(self, points: Any, what: str) -> np.ndarray:
        rows = as_array(what, points)
        rows = rows[:, None] if rows.ndim == 1 and self.domain.dimension == 1 else rows
        if rows.ndim != 2 or rows.shape[1] != self.domain.dimension or not len(rows):
            raise ValueError(
                f"PointSet: {what} have shape {rows.shape}; expected (n, {self.domain.dimension}) for {self.domain.coordinates}"
            )
        return rows

    @property
    def coordinates(self) -> tuple[str, ...]:
        return self.domain.coordinates

    @cached_property
    def rows(self) -> np.ndarray:
        """(m, d + number of columns)."""
        return np.column_stack([self.points, *self.columns.values()])

    @property
    def given(self) -> np.ndarray | None:
        return self.rows if self.draw is None else None

    def sample(self, n: int, method: str, rng: np.random.Generator) -> np.ndarray:
        """n fresh points, or n of the rows without repetition; it has no other method than its own."""
        if self.draw is None:
            return choose(self.rows, n, rng, "points", "given")
        drawn = self._rows(self.draw(n, rng), "drawn points")
        if len(drawn) != n:
            raise ValueError(f"PointSet: draw returned {len(drawn)} points where {n} were asked for")
        return drawn

    def distance(self, points: np.ndarray) -> np.ndarray:
        if self.inside is None:
            return self.domain.distance(points)
        on_it = as_array("inside", self.inside(points)).reshape(-1) != 0
        return np.where(on_it, 0.0, np.inf)

    def describe(self) -> str:
        many = f"{len(self.points)} given points" if self.draw is None else "a geometry of its own"
        return f"{many} in {self.domain.describe()}"
