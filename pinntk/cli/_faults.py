"""What the command line says of an exception: bad input, the user's own file, too little memory, or a fault of pinntk's."""

from __future__ import annotations

import re
import traceback
from pathlib import Path

import torch

from pinntk._util.numbers import number
from pinntk.problem import _registry as registry
from pinntk.training import NonFiniteLossError
from pinntk.training._more_optimizers import LIBRARY

_PACKAGE = Path(__file__).resolve().parents[1]
_REPORT = (
    "this is a fault in pinntk, not in what you typed: please report it, with the lines above, your command, and what "
    "`pinntk --version` prints"
)
_ON_PURPOSE = (ValueError, TypeError, KeyError, ArithmeticError)  # where no source is at hand to see it


def message_of(error: Exception) -> tuple[str, int]:
    """One line, and the exit status: 2 for what the user can mend, 1 for a fault of pinntk's."""
    if place := registry.place_in_own_file(error):
        path, line = place
        return f"error: {path.name}, line {line}: {type(error).__name__}: {error}", 2
    if _is_out_of_memory(error):
        asked = re.search(r"ried to allocate ([\d.]+) (\w+)", str(error))
        amount = f" ({number(float(asked[1].rstrip('.')))} {asked[2]} in one piece)" if asked else ""
        return f"error: too little memory{amount}: fewer points, a smaller network, or --dtype float32", 2
    if where := _place_in_optimizer(error):
        return (
            f"error: the optimizer, of another library, failed in {where}: {type(error).__name__}: {error}; take other options "
            "of it, or another optimizer",
            2,
        )
    if not _is_on_purpose(error):
        return _REPORT, 1
    text = error.args[0] if isinstance(error, KeyError) and error.args else error
    return f"{'' if isinstance(error, NonFiniteLossError) else 'error: '}{text}", 2


def _is_out_of_memory(error: Exception) -> bool:
    """As torch says it on GPU and on CPU."""
    said = str(error)
    refused = "not enough memory" in said or "can't allocate memory" in said
    return isinstance(error, torch.OutOfMemoryError) or (isinstance(error, RuntimeError) and refused)


def _place_in_optimizer(error: Exception) -> str:
    """The file and line of the library of optimizers where it was entered for the last time, unless pinntk came after it."""
    found = ""
    for frame in traceback.extract_tb(error.__traceback__):
        path = Path(frame.filename)
        if _PACKAGE in path.parents:
            found = ""
        elif not found and LIBRARY in path.parts:
            found = f"{path.name}, line {frame.lineno}"
    return found


def _is_on_purpose(error: Exception) -> bool:
    """Whether an exception is a message to the user: raised by pinntk in so many words, or by the system."""
    if isinstance(error, (OSError, MemoryError)):
        return True
    frame = traceback.extract_tb(error.__traceback__)[-1]
    raised = not frame.line or frame.line.startswith("raise")
    return frame.filename.startswith(str(_PACKAGE)) and raised and (bool(frame.line) or isinstance(error, _ON_PURPOSE))
