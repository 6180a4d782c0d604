"""Potentials of charges outside of a shape: they tell whether trial functions follow what its problems have for solutions."""

from __future__ import annotations

from functools import reduce
from itertools import product
from operator import add
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pinntk.geometry import Domain
from pinntk.geometry import _sampling as sampling
from pinntk.taylor import Basis
from pinntk.taylor._jet import Jet

_CHARGES, _NEAR = 1024, 4096  # places of the boundary: those with a charge, and those that say how far the outside goes there
_DEGREE = 2  # of the polynomials of the place by which charges are spread
_AWAY = 1e-9  # sine of an angle: at a smaller one, places lie on a tangent


class Potentials:
    """Harmonic functions on a shape: of charges in the middle of what lies outside, spread over it in few ways.

    A solution goes on beyond the boundary about as far as to that middle (the medial axis), so that it is about as hard to
    follow as these are. Charges are as large as the outside is wide: no slope is infinite at a corner.

    shape: a domain in space; axes: of its coordinates, in points
    places: (charges, d); charges: (charges, k) of each function; size: k, 0 where the outside is wider than the shape all over

    >>> from pinntk.geometry import Disk
    >>> disk = Disk(x=0, y=0, radius=1)
    >>> Potentials(disk, (0, 1)).size, Potentials(disk - Disk(x=0.3, y=0, radius=0.1), (0, 1)).size
    (0, 6)
    """

    def __init__(self, shape: Domain, axes: tuple[int, ...]):
        self.axes = axes
        places, widths = _middle(shape)
        scaled = 2 * (places - shape.low) / (shape.high - shape.low) - 1
        d = shape.dimension
        powers = [index for index in product(range(_DEGREE + 1), repeat=d) if sum(index) <= _DEGREE]
        spread = np.stack([(scaled**index).prod(1) for index in powers], 1) if len(places) else np.empty((0, 0))
        self.places, self.charges = torch.as_tensor(places), torch.as_tensor(widths[:, None] * spread)

    @property
    def size(self) -> int:
        return self.charges.shape[1]

    @torch.no_grad()
    def coefficients(self, points: Tensor, basis: Basis) -> Tensor:
        """Taylor coefficients of every function at (n, d) points, [S, n, k]."""
        x = Jet.seed(basis, points)
        away = [Jet(basis, x.components[..., [axis]].expand(-1, -1, len(self.places))) for axis in self.axes]
        square = reduce(add, ((one - place) ** 2 for one, place in zip(away, self.places.T, strict=True)))
        each: Any = torch.log(square) if len(self.axes) == 2 else square ** (1 - len(self.axes) / 2)
        return each.components @ self.charges


def _middle(shape: Domain) -> tuple[np.ndarray, np.ndarray]:
    """Centers (k, d) of the largest balls outside of a shape that touch it at places of its boundary, and their radii (k,), if
    these are less than the shape's extent.
    """
    boundary, rng = shape.boundary(), sampling.generator(0, "trial", "outside")
    touched, others = (boundary.sample(count, "sobol", rng) for count in (_CHARGES, _NEAR))
    normals = boundary.normals(torch.as_tensor(touched)).numpy()
    radii = np.full(len(touched), np.inf)
    for i, (place, normal) in enumerate(zip(touched, normals, strict=True)):
        to = others - place
        square, ahead = (to**2).sum(1), to @ normal
        seen = ahead > _AWAY * np.sqrt(square)
        radii[i] = (square[seen] / (2 * ahead[seen])).min(initial=np.inf)
    kept = radii < shape.extent
    return touched[kept] + radii[kept, None] * normals[kept], radii[kept]
