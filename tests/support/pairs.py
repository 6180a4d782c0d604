"""Pairs of what two tables list, for a test of each with each."""

from __future__ import annotations

from collections.abc import Iterable

import pytest


def pairs(rows: Iterable[str], columns: Iterable[str], each: int = 2) -> list:
    """Every row with every column. By default a test runs `each` of the columns for a row, and the next ones for the next row,
    so that every column is met, too, where rows are enough. The other pairs are marked slow.
    """
    columns, found = list(columns), []
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            now = (j - each * i) % len(columns) < each
            found.append(pytest.param(row, column, marks=() if now else pytest.mark.slow))
    return found
