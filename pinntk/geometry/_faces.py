"""Slices of a domain, and faces of a box."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pinntk.geometry import _sampling as sampling
from pinntk.geometry._drawing import draw


@dataclass(frozen=True)
class Faces:
    """A union of slices of a box, or of a shape at times and at values of parameters; in each, some coordinates are fixed.

    pieces: for each slice, its (axis, value) pairs
    """

    domain: Any
    pieces: tuple[tuple[tuple[int, float], ...], ...]

    def __or__(self, other: Faces) -> Faces:
        if not isinstance(other, Faces) or other.domain != self.domain:
            raise ValueError("only faces of the same domain can be joined with |")
        return Faces(self.domain, self.pieces + other.pieces)

    @property
    def coordinates(self) -> tuple[str, ...]:
        return self.domain.coordinates

    @property
    def dimension(self) -> int:
        return self.domain.dimension

    @property
    def given(self) -> None:
        return None

    def _extent(self, piece: tuple[tuple[int, float], ...]) -> float:
        fixed = dict(piece)
        return prod(high - low for axis, (low, high) in enumerate(self.domain.bounds) if axis not in fixed)

    def sample(self, n: int, method: str, rng: np.random.Generator) -> np.ndarray:
        """n points shared out over the slices by their extent (by count for "grid": at most n)."""
        extents = np.array([self._extent(piece) for piece in self.pieces])
        counts = sampling.shares(n, extents)
        parts = [self._piece(piece, m, method, rng) for piece, m in zip(self.pieces, counts, strict=True) if m]
        return np.concatenate(parts)

    def _piece(self, piece: tuple[tuple[int, float], ...], n: int, method: str, rng: np.random.Generator) -> np.ndarray:
        fixed = dict(piece)
        if not self.domain.is_box:
            return draw(self.domain, n, method, rng, fixed)
        free = [axis for axis in range(self.dimension) if axis not in fixed]
        cube = sampling.unit_cube(n, len(free), method, rng)
        points = np.empty((len(cube), self.dimension))
        points[:, free] = self.domain.low[free] + (self.domain.high - self.domain.low)[free] * cube
        points[:, list(fixed)] = list(fixed.values())
        return points

    def distance(self, points: np.ndarray) -> np.ndarray:
        """How far (n, d) points lie from the nearest slice, relative to the extent of each coordinate. Shape (n,)."""
        size = self.domain.high - self.domain.low
        gaps = [np.max([np.abs(points[:, axis] - value) / size[axis] for axis, value in piece], 0) for piece in self.pieces]
        return np.maximum(np.min(gaps, 0), self.domain.distance(points))

    @property
    def has_normals(self) -> bool:
        """Whether every slice is a face of the box, of a coordinate other than t."""
        single = all(len(piece) == 1 for piece in self.pieces)
        return single and all(v in self.domain.bounds[a] and a in self.domain.space for ((a, v),) in self.pieces)

    def normals(self, points: Tensor) -> Tensor:
        """Outward unit normals (n, d) of (n, d) points, where there are any (`has_normals`); on an edge, that of the first
        slice that holds the point.
        """
        by_piece = points.new_zeros((len(self.pieces), self.dimension))
        gaps = []
        for row, piece in zip(by_piece, self.pieces, strict=True):
            ((axis, value),) = piece
            low, high = self.domain.bounds[axis]
            row[axis] = -1.0 if value == low else 1.0
            gaps.append((points[:, axis] - value).abs() / (high - low))
        return by_piece[torch.stack(gaps).argmin(0)]

    def periodic_pair(self) -> PeriodicPair:
        """These two faces as a pair. Raises ValueError if they are not the two ends of one coordinate."""
        axes = {axis for piece in self.pieces for axis, _ in piece}
        values = sorted(value for piece in self.pieces for _, value in piece)
        if len(self.pieces) != 2 or len(axes) != 1 or tuple(values) != self.domain.bounds[min(axes)]:
            raise ValueError("a periodic condition needs the two ends of one coordinate, as in domain.ends('x')")
        return PeriodicPair(self.domain, axes.pop())

    def describe(self) -> str:
        names = self.domain.coordinates
        return " or ".join(", ".join(f"{names[axis]} = {value:g}" for axis, value in piece) for piece in self.pieces)


@dataclass(frozen=True)
class PeriodicPair:
    """The lower face of a coordinate, whose every point has an opposite on the upper face."""

    domain: Any
    axis: int

    @property
    def coordinates(self) -> tuple[str, ...]:
        return self.domain.coordinates

    @property
    def given(self) -> None:
        return None

    @property
    def lower(self) -> Faces:
        return Faces(self.domain, (((self.axis, self.domain.bounds[self.axis][0]),),))

    def opposite(self, points: Tensor) -> Tensor:
        """(n, d) points of the lower face, moved to the upper face."""
        moved = points.clone()
        moved[:, self.axis] = self.domain.bounds[self.axis][1]
        return moved

    def sample(self, n: int, method: str, rng: np.random.Generator) -> np.ndarray:
        return self.lower.sample(n, method, rng)

    def distance(self, points: np.ndarray) -> np.ndarray:
        return self.lower.distance(points)

    def describe(self) -> str:
        return f"{self.lower.describe()} (the lower of two periodic faces)"
