"""Rows of points as they come from users."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pinntk.geometry import Region

_TOLERANCE = 1e-5  # of the extent: float32 points of a face count as on it


def as_rows(name: str, points: Any) -> Tensor:
    """A condition's points as a tensor: the tensor itself, or a copy of a numpy array or of lists; TypeError for others, and
    for complex numbers.
    """
    if not isinstance(points, Tensor):
        try:
            points = torch.as_tensor(np.array(points))  # a copy, since an array may run backwards or be read-only
        except (TypeError, ValueError) as error:
            raise TypeError(
                f"points[{name!r}] is a {type(points).__name__} that holds no numbers or rows of unequal length; give an "
                "(n, d) tensor or numpy array"
            ) from error
    check_real(f"points[{name!r}]", points, "coordinates")
    return points


def as_array(what: str, values: Any) -> np.ndarray:
    """A float64 copy of numbers. Raises TypeError, naming them, for complex ones."""
    check_real(what, values, "columns")
    return np.asarray(values.detach().cpu() if isinstance(values, Tensor) else values, dtype=float)


def check_real(what: str, values: Any, kind: str) -> None:
    """Raises TypeError, naming what they are, for complex numbers, which become real and wrong where they meet real ones."""
    if values.is_complex() if isinstance(values, Tensor) else np.iscomplexobj(values):
        raise TypeError(f"{what}: complex numbers, where real ones belong; make two {kind} of them, .real and .imag")


def check_points(name: str, points: np.ndarray, region: Region) -> None:
    """Raises ValueError, naming the condition and the first bad row, for NaN or for points outside the region."""
    bad = np.flatnonzero(~np.isfinite(points).all(1))
    if len(bad):
        raise ValueError(f"points[{name!r}] row {bad[0]} is {_row(points[bad[0]])}: NaN or infinite; remove such rows")
    far = np.flatnonzero(region.distance(points[:, : len(region.coordinates)]) > _TOLERANCE)
    if len(far):
        raise ValueError(
            f"points[{name!r}] row {far[0]} is {_row(points[far[0]])}, but this condition holds on {region.describe()} "
            f"({len(far)} of {len(points)} rows are off); columns are {region.coordinates} in this order"
        )


def _row(values: np.ndarray) -> str:
    return "(" + ", ".join(f"{value:.6g}" for value in values) + ")"


def finite_columns(name: str, arrays: Mapping[str, np.ndarray]) -> None:
    """Raises ValueError, naming the array and its first bad row, where measured data hold NaN or infinity."""
    for label, values in arrays.items():
        bad = np.flatnonzero(~np.isfinite(values).reshape(len(values), -1).all(1))
        if len(bad):
            raise ValueError(f"data condition {name!r}: {label} has NaN or infinity in row {bad[0]}; remove such rows")
