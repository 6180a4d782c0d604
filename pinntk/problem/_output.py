"""What a network must return: one real number for each field and point."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def check_output(output: Any, fields: Sequence[str], n: int) -> None:
    """Raises ValueError for what is not one real number a field and point."""
    expected = (n, len(fields))
    if tuple(getattr(output, "shape", ())) != expected:
        shape = tuple(output.shape) if hasattr(output, "shape") else type(output).__name__
        raise ValueError(
            f"the network returned shape {shape} for {n} points; expected {expected}: one column a field of {fields}"
        )
    if not output.dtype.is_floating_point:
        raise ValueError(
            f"the network returned {output.dtype}, and fields are real floating-point numbers: return a complex one as two "
            "fields, its .real and its .imag, and leave rounding and comparisons out"
        )
