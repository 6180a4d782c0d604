"""Numbers as users read them."""

from __future__ import annotations

from math import isfinite
from typing import Any

_FEW_DIGITS = 1e-3, 1e5  # between these a number is written without an exponent


def number(value: Any) -> str:
    """Three significant digits: 1,230, 0.0123, 1.23e-5; a dash for None."""
    if value is None:
        return "–"
    if isinstance(value, (bool, str)):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    value = float(value)
    if not isfinite(value):
        return "not a number" if value != value else "infinite" if value > 0 else "-infinite"
    if value and not _FEW_DIGITS[0] <= abs(value) < _FEW_DIGITS[1]:
        mantissa, exponent = f"{value:.2e}".split("e")
        return f"{mantissa}e{int(exponent)}"
    decimals = 0 if value == round(value) else 2 - int(f"{value:.2e}".split("e")[1])
    return f"{round(value, decimals):,.{max(decimals, 0)}f}"
