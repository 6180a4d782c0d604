"""Trial functions that are smooth on a shape in the plane, but not in its holes and at its inward corners."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from math import factorial, pi, prod, sqrt
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pinntk.geometry import Domain
from pinntk.geometry import _sampling as sampling
from pinntk.geometry._loops import Corner, Hole, holes_and_corners
from pinntk.taylor import Basis
from pinntk.taylor._jet import Jet

_LEAST_DEGREE = 3  # of polynomials around a place: where there are more places than that allows, the sharpest are taken
_OF_LOGARITHMS = 3  # the degree of polynomials around a hole, over that of those that its logarithm is multiplied by
_PLACES = 2000  # of the domain and of its boundary, by which maps are scaled


@dataclass(frozen=True, eq=False)
class Singular:
    """Polynomials of Re zeta and Im zeta, zeta(x + iy) analytic on the shape; or of x and y, times Re zeta.

    What is smooth on a shape with holes is approached by polynomials of 1 / w, and by log w, beside polynomials of z, and not
    by these alone (Runge's theorem, of harmonic functions). w = z - c + ((z - c)^2 - h^2)^(1/2) is analytic but on a segment in
    the hole, and of the same size all along an ellipse with the segment's ends for foci: no place in a long hole does for it.
    At a corner v of angle a solutions go as powers of (z - v)^(pi / 2a), even ones where values are given on both sides
    (Kondrat'ev 1967, Trans. Moscow Math. Soc. 16).

    axes: of x and y; place: c, or v; half: h, from c to an end of the segment
    beside: next to a corner a place outside: the power is that of (z - v) / (z - beside), which jumps between the two only
    power: -1 at a hole, 0 for the logarithm
    powers: (N, d) degrees in Re zeta, Im zeta and the other coordinates; of the logarithm in x, y and these
    degrees: (N,) between 0 and that of the polynomials of the box beside them
    scale: low and high of Re zeta and of Im zeta on the shape, (2, 2)
    """

    axes: tuple[int, int]
    place: complex
    beside: complex | None
    power: float
    powers: Tensor
    degrees: Tensor
    scale: Tensor
    half: complex = 0.0

    def spread(self, cube: np.ndarray) -> np.ndarray:
        """(n, 2) numbers in [0, 1] as places around, even in Re zeta and Im zeta; some of them outside."""
        share = np.maximum(cube[:, 0], 1e-12) ** (0.5 / self.power)
        away = self._reach * share * np.exp(2j * pi * cube[:, 1])
        places = self.place + (away if self.beside is not None else (away + self.half**2 / away) / 2)
        return np.stack([places.real, places.imag], 1)

    def density(self, places: np.ndarray) -> np.ndarray:
        """How many of those there are at (n, 2) places, in the mean: of one, over the area, (n,)."""
        z = torch.complex(*torch.as_tensor(places).T)
        if self.beside is None:
            zeta, slope = (part.abs().numpy() * self._reach for part in self.series(z, 1))
            return np.where(zeta < 1, slope**2 / pi, 0)
        away = np.maximum((z - self.place).abs().numpy() / self._reach, 1e-12)
        return np.where(away < 1, self.power * away ** (2 * self.power - 2) / (pi * self._reach**2), 0)

    @property
    def _reach(self) -> float:
        """The distance from a corner, up to which places are spread; or the size of w around a hole, from which on they are."""
        return abs(self.beside - self.place) if self.beside is not None else 1 / float(self.scale.abs().max())

    def coefficients(self, points: Tensor, basis: Basis, low: Tensor, high: Tensor) -> Tensor:
        """Taylor coefficients of every function at (n, d) points, [S, n, N], in a box from low to high."""
        scaled = _linear(Jet.seed(basis, points), low, high)
        zeta = self._map(points, basis)
        if self.power:
            scaled = [*scaled]
            for axis, part, (least, most) in zip(self.axes, (zeta.real, zeta.imag), self.scale, strict=True):
                scaled[axis] = _linear(Jet(basis, part.contiguous()[..., None]), least[None], most[None])[0]
        found: Any = Jet(basis, points.new_zeros(basis.size, len(points), len(self.powers)))
        found.components[0] = 1
        for axis, variable in enumerate(scaled):
            highest = int(self.powers[:, axis].max())
            if highest:
                table = torch.stack([jet.components for jet in _legendre(variable, highest)], -1)
                found = found * Jet(basis, table[..., self.powers[:, axis]])
        if not self.power:
            least, most = self.scale[0]
            logarithm = _linear(Jet(basis, zeta.real.contiguous()[..., None]), least[None], most[None])[0]
            found = found * Jet(basis, logarithm.components[..., None].expand_as(found.components))
        return found.components

    def _map(self, points: Tensor, basis: Basis) -> Tensor:
        """Taylor coefficients of zeta, [S, n]: of zeta(z + h + ik), those of zeta times (h + ik)^m."""
        series = self.series(torch.complex(points[:, self.axes[0]], points[:, self.axes[1]]), max(map(sum, basis.indices)))
        found = series[0].new_zeros(basis.size, len(points))
        for s, index in enumerate(basis.indices):  # the Laplacian, if there is one, is 0
            i, j = (index[axis] for axis in self.axes)
            if sum(index) == i + j:
                found[s] = factorial(i + j) / (factorial(i) * factorial(j)) * 1j**j * series[i + j]
        return found

    def series(self, z: Tensor, order: int) -> list[Tensor]:
        """zeta's Taylor coefficients at complex z (n,), up to an order."""
        away = z - self.place
        if self.beside is None:
            return self._around_segment(z, order)
        rise = [_binomial(self.power, m) * away**-m for m in range(order + 1)]
        other = z - self.beside
        fall = [_binomial(-self.power, m) * other**-m for m in range(order + 1)]
        value = (away / other) ** self.power
        return [value * _at(rise, fall, m) for m in range(order + 1)]

    def _around_segment(self, z: Tensor, order: int) -> list[Tensor]:
        """Of log w, or 1 / w: (log w)' = ((z - c)^2 - h^2)^(-1/2)."""
        one, other = z - self.place + self.half, z - self.place - self.half
        root = other * (one / other).sqrt()  # that jumps on the segment only
        w = z - self.place + root
        rise, fall = ([_binomial(-0.5, m) * end**-m for m in range(order)] for end in (one, other))
        slopes = [_at(rise, fall, m) / root for m in range(order)]
        if not self.power:
            return [w.log(), *(slope / (m + 1) for m, slope in enumerate(slopes))]
        found = [1 / w]
        for m in range(order):
            found.append(-_at(found, slopes, m) / (m + 1))
        return found


def _at(a: list[Tensor], b: list[Tensor], m: int) -> Tensor:
    """The coefficient of order m of a product of series."""
    return torch.stack([a[k] * b[m - k] for k in range(m + 1)]).sum(0)


def _binomial(a: float, m: int) -> float:
    return prod((a - k) / (k + 1) for k in range(m))


def _linear(jet: Jet, low: Tensor, high: Tensor) -> list[Jet]:
    """Columns (n, k) from low to high as jets (n,) of what goes from -1 to 1."""
    scaled = 2 / (high - low) * jet.components
    scaled[0] = scaled[0] - (low + high) / (high - low)
    return [Jet(jet.basis, part.contiguous()) for part in scaled.unbind(-1)]


def _legendre(x: Any, degree: int) -> list[Any]:
    """Legendre polynomials of mean square 1 on [-1, 1]."""
    one = x.components.new_zeros(x.components.shape)
    one[0] = 1
    found = [Jet(x.basis, one), x]
    for k in range(1, degree):
        found.append(((2 * k + 1) * (x * found[k]) - k * found[k - 1]) / (k + 1))
    return [jet * sqrt(2 * k + 1) for k, jet in enumerate(found[: degree + 1])]


def singular(domain: Domain, most: int, degree: int) -> tuple[Singular, ...]:
    """At most `most` functions around the holes and inward corners of a shape in the plane, as many around each.

    degree: of the polynomials of the box beside them, which is the highest of theirs as well
    """
    if domain.is_box or domain.shape.dimension != 2:
        return ()
    holes, corners = holes_and_corners(domain.shape)
    places: list[Hole | Corner] = [*holes, *corners]
    highest = 0
    kinds = {kind for one in places for kind in _kinds(one)}
    sizes = {kind: np.array([len(_powers(domain, m, kind)) for m in range(1, degree + 1)]) for kind in kinds}
    while places:
        together = sum(sizes[kind] for one in places for kind in _kinds(one))
        highest = int(np.searchsorted(together, most, side="right"))
        if highest >= _LEAST_DEGREE:
            break
        places.pop()
    if not places:
        return ()
    shape, rng = domain.shape, sampling.generator(0, "trial", "singular")
    seen = np.concatenate([region.sample(_PLACES, "sobol", rng) for region in (shape, shape.boundary())])
    return tuple(_around(domain, one, kind, highest, degree, seen) for one in places for kind in _kinds(one))


def _kinds(one: Hole | Corner) -> tuple[str, ...]:
    return ("corner",) if isinstance(one, Corner) else ("inverse", "logarithm")


def _powers(domain: Domain, highest: int, kind: str) -> list[tuple[int, ...]]:
    """Degrees (N, d) of functions around a place; of what varies around it, but for the logarithm, which does itself."""
    most = highest // _OF_LOGARITHMS if kind == "logarithm" else highest
    found = [index for index in product(range(most + 1), repeat=domain.dimension) if sum(index) <= most]
    return [index for index in found if kind == "logarithm" or any(index[axis] for axis in domain.shape_axes)]


def _around(domain: Domain, one: Hole | Corner, kind: str, highest: int, degree: int, seen: np.ndarray) -> Singular:
    x_axis, y_axis = domain.shape_axes
    powers = torch.tensor(_powers(domain, highest, kind))
    most = highest // _OF_LOGARITHMS + 1 if kind == "logarithm" else highest
    degrees = (powers.sum(1).double() + (kind == "logarithm")) * degree / most
    scale = torch.empty(2, 2)
    if isinstance(one, Hole):
        place, half, power = complex(*one.center), complex(*one.half), -1.0 if kind == "inverse" else 0.0
        found = Singular((x_axis, y_axis), place, None, power, powers, degrees, scale, half)
    else:
        place, beside, power = complex(*one.place), complex(*one.beside), pi / (2 * one.angle)
        found = Singular((x_axis, y_axis), place, beside, power, powers, degrees, scale)
    (zeta,) = found.series(torch.complex(*torch.as_tensor(seen).T), 0)
    parts = torch.view_as_real(zeta)
    return replace(found, scale=torch.stack([parts.amin(0), parts.amax(0)], 1))
