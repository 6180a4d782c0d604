"""A shape in the plane as cells between two curves, on which nodes of Gauss converge as fast as in a box."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from itertools import pairwise
from math import atan2, floor, inf, isinf, pi
from typing import NamedTuple

import numpy as np
from numpy.polynomial.legendre import leggauss

from pinntk.geometry._pieces import Piece


class Branch(NamedTuple):
    """A piece of a curve on which y rises, or falls.

    low, high: its ends, in y
    bends: the two y, lowest and highest, where the whole curve turns back, and x goes as the root of the distance in y from
        there; infinite for a straight edge
    across: x of (n,) numbers y
    """

    low: float
    high: float
    bends: tuple[float, float]
    across: Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True, eq=False)
class Cell:
    """What lies between two branches, from one y to another; `axes`: which coordinates x and y are."""

    left: Branch
    right: Branch
    low: float
    high: float
    axes: tuple[int, int]

    def at(self, cube: np.ndarray) -> np.ndarray:
        """(n, 2) numbers in [0, 1] as places inside, those at 0 and 1 on its sides."""
        y, _ = self._rising(2 * cube[:, 1] - 1)
        left, right = self.left.across(y), self.right.across(y)
        found = np.empty((len(cube), 2))
        found[:, self.axes[0]], found[:, self.axes[1]] = left + (right - left) * cube[:, 0], y
        return found

    def nodes(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """count^2 places (count^2, 2) inside, and positive weights whose sum is its area."""
        z, w = _gauss(count)
        y, rise = self._rising(z)
        left, right = self.left.across(y), self.right.across(y)
        half = (right - left) / 2
        places = np.empty((count, count, 2))
        places[..., self.axes[0]] = ((left + right) / 2)[:, None] + half[:, None] * z
        places[..., self.axes[1]] = y[:, None]
        return places.reshape(-1, 2), ((w * rise * half)[:, None] * w).ravel()

    def _rising(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """y of numbers in [-1, 1] and dy/dz: linear between straight edges, elsewhere by the angle of a circle that turns back
        where the curves do, of which they are smooth functions there.
        """
        bottom, top = max(self.left.bends[0], self.right.bends[0]), min(self.left.bends[1], self.right.bends[1])
        if isinf(bottom):
            middle, half = (self.low + self.high) / 2, (self.high - self.low) / 2
            return middle + half * z, np.full(len(z), half)
        middle, half = (bottom + top) / 2, (top - bottom) / 2
        first, last = np.arccos(np.clip((middle - np.array([self.low, self.high])) / half, -1, 1))
        angle = (first + last) / 2 + (last - first) / 2 * z
        return middle - half * np.cos(angle), half * np.sin(angle) * (last - first) / 2


@cache
def _gauss(count: int) -> tuple[np.ndarray, np.ndarray]:
    z, w = leggauss(count)
    return z, w


def cells(pieces: Iterable[Piece], most: int, near: float) -> list[Cell] | None:
    """What `pieces` of a boundary in the plane bound, in cells along the axis that makes them fewer; None of more than `most`.

    near: how far apart places lie that are the same to rounding
    """
    found = [_along([*_branches(pieces, axes)], axes, most, near) for axes in ((0, 1), (1, 0))]
    return min((one for one in found if one is not None), key=len, default=None)


def _along(branches: list[Branch], axes: tuple[int, int], most: int, near: float) -> list[Cell] | None:
    """Between two y where a branch begins or ends, what is inside lies between the first and the second branch, the third and
    the fourth; what lies between the same two branches higher up is the same cell.
    """
    ends = np.sort([end for branch in branches for end in (branch.low, branch.high)])
    ends = ends[np.concatenate([[True], np.diff(ends) > near])]
    low, high = (
        np.searchsorted(ends, [getattr(branch, end) for branch in branches], side="right") - 1 for end in ("low", "high")
    )
    if (high > low).sum() > 2 * most + 2:  # each cell has two branches, which it may share with others
        return None
    found: list[Cell] = []
    rising: dict[tuple[int, int], Cell] = {}
    for slab in range(len(ends) - 1):
        middle = np.array([(ends[slab] + ends[slab + 1]) / 2])
        crossed = np.flatnonzero((low <= slab) & (slab < high)).tolist()
        crossed.sort(key=lambda number: float(branches[number].across(middle)[0]))
        if len(crossed) % 2:
            return None
        before, rising = rising, {}
        for pair in zip(crossed[::2], crossed[1::2], strict=True):
            start = before[pair].low if pair in before else float(ends[slab])
            left, right = (branches[number] for number in pair)
            rising[pair] = Cell(left, right, start, float(ends[slab + 1]), axes)
        found += [cell for pair, cell in before.items() if pair not in rising]
    found += rising.values()
    return found if len(found) <= most else None


def _branches(pieces: Iterable[Piece], axes: tuple[int, int]) -> Iterator[Branch]:
    for piece in pieces:
        for corners in piece.stretches():
            if piece.surface.segments is not None:
                yield from _of_edges(piece.surface.at(np.array(corners)[:, None])[:, axes])
            else:
                assert piece.surface.oval is not None
                center, matrix = piece.surface.oval
                places = piece.surface.at(np.linspace(corners[0], corners[-1], 5)[:, None])
                yield from _of_oval(center[list(axes)], matrix[list(axes)], places[:, axes])


def _of_edges(corners: np.ndarray) -> Iterator[Branch]:
    for a, b in pairwise(corners):
        (x, y), (x_end, y_end) = (a, b) if a[1] <= b[1] else (b, a)
        if y < y_end:
            yield Branch(y, y_end, (-inf, inf), partial(_on_edge, ends=(y, y_end), across=(x, x_end)))


def _on_edge(y: np.ndarray, ends: tuple[float, float], across: tuple[float, float]) -> np.ndarray:
    return np.interp(y, ends, across)


def _of_oval(center: np.ndarray, matrix: np.ndarray, places: np.ndarray) -> Iterator[Branch]:
    """Of center + matrix (cos s, sin s), an arc with `places` of it in turn, less than half of the curve apart."""
    unit = np.linalg.solve(matrix, (places - center).T)
    angle = np.unwrap(np.arctan2(unit[1], unit[0]))
    first, last = min(angle[0], angle[-1]), max(angle[0], angle[-1])
    height, top = float(np.hypot(*matrix[1])), atan2(matrix[1, 1], matrix[1, 0])
    bends = float(center[1]) - height, float(center[1]) + height
    turns = [top + k * pi for k in range(floor((first - top) / pi), floor((last - top) / pi) + 2)]
    for s, s_end in pairwise(turns):
        low, high = sorted(float(center[1] + height * np.cos(np.clip([first, last], s, s_end) - top)[i]) for i in (0, 1))
        if low < high:
            side = 1 if round((s - top) / pi) % 2 == 0 else -1  # of the top
            yield Branch(low, high, bends, partial(_across, center=center, row=matrix[0], height=height, top=top, side=side))


def _across(y: np.ndarray, center: np.ndarray, row: np.ndarray, height: float, top: float, side: int) -> np.ndarray:
    angle = top + side * np.arccos(np.clip((y - center[1]) / height, -1, 1))
    return center[0] + row[0] * np.cos(angle) + row[1] * np.sin(angle)
