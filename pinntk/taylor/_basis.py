"""The truncated Taylor algebra: which derivatives a jet carries, and how two jets multiply."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import product
from math import factorial, prod

Index = tuple[int, ...]  # a multi-index: how often each coordinate is differentiated


@dataclass(frozen=True)
class Basis:
    r"""Components of a jet: Taylor coefficients f_a = (d^a f) / a! for a downward-closed set of multi-indices.

    If asked for, one of them is a collapsed Laplacian (the forward Laplacian: value, first derivatives and the sum of second
    derivatives, instead of every second derivative).

    Build it with `Basis.spanning`. Components are ordered by degree; the Laplacian, if any, comes last.

    indices: multi-indices, sorted by degree, the value (0, ..., 0) first
    laplacian_axes: the coordinates that the collapsed Laplacian sums over; empty for none

    >>> Basis.spanning([(2, 0), (0, 1)], dimension=2).indices
    ((0, 0), (0, 1), (1, 0), (2, 0))
    """

    indices: tuple[Index, ...]
    laplacian_axes: tuple[int, ...] = ()

    @classmethod
    def spanning(cls, derivatives: Iterable[Index], dimension: int, laplacian_axes: Iterable[int] = ()) -> Basis:
        """The smallest basis that holds `derivatives` and, over `laplacian_axes`, the Laplacian.

        The Laplacian is collapsed only where the second derivatives are not all there anyway.
        Raises ValueError for a multi-index whose length is not `dimension` or that has a negative entry.
        """
        axes = tuple(laplacian_axes)
        requested = [(0,) * dimension, *derivatives]
        for index in requested:
            if len(index) != dimension or min(index, default=0) < 0:
                raise ValueError(f"multi-index {index} does not fit {dimension} coordinates")
        requested += [_unit(axis, dimension) for axis in axes]
        closed = {below for index in requested for below in product(*(range(k + 1) for k in index))}
        if all(_unit(axis, dimension, 2) in closed for axis in axes):
            axes = ()
        return _intern(tuple(sorted(closed, key=lambda index: (sum(index), index))), axes)

    def union(self, other: Basis) -> Basis:
        """The smallest basis that holds both."""
        axes = self.laplacian_axes or other.laplacian_axes
        if axes and other.laplacian_axes not in ((), axes):
            raise ValueError("two Laplacians over different coordinates cannot share a basis")
        return Basis.spanning([*self.indices, *other.indices], self.dimension, axes)

    @property
    def dimension(self) -> int:
        return len(self.indices[0])

    @property
    def size(self) -> int:
        """S, the number of components."""
        return len(self.indices) + bool(self.laplacian_axes)

    @cached_property
    def degrees(self) -> tuple[int, ...]:
        """The degree of each component; the Laplacian counts as 2."""
        return tuple(map(sum, self.indices)) + (2,) * bool(self.laplacian_axes)

    @property
    def order(self) -> int:
        return max(self.degrees)

    @cached_property
    def _positions(self) -> dict[Index, int]:
        return {index: position for position, index in enumerate(self.indices)}

    def position(self, index: Index) -> int:
        return self._positions[index]

    def unit(self, axis: int) -> Index:
        """The multi-index of the first derivative along `axis`."""
        return _unit(axis, self.dimension)

    def __contains__(self, index: Index) -> bool:
        return index in self._positions

    def derivative_terms(self, index: Index) -> list[tuple[int, float]]:
        """(component, factor) pairs whose sum is the derivative d^index."""
        return [(self.position(index), float(prod(map(factorial, index))))]

    def laplacian_terms(self, axes: Iterable[int]) -> list[tuple[int, float]]:
        """(component, factor) pairs whose sum is the Laplacian over `axes`."""
        if self.laplacian_axes:
            return [(self.size - 1, 1.0)]
        return [term for axis in axes for term in self.derivative_terms(_unit(axis, self.dimension, 2))]

    def components_of(self, part: Basis) -> list[int]:
        """Where the components of a smaller basis sit in this one. A Laplacian of `part` must be collapsed here
        too, or its components are all those of the second derivatives.
        """
        found = [self.position(index) for index in part.indices]
        if part.laplacian_axes:
            found += [position for position, _ in self.laplacian_terms(part.laplacian_axes)]
        return sorted(set(found))

    @cached_property
    def product_terms(self) -> tuple[tuple[tuple[int, int, float], ...], ...]:
        """For each component s of f g: triples (a, b, c) with (f g)_s = sum of c f_a g_b."""
        terms = []
        for index in self.indices:
            terms.append(
                tuple(
                    (self.position(below), self.position(_minus(index, below)), 1.0)
                    for below in product(*(range(k + 1) for k in index))
                )
            )
        if self.laplacian_axes:
            last = self.size - 1
            firsts = [self.position(self.unit(axis)) for axis in self.laplacian_axes]
            terms.append(((0, last, 1.0), (last, 0, 1.0), *((i, i, 2.0) for i in firsts)))
        return tuple(terms)

    def power_terms(self, k: int) -> dict[int, tuple[tuple[int, int, float], ...]]:
        """For each component s of degree >= k of h^k, h without value: triples (a, b, c) with
        (h^k)_s = sum of c h_a (h^(k-1))_b.
        """
        return _power_terms(self, k)


def _unit(axis: int, dimension: int, times: int = 1) -> Index:
    return tuple(times * (i == axis) for i in range(dimension))


def _minus(index: Index, below: Index) -> Index:
    return tuple(i - j for i, j in zip(index, below, strict=True))


@cache
def _intern(indices: tuple[Index, ...], axes: tuple[int, ...]) -> Basis:
    """One object per basis, so that its tables are computed once."""
    return Basis(indices, axes)


@cache
def _power_terms(basis: Basis, k: int) -> dict[int, tuple[tuple[int, int, float], ...]]:
    table = {}
    for s, degree in enumerate(basis.degrees):
        if degree < k:
            continue
        merged: dict[tuple[int, int], float] = {}
        for a, b, c in basis.product_terms[s]:
            if basis.degrees[a] >= 1 and basis.degrees[b] >= k - 1:
                pair = (min(a, b), max(a, b)) if k == 2 else (a, b)  # h^1 = h: the product is symmetric
                merged[pair] = merged.get(pair, 0.0) + c
        table[s] = tuple((a, b, c) for (a, b), c in merged.items())
    return table
