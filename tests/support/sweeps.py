"""Parameters of sweeps: a test of each thing with each, of which the default runs some and `-m slow` the others."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

SLOW = pytest.mark.slow


def sweep(values: Iterable[Any], *kept: Any) -> list:
    """Every one of `values` for a test. By default it runs those of `kept`, one of each kind; the others are marked slow."""
    values = list(values)
    assert kept and all(value in values for value in kept), f"{kept} must be some of {values}"
    return [pytest.param(value, marks=() if value in kept else SLOW) for value in values]


def pairs(rows: Iterable[Any], columns: Iterable[Any], each: int = 2) -> list:
    """Every row with every column. By default a test runs `each` of the columns for a row, and the next ones for the next row,
    so that every column is met, too, where rows are enough. The other pairs are marked slow.
    """
    columns, found = list(columns), []
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            now = (j - each * i) % len(columns) < each
            found.append(pytest.param(row, column, marks=() if now else SLOW))
    return found
