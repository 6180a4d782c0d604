"""Smooth trial functions of a domain: what a problem is judged with, in place of anybody's network."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations_with_replacement
from math import comb

import torch
from torch import Tensor

from pinntk.diagnostics._singular import Singular, singular
from pinntk.geometry import Domain
from pinntk.geometry._quadrature import quadrature
from pinntk.residuals._legendre import differentiated, legendre
from pinntk.taylor import Basis

MOST_FUNCTIONS = 340  # of all fields: singular values in a fifth of a second
_MOST_DEGREE = 32  # of polynomials in float64, whose derivatives grow with the square of the degree
_LEAST_DEGREE = 4  # of all products of polynomials; where that is too many, sums of functions of one coordinate
_INSIDE = 6  # places of a domain that is no box, for each function
_SEEN = 1e-8  # rms over the domain of a function of size 1: what is less lies outside, or is the same as others to rounding
_DECAY = 0.6  # of the standard deviation of a coefficient, a degree: a function that varies on about a fifth of the domain


@dataclass(frozen=True, eq=False)
class TrialSpace:
    r"""The smooth functions of a domain: products of normalized Legendre polynomials, each times 0.6^degree.

    On a shape in the plane with holes or inward corners some of them are smooth there only.
    With coefficients theta ~ N(0, 1), u = sum_k theta_k phi_k is a smooth random function of size about 1 whatever the box, and
    analytic; every smooth function is approached exponentially fast in the degree. It is a probe without seeds: linear in its
    parameters, its inputs normalized, its kernel sum_k phi_k(x) phi_k(x').

    powers: (M, d) degrees of each polynomial in each coordinate
    complete: whether all products up to the total degree are there, or sums of functions of one coordinate only
    singular: functions that are not smooth in holes and at inward corners, N with the polynomials
    inside: (P, N) values, over sqrt(P), of functions of rms 1 over the box at points of the domain; None where that is the box
    """

    low: Tensor
    high: Tensor
    degree: int
    powers: Tensor
    complete: bool
    singular: tuple[Singular, ...] = ()
    inside: Tensor | None = None

    @cached_property
    def degrees(self) -> Tensor:
        return torch.cat([self.powers.sum(1).double(), *(part.degrees for part in self.singular)])

    @property
    def size(self) -> int:
        """N."""
        return len(self.degrees)

    @property
    def deviations(self) -> Tensor:
        """(N,) rms of each function over the box; of a singular one, its order."""
        return _DECAY**self.degrees

    def coefficients(self, points: Tensor, basis: Basis) -> Tensor:
        """Taylor coefficients of every function at (n, d) points, [S, n, N]."""
        d = points.shape[1]
        length = self.high - self.low
        scaled = 2 * (points - self.low) / length - 1
        order = max(2 * bool(basis.laplacian_axes), *(max(index) for index in basis.indices))
        highest = int(self.powers.max())
        tables = []  # of each coordinate, those of every order, (n, degree + 1)
        for z, size in zip(scaled.unbind(1), length.tolist(), strict=True):
            values = legendre(z, highest)
            tables.append([values @ differentiated(highest, times) * (2 / size) ** times for times in range(order + 1)])

        def along(index: tuple[int, ...]) -> Tensor:
            value = points.new_ones(len(points), len(self.powers))
            for axis, times in enumerate(index):
                value *= tables[axis][times][:, self.powers[:, axis]]
            return value

        parts = []
        for index in basis.indices:
            ((_, factor),) = basis.derivative_terms(index)
            parts.append(along(index) / factor)
        if basis.laplacian_axes:
            second = [along(tuple(2 * (i == axis) for i in range(d))) for axis in basis.laplacian_axes]
            parts.append(torch.stack(second).sum(0))
        found = [torch.stack(parts), *(part.coefficients(points, basis, self.low, self.high) for part in self.singular)]
        return torch.cat(found, 2) * self.deviations

    def values(self, points: Tensor) -> Tensor:
        """(n, N)."""
        return self.coefficients(points, Basis.spanning([], points.shape[1]))[0]

    def on(self, domain: Domain | None) -> TrialSpace:
        """The same functions of the box around a part of the domain, for a field that lives there; itself for None."""
        if domain is None:
            return self
        low, high = (torch.as_tensor(bound, dtype=torch.float64) for bound in (domain.low, domain.high))
        found = _seen(replace(self, low=low, high=high, inside=None), domain)
        return replace(found, low=torch.maximum(low, self.low), high=torch.minimum(high, self.high))  # a part of the time

    def orthonormal(self, degree: int) -> Tensor:
        """(N, k): functions up to a degree that are orthonormal over the domain, from those of rms 1 over the box.

        On a box these are the functions themselves. On another domain, combinations that are large outside of it only are left
        out: no condition is felt there.
        """
        some = self.upto(degree)
        if self.inside is None:
            return torch.eye(self.size, dtype=torch.float64)[:, some]
        _, s, Vh = torch.linalg.svd(self.inside[:, some], full_matrices=False)
        seen = s > _SEEN
        found = torch.zeros(self.size, int(seen.sum()), dtype=torch.float64)
        found[some] = Vh[seen].T / s[seen]
        return found

    def upto(self, degree: int) -> Tensor:
        """(N,) which functions have at most that degree."""
        return self.degrees <= degree

    def constant_along(self, axes: list[int]) -> Tensor:
        """(N,) which functions do not depend on some coordinates."""
        found = torch.zeros(self.size, dtype=torch.bool)
        found[: len(self.powers)] = (self.powers[:, axes] == 0).all(1)
        return found


def trial_space(domain: Domain, fields: int, most: int = MOST_FUNCTIONS) -> TrialSpace:
    """All products up to the highest degree that leaves at most `most` functions of all fields, or one of each coordinate.

    On a shape with holes or inward corners half as many again, half of all singular there, if that leaves enough of the others.
    """
    d, most = domain.dimension, max(most // fields, 1)
    half = _highest(d, 3 * most // 4)
    around = singular(domain, 3 * most // 4, half) if half >= _LEAST_DEGREE else ()
    degree = half if around else _highest(d, most)
    complete = degree >= _LEAST_DEGREE
    if complete:
        powers = [
            [chosen.count(axis) for axis in range(d)]
            for p in range(degree + 1)
            for chosen in combinations_with_replacement(range(d), p)
        ]
    else:
        degree = max(_LEAST_DEGREE, min(_MOST_DEGREE, (most - 1) // d))
        powers = [[0] * d] + [[p * (i == axis) for i in range(d)] for p in range(1, degree + 1) for axis in range(d)]
    low, high = (torch.as_tensor(bound, dtype=torch.float64) for bound in (domain.low, domain.high))
    return _seen(TrialSpace(low, high, degree, torch.tensor(powers), complete, around), domain)


def _highest(d: int, most: int) -> int:
    """The degree of all products in d coordinates that are at most so many; 1 at least."""
    return max((p for p in range(1, _MOST_DEGREE + 1) if comb(d + p, p) <= most), default=1)


def _seen(space: TrialSpace, domain: Domain) -> TrialSpace:
    """With what is seen of its functions in the domain."""
    if domain.is_box:
        return space
    found = quadrature(domain, _INSIDE * space.size)
    weights = torch.as_tensor(found.weights / found.weights.sum()).sqrt()
    values = space.values(torch.as_tensor(found.places)) / space.deviations
    return replace(space, inside=weights[:, None] * values)
