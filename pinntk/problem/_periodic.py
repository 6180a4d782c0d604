"""Periodicity of fields and of their derivatives as conditions, from one call."""

from __future__ import annotations

from collections.abc import Sequence

from pinntk.geometry import Faces
from pinntk.problem._conditions import Condition, ValueOf, periodic


def periodic_fields(faces: Faces, order: int = 0, fields: str | Sequence[str] = ("u",)) -> list[Condition]:
    """Fields and their derivatives across the two ends of a coordinate that must agree there, each a `periodic` condition.

    Derivatives along the ends follow from those of lower order across them.

    faces: both ends of a coordinate, such as domain.ends("x")
    order: of the highest derivative; for an equation with derivatives of order m across the ends, m - 1
    fields: names of the fields, in the order in which they come

    Raises ValueError for an order that is not a whole number of at least 0, for no fields, and as `periodic` does for faces.

    >>> from pinntk import Box, periodic_fields
    >>> domain = Box(t=(0, 1), x=(-1, 1))
    >>> [condition.name for condition in periodic_fields(domain.ends("x"), order=2)]
    ['wrap_x_u', 'wrap_x_u_x', 'wrap_x_u_xx']
    """
    if isinstance(order, bool) or not isinstance(order, int) or order < 0:
        raise ValueError(f"order={order!r}: a whole number of at least 0, of the highest derivative that must agree")
    names = (fields,) if isinstance(fields, str) else tuple(fields)
    if not names:
        raise ValueError('fields=(): name at least one field, such as fields=("u", "v")')
    wrap = periodic(faces)
    (axis,) = {axis for piece in faces.pieces for axis, _ in piece}
    x = faces.coordinates[axis]
    asked = [field if k == 0 else f"{field}_{k * x}" for field in names for k in range(order + 1)]
    return [wrap(ValueOf(argument, f"wrap_{x}_{argument}")) for argument in asked]
