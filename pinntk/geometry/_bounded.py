"""Coordinates with bounds, and points of something around a domain."""

from __future__ import annotations

from abc import ABC
from functools import cached_property
from math import prod

import numpy as np

from pinntk.geometry import _sampling as sampling

TIME = "t"  # the coordinate of this name is time: it has no part in lap_u, grad_u or boundary()


class Bounded(ABC):
    """What a domain knows of its coordinates, and points from which its own are chosen."""

    coordinates: tuple[str, ...]
    bounds: tuple[tuple[float, float], ...]
    parameters: tuple[str, ...] = ()
    is_box = False

    @property
    def dimension(self) -> int:
        return len(self.coordinates)

    @cached_property
    def low(self) -> np.ndarray:
        return np.array([low for low, _ in self.bounds])

    @cached_property
    def high(self) -> np.ndarray:
        return np.array([high for _, high in self.bounds])

    @property
    def space(self) -> tuple[int, ...]:
        """The axes of the coordinates that are places: not time, and no parameters."""
        return tuple(axis for axis, name in enumerate(self.coordinates) if name not in (TIME, *self.parameters))

    def axis(self, name: str) -> int:
        if name not in self.coordinates:
            raise ValueError(f"coordinate {name!r} is unknown; the domain has {self.coordinates}")
        return self.coordinates.index(name)

    @property
    def extent(self) -> float:
        """The largest of its sides."""
        return float(max(self.high - self.low))

    def grid(self, counts: tuple[int, ...]) -> np.ndarray:
        """The product grid of the box around it, with ends, (prod(counts), d); the last coordinate varies fastest."""
        return self.low + (self.high - self.low) * sampling.grid(counts)

    def __repr__(self) -> str:
        return f"<{self.describe()}>"

    def describe(self) -> str:
        return " x ".join(
            f"{name} in [{low:g}, {high:g}]" for name, (low, high) in zip(self.coordinates, self.bounds, strict=True)
        )

    # Points of something around it.

    filled = False  # whether all points of `spread` lie in it

    @property
    def cube_dimension(self) -> int:
        """How many numbers in [0, 1] `spread` takes for a point."""
        return self.dimension

    def spread(self, cube: np.ndarray) -> np.ndarray:
        """Numbers (n, cube_dimension) in [0, 1] as points of something around it: of the box, where it knows nothing better."""
        return self.low + (self.high - self.low) * cube

    def filling(self, cube: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        """Of a shape of three dimensions: numbers (n, 3) in [0, 1] as all of its points, by a smooth map, and the volume (n,)
        of theirs for one of the cube; None where no such map is known.
        """
        return None

    @property
    def around(self) -> float:
        """The measure of what `spread` fills."""
        return prod(high - low for low, high in self.bounds)

    def candidates(self, count: int) -> np.ndarray:
        """Sobol points of `spread`."""
        return self.spread(sampling.unit_cube(count, self.cube_dimension, "sobol", np.random.default_rng(0)))
