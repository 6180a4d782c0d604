"""What functionals are taken over: a region, by fixed places and weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pinntk.geometry import Domain, Faces, Part
from pinntk.geometry._quadrature import Quadrature, quadrature
from pinntk.problem._measurements import choose
from pinntk.problem._rows import as_array

EQUALS = "equals"  # the column of what the integrals should be


@dataclass(frozen=True, eq=False)
class Integral:
    """A region that is integrated over, once or at each of several times.

    over: the region
    rows: (m, d), or (m, d + 1) with a last column of what each integral should be; one integral a row. Its `kept` coordinates
        are where it is taken; the others are those of some place
    kept: axes that are not integrated over
    quadrature: places, and weights, divided by their sum for a mean
    target: what all integrals should be; None where `rows` have a column of it
    """

    over: Domain | Faces | Part
    rows: np.ndarray
    kept: tuple[int, ...]
    quadrature: Quadrature
    target: float | None
    _tensors: dict[Any, tuple[Tensor, Tensor]] = field(default_factory=dict, repr=False)

    @property
    def domain(self) -> Domain:
        return self.over.domain

    @property
    def coordinates(self) -> tuple[str, ...]:
        return self.domain.coordinates

    @property
    def columns(self) -> Mapping[str, np.ndarray]:
        return {} if self.target is not None else {EQUALS: self.rows[:, -1]}

    @property
    def given(self) -> np.ndarray:
        return self.rows

    @property
    def has_normals(self) -> bool:
        return isinstance(self.over, (Faces, Part)) and self.over.has_normals

    def normals(self, points: Tensor) -> Tensor:
        assert isinstance(self.over, (Faces, Part))
        return self.over.normals(points)

    def sample(self, n: int, method: str, rng: np.random.Generator) -> np.ndarray:
        """n of the rows, drawn without repetition."""
        return choose(self.rows, n, rng, "integrals", "given")

    def distance(self, points: np.ndarray) -> np.ndarray:
        """How far the coordinates at which integrals are taken lie outside of the domain, (n,)."""
        found = np.zeros(len(points))
        for axis in self.kept:
            low, high = self.domain.bounds[axis]
            found = np.maximum(found, np.maximum(low - points[:, axis], points[:, axis] - high) / (high - low))
        return found

    def describe(self) -> str:
        names = ", ".join(self.coordinates[axis] for axis in self.kept)
        return f"an integral over {self.over.describe()}" + (f" at values of {names}" if names else "")

    # What is computed.

    def _of(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Places and weights as tensors like rows."""
        key = rows.dtype, rows.device
        if key not in self._tensors:
            with torch.inference_mode(False):
                places, weights = torch.as_tensor(self.quadrature.places), torch.as_tensor(self.quadrature.weights)
                self._tensors[key] = places.to(rows.device, rows.dtype), weights.to(rows.device, rows.dtype)
        return self._tensors[key]

    def spread(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """The places (n q, d) of the integrals of rows (n, width), those of a row together, and the rows' columns there."""
        places, _ = self._of(rows)
        d = self.domain.dimension
        found = places.expand(len(rows), *places.shape).clone()
        for axis in self.kept:
            found[:, :, axis] = rows[:, axis, None]
        return found.flatten(0, 1), rows[:, d:].repeat_interleave(len(places), 0)

    def total(self, values: Tensor, rows: Tensor) -> Tensor:
        """The errors (n,) of rows from the values (n q,) of what is integrated."""
        _, weights = self._of(rows)
        sums = values.view(len(rows), -1) @ weights.to(values)
        return sums - (rows[:, -1].to(values) if self.target is None else self.target)

    def owners(self, rows: Tensor) -> Tensor:
        """Which row each of the places belongs to, (n q,)."""
        return torch.arange(len(rows), device=rows.device).repeat_interleave(len(self.quadrature))

    def within(self, over: Domain | Faces | Part, kept: np.ndarray) -> Integral:
        """Of some of the rows, over a part of the region in what is kept."""
        return replace(self, over=over, rows=self.rows[kept], _tensors={})


def integral_of(over: Domain | Faces | Part, equals: Any, mean: bool, points: int, at: Mapping[str, Any]) -> Integral:
    """Raises ValueError, naming the argument, for numbers that are not finite, do not go together or lie outside of the domain,
    for coordinates that the region has to integrate over, and for a region that is a point.
    """
    kept = _kept_axes(over, tuple(at))
    if isinstance(points, bool) or not isinstance(points, int) or points < 1:
        raise ValueError(f"integral(points={points!r}): a whole number of places, at least 1")
    given = {name: as_array(f"integral({name}=...)", values) for name, values in {**at, EQUALS: equals}.items()}
    for name, values in given.items():
        if not np.isfinite(values).all() or values.ndim > 1 or not values.size:
            raise ValueError(f"integral({name}=...): finite numbers, one or a list of them")
    for name, axis in zip(at, kept, strict=True):
        low, high = over.domain.bounds[axis]
        if (given[name] < low).any() or (given[name] > high).any():
            raise ValueError(f"integral({name}=...): outside the domain, where {name} runs from {low:g} to {high:g}")
    try:
        columns = np.broadcast_arrays(*given.values())
    except ValueError:
        lengths = ", ".join(f"{values.size} {name}" for name, values in given.items())
        raise ValueError(f"integral(...): lists of one length, or single numbers; given were {lengths}") from None
    if isinstance(over, Faces) and any(len(piece) + len(kept) == over.dimension for piece in over.pieces):
        raise ValueError(f"integral over {over.describe()}: a place has no length; use @boundary or @data")
    found = quadrature(over, points, kept)
    found = replace(found, weights=found.weights / found.weights.sum()) if mean else found
    center = found.weights @ found.places / found.weights.sum()
    place = found.places[((found.places - center) ** 2).sum(1).argmin()]
    rows = np.tile(place, (columns[-1].size, 1))
    for axis, column in zip(kept, columns, strict=False):
        rows[:, axis] = column.ravel()
    one = given[EQUALS].ndim == 0
    rows = rows if one else np.column_stack([rows, columns[-1].ravel()])
    return Integral(over, rows, kept, found, float(given[EQUALS]) if one else None)


def _kept_axes(over: Domain | Faces | Part, names: tuple[str, ...]) -> tuple[int, ...]:
    domain = over.domain
    axes = tuple(domain.axis(name) for name in names)
    for name, axis in zip(names, axes, strict=True):
        if (not domain.is_box and axis in domain.shape_axes) or (isinstance(over, Part) and axis in domain.space):
            raise ValueError(
                f"integral(..., {name}=...): {name} is a place of {over.describe()}, which is integrated over whole; name time "
                "or parameters"
            )
        if isinstance(over, Faces) and any(axis in dict(piece) for piece in over.pieces):
            raise ValueError(f"integral(..., {name}=...): {name} is fixed already, by {over.describe()}")
    if len(axes) == domain.dimension:
        raise ValueError(f"integral(..., {', '.join(names)}): nothing is left to be integrated over; use @data")
    return axes
