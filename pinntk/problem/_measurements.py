"""Measured points."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pinntk.geometry import Domain


@dataclass(frozen=True, eq=False)
class Measurements:
    """Measured rows: (m, d) coordinates, and columns of measured values that ride along with them."""

    domain: Domain
    points: np.ndarray
    columns: Mapping[str, np.ndarray]

    @property
    def coordinates(self) -> tuple[str, ...]:
        return self.domain.coordinates

    @property
    def rows(self) -> np.ndarray:
        """(m, d + number of columns)."""
        return np.column_stack([self.points, *self.columns.values()])

    @property
    def given(self) -> np.ndarray:
        return self.rows

    def sample(self, n: int, method: str, rng: np.random.Generator) -> np.ndarray:
        """n of the rows, drawn without repetition."""
        return choose(self.rows, n, rng, "data points", "measured")

    def distance(self, points: np.ndarray) -> np.ndarray:
        return self.domain.distance(points)

    def describe(self) -> str:
        return f"{len(self.points)} measured points in {self.domain.describe()}"


def choose(rows: np.ndarray, n: int, rng: np.random.Generator, what: str, how: str) -> np.ndarray:
    """n of the rows in their order, drawn without repetition. Raises ValueError for more than there are."""
    if n == len(rows):
        return rows
    if n > len(rows):
        raise ValueError(f"{n} {what} asked for, but only {len(rows)} were {how}")
    return rows[np.sort(rng.choice(len(rows), n, replace=False))]
