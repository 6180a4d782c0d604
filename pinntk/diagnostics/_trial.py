"""Smooth trial functions of a domain: what a problem is judged with, in place of anybody's network."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations_with_replacement
from math import comb, sqrt

import torch
from torch import Tensor

from pinntk.geometry import Domain
from pinntk.geometry import _sampling as sampling
from pinntk.taylor import Basis

MOST_FUNCTIONS = 340  # of all fields: singular values in a fifth of a second
_MOST_DEGREE = 32  # of polynomials in float64, whose derivatives grow with the square of the degree
_LEAST_DEGREE = 4  # of all products of polynomials; where that is too many, sums of functions of one coordinate
_PLACES = 32  # of a shape, for each function that is made orthonormal on it
_DEPENDENT = 1e-8  # of a function's size: what is not a combination of the others on a shape is less
_DECAY = 0.6  # of the standard deviation of a coefficient, a degree: a function that varies on about a fifth of the domain


@dataclass(frozen=True, eq=False)
class TrialSpace:
    r"""Products of normalized Legendre polynomials, each times 0.6^degree: the smooth functions of a domain.

    On a shape they are made orthonormal there, one degree after the other, and multiplied by such polynomials of time and
    parameters; what they do elsewhere in the box around it does not count.

    With coefficients theta ~ N(0, 1), u = sum_k theta_k phi_k is a smooth random function of size about 1 whatever the box, and
    analytic; every smooth function is approached exponentially fast in the degree. It is a probe without seeds: linear in its
    parameters, its inputs normalized, its kernel sum_k phi_k(x) phi_k(x').

    powers: (N, d) degrees of each function in each coordinate
    complete: whether all products up to the total degree are there, or sums of functions of one coordinate only
    shape: what makes them orthonormal on a shape; None on a box
    """

    low: Tensor
    high: Tensor
    degree: int
    powers: Tensor
    complete: bool
    shape: Orthonormal | None = None

    @property
    def size(self) -> int:
        """N."""
        return len(self.powers)

    @property
    def deviations(self) -> Tensor:
        """(N,) rms of each function over the box."""
        return _DECAY ** self.powers.sum(1).double()

    def coefficients(self, points: Tensor, basis: Basis) -> Tensor:
        """Taylor coefficients of every function at (n, d) points, [S, n, N]."""
        d = points.shape[1]
        length = self.high - self.low
        scaled = 2 * (points - self.low) / length - 1
        order = max(2 * bool(basis.laplacian_axes), *(max(index) for index in basis.indices))
        highest = int(self.powers.max())
        tables = [_legendre(scaled[:, axis], highest, order, 2 / float(length[axis])) for axis in range(d)]

        def along(index: tuple[int, ...]) -> Tensor:
            value = self.deviations.expand(len(points), -1).clone()
            if self.shape is not None:
                value *= self.shape.values(tables, index)[:, self.shape.which]
            for axis, times in enumerate(index):
                if self.shape is None or axis not in self.shape.axes:
                    value *= tables[axis][times][:, self.powers[:, axis]]
            return value

        parts = []
        for index in basis.indices:
            ((_, factor),) = basis.derivative_terms(index)
            parts.append(along(index) / factor)
        if basis.laplacian_axes:
            second = [along(tuple(2 * (i == axis) for i in range(d))) for axis in basis.laplacian_axes]
            parts.append(torch.stack(second).sum(0))
        return torch.stack(parts)

    def values(self, points: Tensor) -> Tensor:
        """(n, N)."""
        return self.coefficients(points, Basis.spanning([], points.shape[1]))[0]

    def upto(self, degree: int) -> Tensor:
        """(N,) which functions have at most that degree."""
        return self.powers.sum(1) <= degree


def trial_space(domain: Domain, fields: int, most: int = MOST_FUNCTIONS) -> TrialSpace:
    """All products up to the highest degree that leaves at most `most` functions of all fields, or one of each coordinate."""
    d, most = domain.dimension, max(most // fields, 1)
    degree = max((p for p in range(1, _MOST_DEGREE + 1) if comb(d + p, p) <= most), default=1)
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
    space = TrialSpace(low, high, degree, torch.tensor(powers), complete)
    return space if domain.is_box or not complete else _on_shape(space, domain)


@dataclass(frozen=True, eq=False)
class Orthonormal:
    """Polynomials of a shape's coordinates, orthonormal on it.

    axes: those coordinates; powers: (M, len(axes)) degrees of products of Legendre polynomials, by total degree
    factors: (M, M) upper triangular: each column is one polynomial, in these products
    which: (N,) the polynomial in each trial function
    """

    axes: tuple[int, ...]
    powers: Tensor
    factors: Tensor
    which: Tensor

    def values(self, tables: list[list[Tensor]], index: tuple[int, ...]) -> Tensor:
        """(n, M): a derivative of every polynomial, from those of Legendre polynomials of each coordinate."""
        return _products(tables, index, self.axes, self.powers) @ self.factors


def _products(tables: list[list[Tensor]], index: tuple[int, ...], axes: tuple[int, ...], powers: Tensor) -> Tensor:
    found = torch.ones_like(tables[axes[0]][0][:, :1])
    for column, axis in enumerate(axes):
        found = found * tables[axis][index[axis]][:, powers[:, column]]
    return found


def _on_shape(space: TrialSpace, domain: Domain) -> TrialSpace:
    """The same functions made orthonormal on a shape, without those that are combinations of others there."""
    axes = tuple(domain.shape_axes)
    own = list(dict.fromkeys(map(tuple, space.powers[:, axes].tolist())))
    own = sorted(own, key=sum)
    places = domain.shape.sample(_PLACES * len(own), "sobol", sampling.generator(0, "trial", "shape"))
    points = torch.zeros(len(places), domain.dimension, dtype=torch.float64)
    points[:, axes] = torch.as_tensor(places)
    scaled = 2 * (points - space.low) / (space.high - space.low) - 1
    tables = [_legendre(scaled[:, axis], space.degree, 0, 1.0) for axis in range(domain.dimension)]
    powers, none = torch.tensor(own), (0,) * domain.dimension
    R = torch.linalg.qr(_products(tables, none, axes, powers), mode="r")[1]
    kept = R.diagonal().abs() > _DEPENDENT * R.norm(dim=0)
    powers = powers[kept]
    if not bool(kept.all()):
        R = torch.linalg.qr(_products(tables, none, axes, powers), mode="r")[1]
    R = R / len(places) ** 0.5
    R = R * R.diagonal().sign()[:, None]  # the first is 1, not -1
    factors = torch.linalg.solve_triangular(R, torch.eye(len(R), dtype=R.dtype), upper=True)
    place = {tuple(row): number for number, row in enumerate(powers.tolist())}
    rows = [row for row in space.powers.tolist() if tuple(row[axis] for axis in axes) in place]
    which = torch.tensor([place[tuple(row[axis] for axis in axes)] for row in rows])
    return replace(space, powers=torch.tensor(rows), shape=Orthonormal(axes, powers, factors, which))


def _legendre(z: Tensor, degree: int, order: int, slope: float) -> list[Tensor]:
    """Legendre polynomials of mean square 1 on [-1, 1] and their derivatives up to `order`, each (n, degree + 1).

    P'_(k+1) = P'_(k-1) + (2 k + 1) P_k, and so on for higher derivatives; slope: dz/dx, of the chain rule
    """
    found: list[list[Tensor]] = []
    for times in range(order + 1):
        row = [torch.ones_like(z) if times == 0 else torch.zeros_like(z)]
        for k in range(degree):
            before = row[k - 1] if k else torch.zeros_like(z)
            if times == 0:
                row.append(((2 * k + 1) * z * row[k] - k * before) / (k + 1))
            else:
                row.append(before + (2 * k + 1) * found[-1][k])
        found.append(row)
    norm = torch.tensor([sqrt(2 * k + 1) for k in range(degree + 1)]).to(z)
    return [torch.stack(row, 1) * norm * slope**times for times, row in enumerate(found)]
