"""Names of parts of a boundary."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

from pinntk.geometry._pieces import Selected
from pinntk.geometry._surface import Surface

_SAME = 1e-12  # of the extent and of the number: values of a coordinate that are nearer than that are one


def flat_name(coordinate: str, value: float) -> str:
    """The name of a flat part of a boundary, "x=0.5"; with all digits where six do not say the value.

    >>> flat_name("x", 0.5), flat_name("x", 1000001.0)
    ('x=0.5', 'x=1000001.0')
    """
    short = f"{value:g}"
    return f"{coordinate}={short if float(short) == value else repr(float(value))}"


def selected(shape: Any, name: str) -> tuple[Selected, ...]:
    """The surfaces of a name, each with the predicate that its points have to meet; none if nothing is named so.

    Raises ValueError for the rounded name of several flat parts.
    """
    labels = shape.labels
    if name in labels:
        return tuple(labels[name])
    own = [surface for surface in shape.surfaces if surface.name == name]
    flat = [surface for surface in _flat(shape, name) if surface not in own]
    return tuple((surface, None) for surface in (*own, *flat))


def _flat(shape: Any, name: str) -> Sequence[Surface]:
    """The flat surfaces at a place such as "x=0.5": those to rounding, or else those whose six digits are the same."""
    coordinate, _, text = name.partition("=")
    try:
        axis, value = shape.coordinates.index(coordinate), float(text)
    except ValueError:
        return []
    found = {surface: surface.flat[1] for surface in shape.surfaces if surface.flat is not None and surface.flat[0] == axis}
    near = [surface for surface, there in found.items() if abs(there - value) <= _SAME * (shape.extent + abs(value))]
    if near:
        return near
    alike = {surface: there for surface, there in found.items() if f"{there:g}" == f"{value:g}"}
    values = sorted(set(alike.values()))
    if values and values[-1] - values[0] > _SAME * (shape.extent + abs(value)):
        raise ValueError(
            f"{name!r} may be any of {', '.join(repr(flat_name(coordinate, there)) for there in values)}: give all digits"
        )
    return list(alike)


def unknown(shape: Any, name: str) -> str:
    """What is said where no part has a name."""
    known = list(dict.fromkeys([*shape.labels, *(surface.name for surface in shape.surfaces)]))
    close = get_close_matches(name, known, 1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return f"no part of the boundary is named {name!r}; there are {', '.join(map(repr, known))}{hint}"
