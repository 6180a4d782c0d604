"""Legendre polynomials on a domain, orthonormal there, and their derivatives: smooth functions at the domain's lengths."""

from __future__ import annotations

from functools import cache
from itertools import combinations_with_replacement
from math import comb

import numpy as np
import torch
from torch import Tensor

from pinntk.geometry import Domain
from pinntk.geometry import _sampling as sampling

_MOST, _HIGHEST = 130, 24  # functions, and their degree on a line
_PLACES = 32  # of a domain that is no box, for each function
_DEPENDENT = 1e-8  # of a function's size: what is not a combination of the others there is less
_LEAST = 2  # degree: less has no second derivatives


class Legendre:
    """Products of Legendre polynomials of total degree up to p, with mean square 1 over a domain; the first one is 1.

    p is the largest with at most 130 functions, 2 or more, up to 24; where even 2 has more, products are left out. On a domain
    that is no box, those of the box around it are made orthonormal on points of it, one degree after the other, without those
    that are combinations of others there.

    degrees: (m, d), of each function along each coordinate
    """

    def __init__(self, domain: Domain, device: torch.device | str | None = None):
        d = domain.dimension
        highest = max((p for p in range(_LEAST, _HIGHEST + 1) if comb(p + d, d) <= _MOST), default=0)
        self.degrees = torch.tensor(_degrees(d, highest), device=device)
        self._low = torch.as_tensor(domain.low, dtype=torch.float64, device=device)
        self._length = torch.as_tensor(domain.high - domain.low, dtype=torch.float64, device=device)
        self._top = int(self.degrees.max())
        self._factors: Tensor | None = None  # (m, m), upper triangular
        if not domain.is_box:
            rows = domain.sample(_PLACES * len(self.degrees), "sobol", sampling.generator(0, "Legendre"))
            self._orthonormalize(torch.as_tensor(rows, device=device))

    def _orthonormalize(self, points: Tensor) -> None:
        values = self.derivative(points, (0,) * points.shape[1])
        R = torch.linalg.qr(values, mode="r")[1]
        kept = R.diagonal().abs() > _DEPENDENT * R.norm(dim=0)
        self.degrees = self.degrees[kept]
        if not bool(kept.all()):
            R = torch.linalg.qr(values[:, kept], mode="r")[1]
        R = R / len(points) ** 0.5
        R = R * R.diagonal().sign()[:, None]  # the first function is 1, not -1
        self._factors = torch.linalg.solve_triangular(R, torch.eye(len(R), dtype=R.dtype, device=R.device), upper=True)

    def __len__(self) -> int:
        return len(self.degrees)

    def derivative(self, points: Tensor, index: tuple[int, ...]) -> Tensor:
        """(n, m): a derivative of every function at (n, d) points."""
        x = 2 * (points - self._low) / self._length - 1
        found = torch.ones(len(points), len(self), dtype=x.dtype, device=x.device)
        for axis, order in enumerate(index):
            if not order and not self.degrees[:, axis].any():
                continue
            along = legendre(x[:, axis], self._top) @ differentiated(self._top, order).to(x)
            found = found * along[:, self.degrees[:, axis]] * (2 / self._length[axis]) ** order
        return found if self._factors is None else found @ self._factors

    def laplacian(self, points: Tensor, axes: tuple[int, ...]) -> Tensor:
        """(n, m)."""
        d = points.shape[1]
        found = torch.zeros(len(points), len(self), dtype=points.dtype, device=points.device)
        for axis in axes:
            found += self.derivative(points, tuple(2 * (i == axis) for i in range(d)))
        return found


def _degrees(d: int, highest: int) -> list[list[int]]:
    """Of total degree up to `highest`, by degree; where that is 0, no products, and up to 2."""
    if not highest:
        powers = [[p * (i == axis) for i in range(d)] for p in range(1, _LEAST + 1) for axis in range(d)]
        return [[0] * d, *powers]
    found = []
    for total in range(highest + 1):
        for axes in combinations_with_replacement(range(d), total):
            found.append([axes.count(axis) for axis in range(d)])
    return found


def legendre(x: Tensor, top: int) -> Tensor:
    """P_0 .. P_top at (n,) points of [-1, 1], (n, top + 1), by their recurrence."""
    found = [torch.ones_like(x), x]
    for k in range(1, top):
        found.append(((2 * k + 1) * x * found[k] - k * found[k - 1]) / (k + 1))
    return torch.stack(found[: top + 1], 1)


@cache
def differentiated(top: int, order: int) -> Tensor:
    """(top + 1, top + 1): column k has the coefficients of the derivative of sqrt(2 k + 1) P_k among the P_j."""
    columns = np.diag(np.sqrt(2 * np.arange(top + 1) + 1))
    for _ in range(order):
        columns = np.stack(
            [np.resize(np.append(np.polynomial.legendre.legder(c), np.zeros(top + 1)), top + 1) for c in columns.T], 1
        )
    return torch.from_numpy(columns)
