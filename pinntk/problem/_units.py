"""Units of coordinates, fields and coefficients: names for axes and reports; nothing is converted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pinntk._util.likeness import did_you_mean


def check_units(units: Mapping[str, Any], known: Sequence[str]) -> None:
    """Raises ValueError for a unit of something that there is not, TypeError for one that is no text."""
    for name, unit in units.items():
        if name not in known:
            raise ValueError(f"units of {name!r}: the problem has {', '.join(known)}{did_you_mean(name, known)}")
        if not isinstance(unit, str):
            raise TypeError(f"units: that of {name!r} is {unit!r}; give a text, as in {{{name!r}: 'm'}}")


def units_text(units: Mapping[str, str]) -> str:
    """As text: "x in m, T in K"."""
    return ", ".join(f"{name} in {unit}" for name, unit in units.items() if unit)
