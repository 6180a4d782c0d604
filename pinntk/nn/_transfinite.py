"""A function with given values on faces of a box and on parts of a shape's boundary, and one that vanishes there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import combinations, product
from math import prod
from operator import add, mul

import numpy as np
from torch import Tensor

from pinntk.geometry import Domain
from pinntk.nn._blend import Blend
from pinntk.nn._prescribed import Device, Prescribed

_ZERO = 1e-13  # of the largest prescribed value: a value at a corner that is rounding
_RISE = 0.2  # of an axis. wave1d after 15 s of Gauss-Newton, three seeds: error 0.01 to 0.2; with s^2 alone 0.5


@dataclass(frozen=True, eq=False)
class _Node:
    """One prescription along an axis, and the polynomial in s = (x - low) / L that is 1 in it and 0 in the axis's others,
    lowest power first; or, on axis -1, the number of a group of a shape's boundary, whose weight the blend has.
    """

    source: Prescribed
    polynomial: tuple[float, ...] = ()
    group: int | None = None


@dataclass(frozen=True, eq=False)
class _Term:
    """sign p_a(s_a) p_b(s_b) ... g, with one node of each of some axes, and g where those have the values of their faces.

    source: the node whose operator gives g; number: g, where it is the same everywhere
    """

    sign: float
    nodes: tuple[_Node, ...]
    source: Prescribed
    number: float | None

    @property
    def fixed(self) -> dict[int, float]:
        return {axis: value for node in self.nodes for axis, value in node.source.place.items()}


class Transfinite:
    r"""G and F of one field u = G + F N: G has the prescribed values, and F vanishes where they are, whatever N is.

    With g the prescriptions, which agree where faces meet, and P_a the interpolation along axis a, constant from one face,
    linear between two, by Hermite's polynomials where a slope is prescribed too,

        G = (I - prod_a (I - P_a)) g = sum_a P_a g - sum_(a < b) P_a P_b g + ...

    (Gordon & Hall 1973, Numer. Math. 21:109). F is the product of the distances from the faces, squared under a slope, and 1 at
    its maximum. On an axis with value and slope on one face alone, as at the start of a wave, it is in s = (x - low) / L

        (1 + d^2) s^2 / (s^2 + d^2),    d = 0.2

    since under s^2 alone N could do little at early times. Parts of a shape's boundary are one axis more: P g = sum_k w_k g_k,
    with weights and a factor from `Blend`, each g_k as its operator continues it into the domain.

    parts: what is prescribed of one field: one value a face, a slope only beside it, slopes on one axis only
    device: where numbers are computed beforehand
    """

    def __init__(self, parts: Sequence[Prescribed], domain: Domain, device: Device):
        self._bounds = domain.bounds
        on_shape = [part for part in parts if part.part is not None]
        self._blend = Blend(on_shape, device) if on_shape else None
        self._powers: dict[int, list[int]] = {}  # by axis, of the distances from its two ends
        for part in parts:
            if part.part is None:
                self._powers.setdefault(part.axis, [0, 0])[part.end] += 1
        self._constant = _common_number(parts, device)
        self._terms = [] if self._constant is not None else list(_terms(parts, self._blend, domain, device))
        self._varying: dict[tuple, list[_Term]] = {}  # by the function that gives their values
        for term in self._terms:
            if term.number is None:
                self._varying.setdefault((term.source.condition, term.source.c), []).append(term)

    def offset(self, x: Tensor) -> Tensor | float:
        """G at (n, d) points: (n,), or a number where it is the same everywhere."""
        if self._constant is not None:
            return self._constant
        values: dict[int, Tensor] = {}
        for terms in self._varying.values():
            of_all = terms[0].source.values(x, [term.fixed for term in terms])
            values |= {id(term): value for term, value in zip(terms, of_all, strict=True)}
        s: dict[int, Tensor] = {}
        weights: dict[int, Tensor | float] = {}
        of_groups: list[Tensor | float] = []
        found: list[Tensor | float] = []
        for term in self._terms:
            for node in term.nodes:
                axis = node.source.axis
                if node.group is not None:
                    assert self._blend is not None
                    of_groups = of_groups or self._blend.weights(x)
                    weights[id(node)] = of_groups[node.group]
                elif id(node) not in weights:
                    s[axis] = s[axis] if axis in s else self._from_low(x, axis)
                    weights[id(node)] = _polynomial(node.polynomial, s[axis])
            value = values[id(term)] if term.number is None else term.number
            factors = [term.sign, *(weights[id(node)] for node in term.nodes), value]
            found.append(_product([factor for factor in factors if not isinstance(factor, float) or factor != 1]))
        return reduce(add, found) if found else 0.0

    def factor(self, x: Tensor) -> Tensor | float:
        """F at (n, d) points: (n,), or 1 where nothing is prescribed."""
        factors: list[Tensor | float] = []
        largest = 1.0
        for axis, (low, high) in self._powers.items():
            # Each from its own end, so that it is 0 there to the bit.
            s = [self._from_low(x, axis)] * low + [self._from_high(x, axis)] * high
            if {low, high} == {0, 2}:
                square = s[0] * s[1]
                factors.append(square / (square + _RISE**2))
                largest /= 1 + _RISE**2
            else:
                factors += s
                largest *= low**low * high**high / (low + high) ** (low + high)
        if self._blend is not None:
            factors.append(self._blend.factor(x))
        return _product(factors if largest == 1 else [*factors, 1 / largest])

    @property
    def zeros(self) -> tuple:
        """What F is made of: fields for which it is the same share it."""
        levels = () if self._blend is None else self._blend.levels
        return tuple(sorted((axis, tuple(powers)) for axis, powers in self._powers.items())), levels

    def _from_low(self, x: Tensor, axis: int) -> Tensor:
        low, high = self._bounds[axis]
        return (x[:, axis] - low) / (high - low)

    def _from_high(self, x: Tensor, axis: int) -> Tensor:
        low, high = self._bounds[axis]
        return (high - x[:, axis]) / (high - low)


def most_terms(parts: Sequence[Prescribed], device: Device) -> int:
    """How many terms G has at most: prod_a (1 + prescriptions on a that are not 0) - 1."""
    if _common_number(parts, device) is not None:
        return 0
    counts: dict[int, int] = {}
    for part in parts:
        if part.number(part.place, device) != 0:
            counts[part.axis] = counts.get(part.axis, 0) + 1
    return prod(1 + count for count in counts.values()) - 1


def _common_number(parts: Sequence[Prescribed], device: Device) -> float | None:
    """The one value that is prescribed everywhere, without a slope: G is then that number. None if there is none."""
    values = {part.number(part.place, device) for part in parts if not part.slope}
    slopes = {part.number(part.place, device) for part in parts if part.slope}
    if not values:
        return 0.0
    return values.pop() if len(values) == 1 and slopes <= {0.0} else None


def _terms(parts: Sequence[Prescribed], blend: Blend | None, domain: Domain, device: Device) -> Iterator[_Term]:
    """Those of G that are not 0. Where one face has the value 0 everywhere, so have all others where they meet it; but what a
    shape's boundary prescribes, continued into the domain as it is, can be another at a face than what that prescribes.
    """
    rounding = _ZERO * max(part.scale for part in parts)
    by_axis = _nodes(parts, domain)
    if blend is not None:
        groups = [_Node(group.source, group=number) for number, group in enumerate(blend.groups)]
        by_axis[-1] = [node for node in groups if node.source.number({}, device) != 0]
    alive = {
        axis: [node for node in nodes if by_axis.get(-1) or node.source.number(node.source.place, device) != 0]
        for axis, nodes in by_axis.items()
    }
    alive = {axis: nodes for axis, nodes in alive.items() if nodes}
    for count in range(1, len(alive) + 1):
        for axes in combinations(alive, count):
            for nodes in product(*(alive[axis] for axis in axes)):
                fixed = {axis: value for node in nodes for axis, value in node.source.place.items()}
                slopes = [node.source for node in nodes if node.source.slope]
                on_shape = [node.source for node in nodes if node.group is not None]
                if on_shape and slopes:  # of values that do not change there
                    continue
                sources = on_shape or slopes or [node.source for node in nodes]
                numbers = [source.number(fixed, device) for source in sources]
                known = next((place for place, number in enumerate(numbers) if number is not None), 0)
                number = numbers[known]
                if number is None or abs(number) > rounding:
                    yield _Term(1.0 if count % 2 else -1.0, nodes, sources[known], number)


def _nodes(parts: Sequence[Prescribed], domain: Domain) -> dict[int, list[_Node]]:
    """By axis, the prescriptions with their polynomials: p(s) = sum_j c_j s^j of as many terms as the axis has of them."""
    found = {}
    for axis in sorted({part.axis for part in parts if part.part is None}):
        own = [part for part in parts if part.axis == axis]
        low, high = domain.bounds[axis]
        powers = np.arange(len(own))
        rows = []  # p at a face, or its slope there in x
        for part in own:
            order = int(part.slope)
            here = (powers == order) if part.end == 0 else powers**order
            rows.append(here / (high - low) ** order)
        columns = np.linalg.inv(np.array(rows, dtype=float)).T
        found[axis] = [_Node(part, _clean(column)) for part, column in zip(own, columns, strict=True)]
    return found


def _clean(coefficients: np.ndarray) -> tuple[float, ...]:
    """Without rounding of zeros, and without zeros at the end."""
    kept = [0.0 if abs(c) < 1e-14 * np.abs(coefficients).max() else float(c) for c in coefficients]
    while kept[-1] == 0:
        kept.pop()
    return tuple(kept)


def _polynomial(coefficients: tuple[float, ...], s: Tensor) -> Tensor | float:
    """By Horner's rule, without what multiplies by 1 or adds 0."""
    value: Tensor | float = coefficients[-1]
    for c in reversed(coefficients[:-1]):
        value = s if isinstance(value, float) and value == 1 else value * s
        value = value + c if c else value
    return value


def _product(factors: Sequence[Tensor | float]) -> Tensor | float:
    return reduce(mul, factors) if factors else 1.0
