"""Warnings that point at the user's line, whatever calls and decorators lie between."""

from __future__ import annotations

import contextlib
import sys
import warnings
from pathlib import Path

import torch

_SKIPPED = (str(Path(__file__).parents[1]), str(Path(torch.__file__).parent), contextlib.__file__)


def warn_user(message: str, category: type[Warning] = UserWarning) -> None:
    """`warnings.warn` at the innermost line outside of pinntk and torch."""
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_SKIPPED):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)
