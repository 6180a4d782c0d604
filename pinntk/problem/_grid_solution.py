"""A solution as numbers on a grid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class GridSolution:
    """A numerical solution on a product grid: one increasing array a coordinate, and values [*counts] or [*counts, fields].

    Or at scattered points: one (n, d) array, and values [n] or [n, fields].
    """

    axes: tuple[np.ndarray, ...]
    values: np.ndarray
